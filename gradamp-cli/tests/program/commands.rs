//! What each command prints, and the files that it writes.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::{Report, SMALL, Workplace, json_lines};

#[test]
fn a_run_folder_records_everything() {
    let place = Workplace::new();
    let report = place.run(&format!("{SMALL} --out run")).succeeds();
    assert!(report.err.contains("run folder: run"), "{}", report.err);
    for line in ["phase", "    1", "    2", "    3"] {
        assert!(report.out.lines().any(|found| found.starts_with(line)), "{line}: {}", report.out);
    }
    assert!(report.out.trim_end().ends_with("run"), "{}", report.out);

    let record: Value =
        serde_json::from_str(&fs::read_to_string(place.path("run/run.json")).unwrap()).unwrap();
    assert_eq!(record["outcome"], "finished");
    assert_eq!(record["dataset"], "shapes");
    assert_eq!(record["dataset_checksum"].as_str().unwrap().len(), 64);
    assert_eq!(record["expected_gains"][0]["phase"], 1);
    for key in ["version", "seed", "device", "start", "end", "parameters", "model"] {
        assert!(!record[key].is_null(), "{key}");
    }

    let metrics = json_lines(&place.path("run/metrics.jsonl"));
    let of_kind = |kind: &str| metrics.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of_kind("step").len(), of_kind("epoch").len()), (9, 3));
    let keys = "epoch step phase lr amplified train_loss train_accuracy test_loss test_accuracy attenuation images_per_second seconds";
    for epoch in of_kind("epoch") {
        for key in keys.split(' ') {
            assert!(!epoch[key].is_null(), "{key} in {epoch}");
        }
    }
    let amplified: Vec<_> =
        of_kind("epoch").iter().map(|line| line["amplified"].as_bool().unwrap()).collect();
    assert_eq!(amplified, [false, true, false]);

    let draws = json_lines(&place.path("run/amplification.jsonl"));
    assert_eq!((draws.len(), &draws[0]["epoch"], &draws[0]["step"]), (1, &1.into(), &6.into()));
    let drawn: Vec<&str> =
        draws[0]["sites"].as_array().unwrap().iter().map(|site| site.as_str().unwrap()).collect();
    let factor = draws[0]["factors"][0].as_f64().unwrap();
    for line in json_lines(&place.path("run/gradients.jsonl")) {
        let ratio = line["norm_after"].as_f64().unwrap() / line["norm_before"].as_f64().unwrap();
        let is_drawn = line["epoch"] == 1 && drawn.contains(&line["site"].as_str().unwrap());
        let expected = if is_drawn { factor } else { 1.0 };
        assert!((ratio - expected).abs() < 1e-6, "{line}");
    }
}

#[test]
fn recording_signals_changes_no_bit_and_continues_after_a_resume() {
    let place = Workplace::new();
    let signals = "--set train.signals=true";
    place.run(&format!("{SMALL} --out plain")).succeeds();
    place.run(&format!("{SMALL} {signals} --out whole")).succeeds();
    place.run(&format!("{SMALL} {signals} --max-steps 9 --out resumed")).succeeds();
    place.run("train --threads 1 --resume resumed").succeeds();
    let read = |file: &str| fs::read(place.path(file)).unwrap();
    let model = "checkpoints/last/model.safetensors";
    assert!(read(&format!("plain/{model}")) == read(&format!("whole/{model}")), "the model differs");
    assert!(read("whole/gradients.jsonl") == read("resumed/gradients.jsonl"), "the gradients differ");
    for line in json_lines(&place.path("whole/gradients.jsonl")) {
        assert!(line["output_deviation"].as_f64().is_some_and(|deviation| deviation > 0.0), "{line}");
        let has_parameters = !line["update_ratio"].is_null();
        for key in ["gradient_square", "gradient_variance", "signal_to_noise", "angular_update"] {
            assert_eq!(line[key].is_number(), has_parameters, "{key} in {line}");
        }
        assert_eq!(line["saturated"].is_number(), line["site"].as_str().unwrap().contains("relu"), "{line}");
    }
    assert!(json_lines(&place.path("plain/gradients.jsonl"))[0]["output_deviation"].is_null());
    place.run("report whole --output page.html").succeeds();
    assert!(fs::read_to_string(place.path("page.html")).unwrap().contains("The forward path is"));
    place.run("train --epochs 1 --data shapes --set train.signals=true --set train.gradients_every=0 --out none").fails(
        2,
        &["train.gradients_every", "found 0, expected at least 1, for `signals` measures where gradients are measured"],
    );
}

#[test]
fn loss_scaling_changes_no_bit_and_continues_after_a_resume() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out plain")).succeeds();
    let scaling = "--set train.loss_scaling.initial=1024.0 --set train.loss_scaling.growth_interval=16";
    place.run(&format!("{SMALL} {scaling} --max-steps 7 --out scaled")).succeeds();
    place.run("train --threads 1 --resume scaled").succeeds();
    for file in ["model.safetensors", "momentum.safetensors"] {
        let read = |run: &str| fs::read(place.path(run).join("checkpoints/last").join(file)).unwrap();
        assert!(read("plain") == read("scaled"), "{file} differs");
    }
    for line in json_lines(&place.path("scaled/metrics.jsonl")) {
        match line["kind"].as_str().unwrap() {
            "step" => {
                let factor = if line["step"].as_u64().unwrap() < 16 { 1024.0 } else { 2048.0 };
                assert_eq!(
                    (&line["loss_scale"], &line["skipped"]),
                    (&factor.into(), &false.into()),
                    "{line}"
                );
            }
            _ => assert_eq!(line["skipped_steps"], 0, "{line}"),
        }
    }
    let plain = json_lines(&place.path("plain/metrics.jsonl"));
    assert!(plain.iter().all(|line| line["loss_scale"].is_null() && line["skipped_steps"].is_null()));

    let refused = place.run(&format!("{SMALL} --set train.loss_scaling.backoff=2.0 --out none")).ends_with(2);
    assert!(refused.err.contains("train.loss_scaling.backoff"), "{}", refused.err);
}

#[test]
fn a_run_begins_with_part_of_a_file_and_with_other_names() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let model = "run/checkpoints/last/model.safetensors";
    let begun = format!("{SMALL} --lr 0 --max-steps 1 --init {model}");
    let first = |run: &str| {
        let path = place.path(run).join("checkpoints/last/model.safetensors");
        gradamp_models::Archive::open(&path).unwrap()
    };
    place.run(&format!("{begun} --init-skip linear.* --init-skip bn1.* --seed 9 --out part")).succeeds();
    let (whole, part) = (first("run"), first("part"));
    for (name, is_read) in [("linear.weight", false), ("bn1.weight", false), ("conv1.weight", true)] {
        assert_eq!(whole.floats(name).unwrap() == part.floats(name).unwrap(), is_read, "{name}");
    }
    let shown = fs::read_to_string(place.path("part/config.toml")).unwrap();
    assert!(shown.contains("init_skip = [\"linear.*\", \"bn1.*\"]"), "{shown}");
    place.run("train --resume part --max-steps 2 --threads 1").succeeds();
    place.run(&format!("{begun} --init-skip liner.* --out none")).fails(
        2,
        &["--init-skip: model.init_skip: \"liner.*\" matches no parameter", "did you mean linear."],
    );
    place.run(&format!("{begun} --init-names timm --out none")).fails(1, &["no tensor is named fc.weight"]);
    place
        .run(&format!("{begun} --init-names tim --out none"))
        .fails(2, &["--init-names", "model.init_names"]);
    place
        .run(&format!("{SMALL} --init-skip linear.* --out none"))
        .fails(2, &["model.init_skip", "concerns the file of model.init, which is not given"]);
    place
        .run(&format!("eval --checkpoint {model} --init-names torchvision --data shapes"))
        .fails(1, &["no tensor is named fc.weight"]);
    place.write("w.pth", "PK\u{3}\u{4} a zip archive");
    let refused = place.run(&format!("{SMALL} --init w.pth --out none")).ends_with(1);
    assert!(refused.err.contains("state = torch.load(\"w.pth\""), "{}", refused.err);
    assert!(!place.path("none").exists());
}

#[test]
fn a_checkpoint_can_be_evaluated_and_start_a_run() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let report = place.run("eval --run run --last --batch-size 16 --json").succeeds();
    let evaluation: Value = serde_json::from_str(&report.out).unwrap();
    let metrics = json_lines(&place.path("run/metrics.jsonl"));
    assert_eq!(evaluation["accuracy"], metrics.last().unwrap()["test_accuracy"]);
    assert_eq!(evaluation["loss"], metrics.last().unwrap()["test_loss"]);
    assert_eq!(
        (evaluation["examples"].as_u64(), evaluation["classes"].as_array().unwrap().len()),
        (Some(32), 10)
    );

    let text = place.run("eval --run run").succeeds().out;
    assert!(text.contains("accuracy") && text.contains("triangle"), "{text}");
    place.run("eval --checkpoint run/checkpoints/last --data shapes").succeeds();
    place
        .run(&format!("{SMALL} --init run/checkpoints/best/model.safetensors --max-steps 1 --out next"))
        .succeeds();
}

/// A network without normalisation layers. The header of its file stores its activation.
#[test]
fn a_plain_network_is_trained_resumed_and_evaluated() {
    let place = Workplace::new();
    let plain = "train --preset tour --data shapes --set data.shapes.train=64 --set data.shapes.test=32 --device cpu \
                 --model mlp --width 4 --epochs 3 --set model.depth=3 --set model.activation=tanh \
                 --set model.initial=xavier --set model.gain=1.5 --set amplification.kinds=[\"activation\"]";
    place.run(&format!("{plain} --out whole")).succeeds();
    place.run(&format!("{plain} --max-steps 2 --out parts")).succeeds();
    place.run("train --resume parts").succeeds();
    let model =
        |run: &str| std::fs::read(place.path(&format!("{run}/checkpoints/last/model.safetensors"))).unwrap();
    assert_eq!(model("whole"), model("parts"), "the resumed model equals the uninterrupted one");

    let result = |arguments: &str| -> Value {
        serde_json::from_str(&place.run(&format!("eval {arguments} --json")).succeeds().out).unwrap()
    };
    let run = result("--run whole --last");
    assert_eq!(run["model"], "mlp of width 4 with 10 classes, activation tanh, depth 3");
    let metrics = json_lines(&place.path("whole/metrics.jsonl"));
    assert_eq!(run["loss"], metrics.last().unwrap()["test_loss"]);
    let shapes = "--checkpoint whole/checkpoints/last --data shapes";
    let [from_file, other] =
        [shapes.to_owned(), format!("{shapes} --activation relu")].map(|arguments| result(&arguments));
    assert_eq!(from_file["model"], run["model"], "the activation comes from the file");
    assert_eq!(other["model"], "mlp of width 4 with 10 classes, activation relu, depth 3");
    place
        .run("eval --checkpoint whole/checkpoints/last --activation gelu")
        .fails(2, &["gelu", "--activation"]);
}

#[test]
fn shown_settings_name_their_origins_and_can_be_read_back() {
    let place = Workplace::new();
    place.write("my.toml", "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 4\n");
    let shown = place.run("config show --config my.toml --set train.seed=5 --width 16").succeeds().out;
    for (line, origin) in [
        ("lr = 0.1", "my.toml:2"),
        ("epochs = 4", "my.toml:4"),
        ("seed = 5", "--set"),
        ("width = 16", "--width"),
        ("batch_size = 128", "default"),
    ] {
        let found =
            shown.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}: {shown}"));
        assert!(found.ends_with(&format!("# {origin}")), "{found}");
    }
    place.write("again.toml", &shown);
    place.run("config check again.toml").succeeds();
    let tour = place.run("config show").succeeds().out;
    assert!(tour.contains("# preset tour:"), "{tour}");
}

#[test]
fn a_quiet_run_prints_nothing() {
    let place = Workplace::new();
    let report = place.run(&format!("{SMALL} --quiet --out run")).succeeds();
    assert_eq!((&*report.out, &*report.err), ("", ""));
}

#[test]
fn without_cifar_one_line_says_where_to_get_it() {
    let place = Workplace::new();
    let arguments = SMALL.replace("--data shapes", "--data auto");
    let report = place.run(&format!("{arguments} --max-steps 1")).succeeds();
    let lines: Vec<&str> = report.err.lines().filter(|line| line.contains("CIFAR-10")).collect();
    assert_eq!(lines.len(), 1, "{}", report.err);
    assert!(
        lines[0].contains("generated shapes")
            && lines[0].ends_with("to get CIFAR-10: gradamp data download cifar10"),
        "{}",
        lines[0]
    );
    // Without --out, the run gets a new folder in `runs`.
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 1);
}

/// `gradamp config show | head -1`, and a run whose output is piped to a program that has ended.
#[test]
fn a_closed_pipe_stops_neither_a_command_nor_a_run() {
    let place = Workplace::new();
    for arguments in ["config show", &format!("{SMALL} --max-steps 8 --out run")] {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments}");
    }
}

#[test]
fn the_benchmark_prints_one_json_line() {
    let place = Workplace::new();
    let report = place
        .run("bench step --model vgg11 --width 2 --batch 4 --threads 1 --steps 3 --warmup 1 --json")
        .succeeds();
    assert_eq!(report.out.lines().count(), 1);
    let line: Value = serde_json::from_str(&report.out).unwrap();
    let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
    assert!(number("seconds_per_step") >= number("min"));
    let expected = number("batch") / number("seconds_per_step");
    assert!((number("images_per_second") / expected - 1.0).abs() < 0.01, "{line}");
    assert!(number("loss").is_finite());
    if cfg!(target_os = "linux") {
        assert!(number("peak_bytes") > 1e6, "{line}");
    }
    let evaluation = "bench step --evaluate --model vgg11 --width 2 --batch 4 --device cpu --precision mixed";
    // Plain Rust has bf16 on every machine, and AVX2 and NEON have none.
    let without = if cfg!(target_arch = "x86_64") { "avx2" } else { "neon" };
    for (isa, precision, message) in [
        ("portable", "mixed", "factors are rounded to bf16"),
        (without, "f32", "this device has no mixed precision; it multiplies in f32"),
    ] {
        let command = format!("{evaluation} --json");
        let output = place.command(&command).env("GRADAMP_ISA", isa).output().unwrap();
        let report = Report::new(&command, output).succeeds();
        assert!(report.err.contains(message), "{isa}: {}", report.err);
        let line: Value = serde_json::from_str(&report.out).unwrap();
        assert_eq!(
            (&line["precision"], &line["evaluate"], line.get("loss")),
            (&precision.into(), &true.into(), None)
        );
    }
    let output = place.command(evaluation).env("GRADAMP_ISA", without).output().unwrap();
    let line = Report::new(evaluation, output).succeeds().out;
    assert!(line.contains(" in f32: ") && line.contains(" s an evaluation, "), "{line}");

    let report =
        place.run("bench amplify --model vgg11 --width 2 --batch 4 --threads 1 --steps 2 --json").succeeds();
    let line: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(line["amplified_sites"], 16, "8 batch norms and 8 rectifiers: {line}");
}

#[test]
fn every_operation_of_a_step_is_timed_on_both_devices() {
    let place = Workplace::new();
    let ops = "bench ops --model vgg11 --width 4 --batch 2 --rounds 1";
    let report = place.run(&format!("{ops} --device cpu --threads 1 --json")).succeeds();
    assert_eq!(report.out.lines().count(), 1);
    let line: Value = serde_json::from_str(&report.out).unwrap();
    for ceiling in ["registers_gflops", "product_gflops", "copy_gbps"] {
        assert!(line["ceilings"][ceiling].as_f64().unwrap() > 0.0, "{line}");
    }
    let operations = line["operations"].as_array().unwrap();
    let together: f64 = operations
        .iter()
        .map(|found| found["seconds"].as_f64().unwrap() * found["count"].as_f64().unwrap())
        .sum();
    assert!((together - line["seconds"].as_f64().unwrap()).abs() < 1e-5, "{line}");
    let named = |name: &str| operations.iter().filter(|found| found["operation"] == name).collect::<Vec<_>>();
    let count = |name: &str| named(name).iter().map(|found| found["count"].as_u64().unwrap()).sum::<u64>();
    // Of the eight convolutions, the first reads images and four read the output of a max pool. They can't be fused
    // with a batch norm before them.
    assert_eq!(count("convolution + statistics"), 5, "{line}");
    assert_eq!(count("convolution + statistics, with batch norm + ReLU"), 3, "{line}");
    let first = named("convolution + statistics")[0];
    assert_eq!(first["shape"], "3x3/1 [2, 32, 32, 3] to 4");
    let gflops = 2e-9 * (2 * 32 * 32 * 9 * 3 * 4) as f64 / first["seconds"].as_f64().unwrap();
    assert!((first["gflops"].as_f64().unwrap() / gflops - 1.0).abs() < 0.01, "{first}");
    assert!(named("max pool")[0]["gflops"].is_null() && named("SGD")[0]["gbps"].is_f64(), "{line}");

    place.run(&format!("{ops} --only nonsense")).fails(2, &["--only", "max pool", "found \"nonsense\""]);
    place.run("bench ops --rounds 0").fails(2, &["--rounds", "found \"0\", expected a whole number from 1"]);
    let Some(gpu) = crate::devices::gpu(&place) else { return };
    let table = place.run(&format!("{ops} --device {gpu} --only loss")).succeeds().out;
    for part in ["ceilings: ", "GB/s in a copy", "loss with gradient  [2, 10]", "together"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn a_diverged_run_names_the_site_and_keeps_the_last_good_checkpoint() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --lr 1e30 --out run")).fails(
        1,
        &["diverged at epoch 0, step ", "the first site that is not finite is ", "run/checkpoints/last"],
    );
    let record: Value =
        serde_json::from_str(&fs::read_to_string(place.path("run/run.json")).unwrap()).unwrap();
    assert_eq!(record["outcome"], "diverged");
    place.run("eval --run run --last --json").succeeds();

    place.run(&format!("{SMALL} --lr 1e30 --on-divergence continue --max-steps 8 --out study")).succeeds();
    place.run("train --resume study").succeeds();
    let metrics = json_lines(&place.path("study/metrics.jsonl"));
    assert_eq!(metrics.last().unwrap()["epoch"], 2);
    assert!(metrics.last().unwrap()["train_loss"].is_null(), "a loss that is not finite is recorded as null");
}

/// A run with its baseline, uninterrupted and in several parts.
#[test]
fn a_run_is_followed_by_its_baseline_on_request() {
    let place = Workplace::new();
    let settings = "train --preset vanishing --data shapes --set data.shapes.train=256 --set data.shapes.test=32 --device cpu \
                    --width 1 --set train.batch_size=16 --set train.gradients_every=2";
    let whole = place.run(&format!("{settings} --out whole")).succeeds();
    let header =
        "epoch  amplification  test accuracy  without  first layer's gradient / last layer's  without\n";
    let table = whole.out.split_once(header).expect(&whole.out).1;
    assert_eq!(table.lines().skip(1).filter(|line| line.contains(" on ")).count(), 3, "{table}");
    assert_eq!(table.lines().skip(1).filter(|line| line.contains(" off ")).count(), 5, "{table}");
    let show = place.run("config show --config whole-baseline/config.toml").succeeds().out;
    assert!(!show.contains("amplify = true") && show.contains("baseline = false"), "{show}");
    assert_eq!(json_lines(&place.path("whole-baseline/amplification.jsonl")).len(), 0);

    // Stops during the run, then continues.
    place.run(&format!("{settings} --max-steps 20 --out parts")).succeeds();
    assert!(!place.path("parts-baseline").exists(), "the baseline starts only after the run is finished");
    let done = place.run("train --resume parts").succeeds();
    assert_eq!(done.out.split_once(header).expect(&done.out).1, table);
    // Stops during the baseline, then continues with the run's name.
    fs::remove_dir_all(place.path("parts-baseline")).unwrap();
    place.run("train --config whole-baseline/config.toml --max-steps 20 --out parts-baseline").succeeds();
    let done = place.run("train --resume parts").succeeds();
    assert_eq!(done.out.split_once(header).expect(&done.out).1, table);
    let again = place.run("train --resume parts").succeeds();
    assert_eq!(
        again.out.split_once(header).expect(&again.out).1,
        table,
        "the table of a finished pair is printed again"
    );

    // A run without amplification has no baseline.
    let never = place
        .run(&format!("{settings} --set strategy.phase.0.amplify=false --max-steps 1000 --out never"))
        .succeeds();
    assert!(never.err.contains("no baseline follows"), "{}", never.err);
    assert!(!place.path("never-baseline").exists());
}

#[test]
fn completions_and_manual_pages_cover_the_commands() {
    let place = Workplace::new();
    let script = place.run("completions bash").succeeds();
    for word in ["complete -F", "train", "--precision", "completions"] {
        assert!(script.out.contains(word), "{word} is missing in\n{}", script.out);
    }
    let path = place.write("completions.bash", &script.out);
    let checked = std::process::Command::new("bash").arg("-n").arg(path).status().unwrap();
    assert!(checked.success(), "bash does not accept the script");
    let pages = place.run("man pages").succeeds();
    for (page, words) in
        [("gradamp", "Exit codes"), ("gradamp-train", "preset"), ("gradamp-bench-step", "images")]
    {
        let text = fs::read_to_string(place.path("pages").join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains(words), "{page}:\n{text}");
        assert!(pages.out.contains(&format!("{page}.1")), "{}", pages.out);
    }
    place.run("completions csh").fails(2, &["csh"]);
    place.write("taken", "");
    place.run("man taken/pages").fails(1, &["taken/pages"]);
}

#[test]
fn the_version_names_the_commit() {
    let version = Workplace::new().run("--version").succeeds().out;
    let words: Vec<&str> = version.split_whitespace().collect();
    assert_eq!(words[..2], ["gradamp", "0.1.0,"], "{version}");
    assert!(words[2] == "commit" && words[3].len() == 12, "{version}");
}
