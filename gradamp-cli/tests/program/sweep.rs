//! `gradamp sweep` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Report, Workplace, contents, json_lines};

/// Runs of a second: 2 epochs of 5 steps, the second amplified.
const TINY: &str = "\
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 16, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', validation = 16, shapes = { train = 96, test = 32 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1 }, { epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
";

fn study(place: &Workplace, head: &str, axes: &str) {
    place.write("s.toml", &format!("{head}\n{TINY}{axes}\n"));
}

const FACTORS: &str = "[axes]\n'amplification.factor' = [1.5, 2.0]";

fn results(place: &Workplace, root: &str) -> Vec<Value> {
    json_lines(&place.path(root).join("results.jsonl"))
}

/// The status of each run, by name.
fn statuses(place: &Workplace, root: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    results(place, root).iter().map(|line| (text(&line["run"]), text(&line["status"]))).collect()
}

/// Everything in the run folders but locks.
fn runs(place: &Workplace, root: &str) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    contents(&place.path(root).join("runs"))
}

#[test]
fn a_study_is_planned_run_and_found_done_when_called_again() {
    let place = Workplace::new();
    study(&place, "seeds = 2", FACTORS);
    let plan = place.run("sweep s.toml --dry-run").succeeds();
    for part in ["factor-2_seed-2", "baseline", "s: 6 runs in 3 cells", "timed on this device", "about "] {
        assert!(plan.out.contains(part), "{part} in\n{}", plan.out);
    }
    assert!(!place.path("sweeps").exists(), "a dry run does nothing");

    let done = place.run("sweep s.toml --jobs 2").succeeds();
    assert!(
        done.out.contains("factor-1.5") && done.out.contains("±") && done.out.contains("2/2"),
        "{}",
        done.out
    );
    assert!(done.err.contains("[6/6] "), "plain lines without a terminal: {}", done.err);
    let lines = results(&place, "sweeps/s");
    assert_eq!(lines.len(), 6);
    for line in &lines {
        assert_eq!((&line["status"], &line["epochs"]), (&"finished".into(), &2.into()));
        assert!(line["last_test_accuracy"].is_f64() && line["best_validation_accuracy"].is_f64());
    }
    assert_eq!(lines[4]["axes"]["amplification.factor"], 2.0);
    assert_eq!(lines[0]["role"], "baseline");
    let csv = fs::read_to_string(place.path("sweeps/s/results.csv")).unwrap();
    assert!(csv.starts_with("run,cell,role,amplification.factor,seed,status,"), "{csv}");
    assert_eq!(csv.lines().count(), 7);

    // A run by itself, from its settings, ends in the same bits.
    place.run("train --config sweeps/s/configs/factor-2_seed-1.toml --out alone --quiet").succeeds();
    let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(model("alone") == model("sweeps/s/runs/factor-2_seed-1"));

    let before = runs(&place, "sweeps/s");
    let again = place.run("sweep s.toml").succeeds();
    assert!(!again.err.contains("factor-2_seed-1"), "{}", again.err);
    assert!(runs(&place, "sweeps/s") == before, "finished runs are left alone");
    let timed = place.run("sweep s.toml --dry-run").succeeds();
    assert!(timed.out.contains("by a run that is done") && timed.out.contains("about 0 s"), "{}", timed.out);

    // Another seed is added to what is there; a setting that is changed is refused.
    study(&place, "seeds = 3", FACTORS);
    place.run("sweep s.toml --dry-run").succeeds();
    study(&place, "seeds = 2", &format!("{FACTORS}\n'optimizer.momentum' = [0.5]"));
    place.run("sweep s.toml --dry-run").succeeds();
    study(&place, "seeds = 2", FACTORS);
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("data =", "optimizer.momentum = 0.5\ndata ="));
    let parts = [
        "runs/baseline_seed-1/config.toml",
        "optimizer.momentum is `0.9` there and `0.5` by s.toml:5",
        "--out",
    ];
    place.run("sweep s.toml").fails(2, &parts);
    assert!(runs(&place, "sweeps/s") == before, "nothing is overwritten");
}

#[test]
fn a_run_that_fails_or_diverges_is_recorded_and_the_rest_goes_on() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "[axes]\n'strategy.lr' = [1e30, 0.05, 0.06]");
    // A folder that holds something else: its run cannot begin.
    place.write("sweeps/s/runs/lr-0.06_seed-1/metrics.jsonl", "");
    let parts = ["2 of 3 runs failed:"];
    let report = place.run("sweep s.toml").fails(1, &parts);
    assert!(
        report.err.contains("lr-0.06_seed-1 failed: ") && report.err.contains("already holds a run"),
        "{}",
        report.err
    );
    let lines = results(&place, "sweeps/s");
    let status: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["diverged", "finished", "failed"]);
    assert!(lines[0]["error"].as_str().unwrap().contains("the loss is"), "{}", lines[0]);
    // Once its cause is gone, the run is done; one that diverged would diverge again.
    fs::remove_dir_all(place.path("sweeps/s/runs/lr-0.06_seed-1")).unwrap();
    let report = place.run("sweep s.toml").fails(1, &["1 of 3 runs failed:"]);
    assert!(!report.err.contains("] lr-1e30"), "{}", report.err);
    assert_eq!(statuses(&place, "sweeps/s")[2].1, "finished");
}

/// A study whose runs are long enough to be met in their middle.
fn long(place: &Workplace) {
    study(place, "seeds = 2\nbaseline = false", "");
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("{ epochs = 1 }", "{ epochs = 200 }"));
}

#[track_caller]
fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(Instant::now() < deadline, "{} does not come", path.display());
        sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
fn signal(id: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &id.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_lets_the_runs_save_and_says_how_to_go_on() {
    let place = Workplace::new();
    long(&place);
    let mut command = place.command("sweep s.toml --jobs 2 --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for seed in [1, 2] {
        wait_for(&place.path(&format!("d/runs/base_seed-{seed}/metrics.jsonl")));
    }
    // While it goes on, another process leaves its runs alone, and sees how they stand.
    place.run("sweep --collect d").succeeds();
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "pending"));
    signal(child.id(), "-INT");
    let report = Report::new("sweep, Ctrl-C", child.wait_with_output().unwrap()).ends_with(130);
    let line = "interrupted: 0 of 2 runs are finished; go on with: gradamp sweep s.toml --out d --jobs 2";
    assert!(report.err.contains(line), "{}", report.err);
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "interrupted"));
    for seed in [1, 2] {
        let record = fs::read_to_string(place.path(&format!("d/runs/base_seed-{seed}/run.json"))).unwrap();
        assert!(record.contains("\"outcome\": \"interrupted\""), "saved: {record}");
    }
}

#[cfg(unix)]
#[test]
fn runs_that_were_killed_are_resumed_and_end_in_the_same_bits() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "");
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    let text = text.replace("threads = 1,", "threads = 1, checkpoint_seconds = 0, log_interval = 1,");
    place.write("s.toml", &text.replace("epochs = 1 }", "epochs = 4 }"));
    place.run("sweep s.toml --out whole").succeeds();
    let mut command = place.command("sweep s.toml --out d");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let metrics = place.path("d/runs/base_seed-1/metrics.jsonl");
    wait_for(&metrics);
    child.kill().unwrap();
    child.wait().unwrap();
    // The run itself was not killed with the sweep: a second sweep waits for it, or goes on where it ended.
    place.run("sweep s.toml --out d").succeeds();
    let model = |root: &str| {
        fs::read(place.path(root).join("runs/base_seed-1/checkpoints/last/model.safetensors")).unwrap()
    };
    assert!(model("whole") == model("d"));

    // Cut back to its first step: what a run that was killed leaves.
    fs::remove_dir_all(place.path("d")).unwrap();
    place.run("sweep s.toml --dry-run --out d").succeeds();
    place
        .run("train --config whole/configs/base_seed-1.toml --out d/runs/base_seed-1 --max-steps 3 --quiet")
        .succeeds();
    place.run("sweep s.toml --out d").succeeds();
    let record = fs::read_to_string(place.path("d/runs/base_seed-1/run.json")).unwrap();
    assert!(record.contains("\"step\": 3"), "it went on at step 3: {record}");
    assert!(model("whole") == model("d"));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_or_whose_folder_is_deleted_is_recorded() {
    let place = Workplace::new();
    long(&place);
    let mut command = place.command("sweep s.toml --jobs 2 --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = place.path("d/runs/base_seed-1");
    wait_for(&first.join("metrics.jsonl"));
    wait_for(&place.path("d/runs/base_seed-2/metrics.jsonl"));
    fs::remove_dir_all(&first).or_else(|_| fs::remove_dir_all(&first)).unwrap();
    // The other one, by its number: it is the sweep's child.
    let id = child_of(child.id(), "base_seed-2");
    signal(id, "-KILL");
    let report = Report::new("sweep", child.wait_with_output().unwrap()).fails(1, &["2 of 2 runs failed:"]);
    assert!(report.err.contains("base_seed-1 failed: its folder was deleted while it ran"), "{}", report.err);
    assert!(report.err.contains("base_seed-2 failed: ended by signal: 9"), "{}", report.err);
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "failed"));
    assert!(!first.exists(), "nothing is left in the way of a new run");
}

/// The number of the process that `parent` started for the run called `name`.
#[cfg(unix)]
fn child_of(parent: u32, name: &str) -> u32 {
    let output = std::process::Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&parent.to_string()) && line.contains(name)
    });
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn shards_meet_in_one_folder() {
    let place = Workplace::new();
    study(&place, "seeds = 1", FACTORS);
    place.run("sweep s.toml --shard 2/2").succeeds();
    let status = |i: usize| statuses(&place, "sweeps/s")[i].1.clone();
    assert_eq!([status(0), status(1), status(2)], ["pending", "finished", "pending"]);
    place.run("sweep s.toml --shard 1/2").succeeds();
    assert_eq!([status(0), status(1), status(2)], ["finished"; 3].map(str::to_owned));
    place.run("sweep s.toml --shard 3/2").ends_with(2);
}

#[test]
fn two_processes_share_a_folder_and_do_nothing_twice() {
    let place = Workplace::new();
    study(&place, "seeds = 2", FACTORS);
    let start =
        || place.command("sweep s.toml").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both =
        [start(), start()].map(|child| Report::new("sweep", child.wait_with_output().unwrap()).succeeds());
    let told = |run: &str| {
        both.iter().map(|report| report.err.matches(&format!("{run}: finished")).count()).sum::<usize>()
    };
    for (run, status) in statuses(&place, "sweeps/s") {
        assert_eq!((status.as_str(), told(&run)), ("finished", 1), "{run}");
        let record = fs::read_to_string(place.path(&format!("sweeps/s/runs/{run}/run.json"))).unwrap();
        assert!(record.contains("\"resumed\": []"), "{record}");
    }
}

#[test]
fn hopeless_cells_are_stopped_early_and_can_be_taken_up_later() {
    let place = Workplace::new();
    let axes = "[axes]\n'strategy.lr' = [1e-9, 0.02, 0.05, 2e-9]";
    study(&place, "seeds = 1\nhalving = { epochs = [1] }", axes);
    place.run("sweep s.toml --shard 1/2").fails(2, &["s.toml:2: halving: compares all cells"]);
    let report = place.run("sweep s.toml --jobs 2").succeeds();
    assert!(report.out.contains("stopped early"), "{}", report.out);
    let lines = results(&place, "sweeps/s");
    let of = |status: &str| lines.iter().filter(|line| line["status"] == status).collect::<Vec<_>>();
    let (finished, stopped) = (of("finished"), of("stopped_early"));
    assert_eq!((finished.len(), stopped.len()), (6, 2), "four baselines and the better two cells: {lines:?}");
    assert!(stopped.iter().all(|line| line["role"] == "cell" && line["epochs"] == 1));
    let accuracy = |line: &&Value| {
        let run = line["run"].as_str().unwrap();
        let metrics = json_lines(&place.path("sweeps/s/runs").join(run).join("metrics.jsonl"));
        let first = metrics.iter().find(|line| line["kind"] == "epoch").unwrap();
        first["validation_accuracy"].as_f64().unwrap()
    };
    let kept: Vec<&Value> = finished.into_iter().filter(|line| line["role"] == "cell").collect();
    for better in &kept {
        assert!(stopped.iter().all(|worse| accuracy(better) >= accuracy(worse)));
    }
    let again = place.run("sweep s.toml").succeeds();
    assert!(!again.err.contains("[8/8]"), "{}", again.err);
    study(&place, "seeds = 1", axes);
    place.run("sweep s.toml").succeeds();
    assert!(statuses(&place, "sweeps/s").iter().all(|(_, status)| status == "finished"));
}

#[test]
fn amplified_cells_get_controls_and_networks_without_branches_one_more() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "[axes]\n'model.name' = ['resnet18', 'vgg11']");
    // Plain SGD, where a factor on a gradient is one on its learning rate.
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write(
        "s.toml",
        &text.replace("data =", "optimizer = { momentum = 0.0, weight_decay = 0.0 }\ndata ="),
    );
    place.run("sweep s.toml --controls --jobs 2").succeeds();
    let lines = results(&place, "sweeps/s");
    let text =
        |key: &str| lines.iter().map(|line| line[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let expected = [
        "model-resnet18_seed-1",
        "model-resnet18_through-mean_learning_rate_seed-1",
        "model-vgg11_seed-1",
        "model-vgg11_through-mean_learning_rate_seed-1",
        "model-vgg11_through-learning_rate_seed-1",
    ];
    assert_eq!(text("run"), expected);
    assert_eq!(text("role"), ["cell", "control", "cell", "control", "control"]);
    assert!(text("status").iter().all(|status| status == "finished"));
    assert_eq!(lines[4]["axes"]["amplification.through"], "learning_rate");
    let loss = |i: usize| lines[i]["last_train_loss"].as_f64().unwrap();
    assert!((loss(2) - loss(4)).abs() < 1e-4, "{} and {}", loss(2), loss(4));
    assert!((loss(2) - loss(3)).abs() > 1e-4, "one rate for all is something else");
}

#[test]
fn bad_studies_are_refused_before_anything_is_begun() {
    let place = Workplace::new();
    place.run("sweep").ends_with(2);
    place.run("sweep none.toml").fails(2, &["none.toml: cannot be read"]);
    for (head, axes, parts) in [
        (
            "",
            "[axes]\n'model.nam' = ['vgg11']",
            vec!["s.toml:10: model.nam: unknown key", "did you mean `name`?"],
        ),
        // What only the model can tell, and what only the data can.
        (
            "",
            "[axes]\n'amplification.paths' = [['bn1'], ['layer9.*']]",
            vec!["s.toml:10: amplification.paths.0: \"layer9.*\" matches no layer"],
        ),
        ("", "[axes]\n'train.batch_size' = [16, 1000]", vec!["s.toml:10: train.batch_size: ", "80"]),
        ("", "[axes]\n'model.init' = ['none.safetensors']", vec!["s.toml:10: model.init: found no file"]),
        ("seeds = 0", "", vec!["s.toml:1: seeds: found 0"]),
    ] {
        study(&place, head, axes);
        place.run("sweep s.toml").fails(2, &parts);
        assert!(!place.path("sweeps").exists(), "{axes}");
    }
    place.run("sweep --collect none").fails(1, &["none: expected the folder of a sweep"]);
}

#[test]
fn results_that_are_damaged_are_told_and_made_anew() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "");
    place.run("sweep s.toml").succeeds();
    let path = place.path("sweeps/s/results.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    for (damage, expected) in [
        (whole[..whole.len() / 2].to_owned(), "results.jsonl: line 1: is half-written"),
        (String::new(), "expected the 1 runs of plan.json in its order, found 0 lines"),
        (whole.replace("\"seed\"", "\"sead\""), "line 1: is damaged or of another version"),
        (whole.replace("base_seed-1", "base_seed-9"), "holds the run base_seed-9, which is not in plan.json"),
    ] {
        fs::write(&path, damage).unwrap();
        let report = place.run("sweep s.toml").succeeds();
        assert!(
            report.err.contains("warning: ") && report.err.contains(expected),
            "{expected}\n{}",
            report.err
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
    fs::remove_file(&path).unwrap();
    place.run("sweep --collect sweeps/s").succeeds();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    let record = place.path("sweeps/s/runs/base_seed-1/run.json");
    let text = fs::read_to_string(&record).unwrap();
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    fs::write(&record, text.replacen(&version, "\"version\": \"0.0.7\"", 1)).unwrap();
    let report = place.run("sweep --collect sweeps/s").succeeds();
    assert!(report.err.contains("1 of 1 runs were made by gradamp 0.0.7"), "{}", report.err);
}
