//! A run that is interrupted at any moment and resumed ends in the same bits as an uninterrupted run.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::devices::{gpu, small_on};
use crate::integrity::reseal;
use crate::{Report, SMALL, Workplace, contents, json_lines};

/// Asserts that two runs left the same files, apart from times.
#[track_caller]
pub fn assert_same_run(a: &Path, b: &Path) {
    for file in ["config.toml", "amplification.jsonl", "gradients.jsonl"] {
        assert!(fs::read(a.join(file)).unwrap() == fs::read(b.join(file)).unwrap(), "{file} differs");
    }
    let metrics = |run: &Path| {
        json_lines(&run.join("metrics.jsonl")).into_iter().map(without_times).collect::<Vec<_>>()
    };
    assert_eq!(metrics(a), metrics(b));
    for checkpoint in ["last", "best"] {
        for file in ["model.safetensors", "momentum.safetensors"] {
            let read = |run: &Path| fs::read(run.join("checkpoints").join(checkpoint).join(file)).unwrap();
            assert!(read(a) == read(b), "{checkpoint}/{file} differs");
        }
        let state = |run: &Path| {
            let text =
                fs::read_to_string(run.join("checkpoints").join(checkpoint).join("state.json")).unwrap();
            without_times(serde_json::from_str::<Value>(&text).unwrap()["train"].clone())
        };
        assert_eq!(state(a), state(b), "{checkpoint}/state.json");
    }
    let folders = fs::read_dir(b.join("checkpoints")).unwrap().count();
    assert_eq!(folders, 2, "only the checkpoints last and best may be left");
}

fn without_times(mut line: Value) -> Value {
    for key in ["seconds", "total_seconds", "images_per_second"] {
        line.as_object_mut().unwrap().remove(key);
    }
    line
}

/// A random number in [0, 1). The test shall kill its runs at other moments each time.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / 2.0_f64.powi(64)
}

#[test]
fn a_run_killed_at_random_moments_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let start = Instant::now();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    let whole = start.elapsed();

    let killed = place.path("killed");
    let (mut kills, mut calls) = (Vec::new(), 0);
    loop {
        calls += 1;
        assert!(calls < 100, "the run makes no progress; it was killed after {kills:?}");
        // A run that was killed before it wrote its settings has no folder to resume; it is started again.
        let arguments = match killed.join("config.toml").exists() {
            true => "train --threads 1 --resume killed".to_owned(),
            false => format!("{SMALL} --out killed"),
        };
        let mut command = place.command(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        if kills.len() < 12 {
            // Most kills fall into the steps, some into the start or the end.
            let moment = whole.mul_f64(random() * 0.6);
            sleep(moment);
            child.kill().unwrap();
            kills.push(moment);
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        if output.status.code().is_some() {
            panic!("after kills at {kills:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_same_run(&place.path("whole"), &killed);
}

/// Trains on a GPU: twice in one session, and once in two sessions.
#[test]
fn runs_on_a_gpu_repeat_and_resume_bit_for_bit() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    for run in ["whole", "again", "parts --max-steps 8"] {
        place.run(&format!("{} --out {run}", small_on(&gpu))).succeeds();
    }
    assert_same_run(&place.path("whole"), &place.path("again"));
    place.run("train --resume parts").succeeds();
    let read = |run: &str, file: &str| fs::read(place.path(run).join("checkpoints/last").join(file)).unwrap();
    for file in ["model.safetensors", "momentum.safetensors"] {
        assert!(read("whole", file) == read("parts", file), "{file} differs");
    }
}

/// Within an epoch, a checkpoint includes the sums of the epoch's gradients, with a seal.
#[test]
fn a_run_whose_policy_sums_gradients_can_resume_within_an_epoch() {
    let place = Workplace::new();
    let run = format!("{SMALL} --set amplification.policy=fluctuation --set train.gradients_every=1");
    place.run(&format!("{run} --out whole")).succeeds();
    place.run(&format!("{run} --out parts --max-steps 3")).succeeds();
    let sums = place.path("parts/checkpoints/last/gradient_sums.safetensors");
    let bytes = fs::read(&sums).unwrap();
    assert!(
        !place.path("whole/checkpoints/last/gradient_sums.safetensors").exists(),
        "the run must stop within an epoch"
    );
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&sums, changed).unwrap();
    place.run("train --resume parts").fails(1, &["gradient_sums.safetensors", "is changed"]);
    place.run("verify parts").fails(1, &["gradient_sums.safetensors"]);
    fs::write(&sums, bytes).unwrap();
    place.run("train --resume parts").succeeds();
    let read = |run: &str, file: &str| fs::read(place.path(run).join(file)).unwrap();
    assert!(!read("whole", "amplification.jsonl").is_empty());
    for file in ["checkpoints/last/model.safetensors", "amplification.jsonl", "gradients.jsonl"] {
        assert!(read("whole", file) == read("parts", file), "{file} differs");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out one")).succeeds();
    place.run(&format!("{SMALL} --max-steps 8 --out three")).succeeds();
    // The setting that decides where batches are made may change, too.
    place.run("train --resume three --threads 3 --set data.resident=false").succeeds();
    let read = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(read("one") == read("three"));
}

#[test]
fn a_run_at_its_step_limit_resumes_where_it_stopped() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    // The run stops within the second epoch, which is amplified; then at the end of an epoch; then at the start of
    // the last epoch.
    place.run(&format!("{SMALL} --max-steps 9 --out parts")).succeeds();
    let record = fs::read_to_string(place.path("parts/run.json")).unwrap();
    assert!(record.contains("\"outcome\": \"step_limit\""), "{record}");
    // Adds lines after the checkpoint, the last one cut off, as a run that was killed later would have left them.
    for file in ["metrics.jsonl", "amplification.jsonl", "gradients.jsonl"] {
        let mut log = fs::File::options().append(true).open(place.path("parts").join(file)).unwrap();
        log.write_all(&[b"{\"kind\":\"step\"}\n".repeat(1000), b"{\"kin".to_vec()].concat()).unwrap();
    }
    place.run("train --threads 1 --resume parts --max-steps 12").succeeds();
    place.run("train --threads 1 --resume parts --max-steps 13").succeeds();
    let last = place.run("train --threads 1 --resume parts").succeeds();
    assert!(last.out.contains("phase") && last.out.trim_end().ends_with("parts"), "{}", last.out);

    // The step limit is the only setting that differs.
    let config = place.path("parts/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("max_steps")).collect();
    fs::write(&config, without.join("\n") + "\n").unwrap();
    assert_same_run(&place.path("whole"), &place.path("parts"));
    place.run("train --resume parts").fails(1, &["parts/config.toml: is truncated or changed"]);
    fs::write(&config, text).unwrap();

    let before = contents(&place.path("parts/checkpoints"));
    place.run("train --threads 1 --resume parts").succeeds();
    assert!(contents(&place.path("parts/checkpoints")) == before, "resuming a finished run changes nothing");
}

#[cfg(unix)]
#[test]
fn a_request_to_stop_saves_the_run_and_exits_with_130() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    let mut command = place.command(&format!("{SMALL} --out stopped"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = place.path("stopped/metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(120);
    while fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(Instant::now() < deadline, "the run writes no line");
        sleep(Duration::from_millis(5));
    }
    let signal =
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let report = Report::new("train, asked to stop", child.wait_with_output().unwrap()).ends_with(130);
    assert!(report.err.contains("gradamp train --resume stopped"), "{}", report.err);
    let record = fs::read_to_string(place.path("stopped/run.json")).unwrap();
    assert!(record.contains("\"outcome\": \"interrupted\""), "{record}");
    place.run("train --threads 1 --resume stopped").succeeds();
    assert_same_run(&place.path("whole"), &place.path("stopped"));
}

#[test]
fn a_checkpoint_is_found_after_an_interrupted_replacement() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    for moved in ["last.old", "last.new"] {
        place.run(&format!("{SMALL} --max-steps 9 --out {moved}")).succeeds();
        let checkpoints = place.path(moved).join("checkpoints");
        fs::rename(checkpoints.join("last"), checkpoints.join(moved)).unwrap();
        if moved == "last.old" {
            // The new checkpoint was not complete yet.
            fs::create_dir(checkpoints.join("last.new")).unwrap();
            fs::write(checkpoints.join("last.new/model.safetensors"), "part").unwrap();
        }
        place.run(&format!("train --threads 1 --resume {moved}")).succeeds();
        let read = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
        assert!(read("whole") == read(moved), "{moved}");
    }
}

#[test]
fn settings_that_change_no_bit_may_change_at_a_resume() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    place.run(&format!("{SMALL} --max-steps 8 --out other")).succeeds();
    let changes = "--set data.workers=0 --threads 2 --set train.checkpoint_seconds=1000 --tensorboard";
    place.run(&format!("train --resume other {changes}")).succeeds();
    let read = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(read("whole") == read("other"));
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let before = contents(&place.path("run"));
    let report = place.run("train --resume run").succeeds();
    assert!(
        report.err.contains("run: the run is finished already") && !report.err.contains("epoch 4"),
        "{}",
        report.err
    );
    assert!(report.out.contains("phase") && report.out.trim_end().ends_with("run"), "{}", report.out);
    assert!(contents(&place.path("run")) == before, "no file is rewritten");
    let quiet = place.run("train --resume run --quiet").succeeds();
    assert_eq!((quiet.out, quiet.err), (String::new(), String::new()));
    place.run("train --resume run --seed 9").fails(2, &["--seed", "cannot be changed"]);

    // Simulates a kill between the last checkpoint and the update of the record.
    reseal(&place.path("run/run.json"), |record| record.replace("\"finished\"", "\"running\""));
    let report = place.run("train --threads 1 --resume run").succeeds();
    assert!(report.err.contains("all epochs are done") && !report.err.contains("epoch 4"), "{}", report.err);
    assert!(fs::read_to_string(place.path("run/run.json")).unwrap().contains("\"finished\""));
    let model = "checkpoints/last/model.safetensors";
    assert!(fs::read(place.path("run").join(model)).unwrap() == before[&place.path("run").join(model)]);
}

/// The data is at a relative path that exists only below the folder in which the run was started.
#[test]
fn data_at_a_relative_path_is_found_from_another_folder() {
    let place = Workplace::new();
    crate::bad_input::write_cifar(&place.path("here/cifar"));
    let small = SMALL.replace("--data shapes", "--data cifar").replace("--set data.shapes.train=96", "");
    let small =
        small.replace("--set data.shapes.test=32", "--set data.train_limit=96 --set data.test_limit=32");
    let in_folder = |folder: &str, arguments: &str| {
        fs::create_dir_all(place.path(folder)).unwrap();
        let output = place.command(arguments).current_dir(place.path(folder)).output().unwrap();
        Report::new(arguments, output)
    };
    in_folder("here", &format!("{small} --max-steps 4 --out run")).succeeds();
    for (command, folder) in [("eval --run ../here/run", "there"), ("train --resume ../here/run", "there")] {
        let report = in_folder(folder, &format!("{command} --threads 1")).succeeds();
        assert!(report.err.contains("cifar: not found from the current folder; using"), "{}", report.err);
    }
    // After the data has moved, the error names the path, and `--data` names the new one.
    in_folder("here", &format!("{small} --max-steps 4 --out gone")).succeeds();
    fs::rename(place.path("here/cifar"), place.path("here/moved")).unwrap();
    in_folder("there", "train --resume ../here/gone").fails(1, &["cifar", "cannot be read"]);
    in_folder("there", "train --resume ../here/gone --data ../here/moved").succeeds();
}

/// A run of one constant rate, with `epochs` epochs in its second phase.
fn of_two_phases(epochs: usize) -> String {
    format!(
        "seed = 1\n[[strategy.phase]]\nepochs = 1\nlr = 0.05\n[[strategy.phase]]\nepochs = {epochs}\nlr = 0.02\namplify = true\n"
    )
    .replace(
        "seed = 1",
        "model = { name = 'resnet18', width = 2 }\ntrain = { batch_size = 16, device = 'cpu', threads = 1, seed = 1, gradients_every = 2 }\n\
         data = { source = 'shapes', shapes = { train = 96, test = 32 } }\namplification = { kinds = ['batch_norm'], factor = 1.5 }",
    )
}

#[test]
fn a_run_that_is_extended_ends_in_the_bits_of_a_run_that_was_planned_longer() {
    let place = Workplace::new();
    place.write("long.toml", &of_two_phases(3));
    place.write("run.toml", &of_two_phases(1));
    place.run("train --config long.toml --out long").succeeds();
    place.run("train --config run.toml --out run").succeeds();
    let again = place.run("train --resume run").succeeds();
    assert!(again.err.contains("run: the run is finished already; to train it for more than its 2 epochs: "));
    assert!(again.err.contains("gradamp train --resume run --epochs N"), "{}", again.err);
    let before = contents(&place.path("run"));
    place.run("train --resume run --epochs 1").fails(2, &["--epochs: found 1, but the run has 2 epochs"]);
    place.run("train --resume run --lr 0.1").fails(2, &["--lr: strategy.phase.0.lr cannot be changed"]);
    assert!(contents(&place.path("run")) == before, "a refused extension changed the run");

    // Interrupted within the third epoch, and continued without another word about its length.
    place.run("train --resume run --epochs 4 --max-steps 15").succeeds();
    place.run("train --resume run").succeeds();
    let read = |run: &str, file: &str| fs::read(place.path(run).join(file)).unwrap();
    for file in
        ["checkpoints/last/model.safetensors", "checkpoints/last/momentum.safetensors", "amplification.jsonl"]
    {
        assert!(read("run", file) == read("long", file), "{file} differs");
    }
    let metrics = |run: &str| {
        json_lines(&place.path(run).join("metrics.jsonl")).into_iter().map(without_times).collect::<Vec<_>>()
    };
    assert_eq!(metrics("run"), metrics("long"));
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert!(
        config.lines().any(|line| line.starts_with("epochs = 3 ") && line.ends_with("# --epochs")),
        "{config}"
    );
    assert!(
        config.contains("# run.toml:2") && !config.contains("config.toml:"),
        "the other origins stay: {config}"
    );
    place.run("verify run").succeeds();
}

#[test]
fn a_run_whose_cosine_has_ended_is_extended_at_a_rate_of_its_own() {
    let place = Workplace::new();
    let cosine = of_two_phases(1).replace("lr = 0.02", "lr = { schedule = 'cosine', from = 0.02, to = 0.0 }");
    place.write("run.toml", &cosine);
    place.run("train --config run.toml --out run").succeeds();
    place
        .run("train --resume run --epochs 3")
        .fails(2, &["--epochs: the cosine schedule of the last phase ends", "by --lr"]);
    place.run("train --resume run --epochs 3 --lr 0.001").succeeds();
    let epochs: Vec<Value> = json_lines(&place.path("run/metrics.jsonl"))
        .into_iter()
        .filter(|line| line["kind"] == "epoch")
        .collect();
    assert_eq!((epochs.len(), &epochs[2]["lr"], &epochs[2]["phase"]), (3, &0.001.into(), &2.into()));
    assert_eq!(epochs[2]["amplified"], true);
    place.run("verify run").succeeds();
}

#[test]
fn the_baseline_of_a_run_is_extended_with_the_run() {
    let place = Workplace::new();
    let with_baseline = of_two_phases(1).replace("seed = 1,", "seed = 1, baseline = true,");
    place.write("run.toml", &with_baseline);
    place.run("train --config run.toml --out run").succeeds();
    place.run("train --resume run --epochs 3").succeeds();
    for run in ["run", "run-baseline"] {
        let lines = json_lines(&place.path(run).join("metrics.jsonl"));
        assert_eq!(lines.iter().filter(|line| line["kind"] == "epoch").count(), 3, "{run}");
        place.run(&format!("verify {run}")).succeeds();
    }
}
