//! What a user asks before a run: `gradamp init`, `gradamp train --dry-run` and `gradamp lr-find`.

use std::fs;

use crate::{SMALL, Workplace, contents};

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let place = Workplace::new();
    let report = place.run(&format!("{SMALL} --dry-run")).succeeds();
    for part in [
        "resnet18 of width 2 with 10 classes: 11",
        "device: cpu (",
        "optimiser: sgd, batch 16",
        "phase  epochs  steps",
        "memory: parameters ",
        " a step, timed here; 18 steps and 6 batches of evaluation take about ",
        "phase 2: gradients are multiplied by ",
    ] {
        assert!(report.out.contains(part), "{part} in\n{}", report.out);
    }
    let row = |start: &str| report.out.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(row("1     1-1      6").ends_with("off"), "{}", report.out);
    assert!(row("2     2-2      6").contains(" sites: "), "{}", report.out);
    assert!(report.err.contains("nothing was written"), "{}", report.err);
    assert!(contents(&place.path("")).is_empty());

    place.run(&format!("{SMALL} --dry-run --out run")).ends_with(2);
    place.run(&format!("{SMALL} --dry-run --set amplification.paths=none.*")).fails(2, &["amplification"]);
    place.run(&format!("{SMALL} --dry-run --init w.safetensors")).fails(1, &["w.safetensors"]);
    let without_data = SMALL.replace("--data shapes", "--data ./nowhere");
    place.run(&format!("{without_data} --dry-run")).fails(1, &["nowhere"]);
}

#[test]
fn a_verbose_run_says_what_was_chosen() {
    let place = Workplace::new();
    let report = place.run(&format!("{SMALL} --verbose --dry-run")).succeeds();
    for part in [
        "device: cpu (",
        "(asked for cpu), multiplies in f32, reads the result of each step at once",
        "data: no path was given; the host makes the batches, on 1 threads",
        "setting: model.width = 2  (--width)",
        "setting: train.log_interval = 2  (--set)",
        "setting: amplification.ratio = 0.5  (preset tour:",
    ] {
        assert!(report.err.contains(part), "{part} in\n{}", report.err);
    }
    let plain = place.run(&format!("{SMALL} --dry-run")).succeeds();
    assert!(!plain.err.contains("setting: "), "{}", plain.err);
    place.run(&format!("{SMALL} --verbose --quiet")).ends_with(2);
}

#[test]
fn a_file_of_init_can_be_trained_from() {
    let place = Workplace::new();
    let printed = place.run("init resnet18 shapes").succeeds().out;
    place.run("init resnet18 shapes --output run.toml").succeeds();
    assert_eq!(fs::read_to_string(place.path("run.toml")).unwrap(), printed);
    place.run("init vgg11 --output run.toml").fails(2, &["run.toml: exists", "--force"]);
    place.run("config check run.toml").succeeds();
    let shown = place.run("config show --config run.toml").succeeds().out;
    for line in ["name = \"resnet18\"", "source = \"shapes\"", "ratio = 0.5"] {
        let origin = shown.lines().find(|found| found.starts_with(line)).unwrap();
        assert!(origin.contains("# run.toml:"), "{origin}");
    }
    let small = "--width 2 --batch-size 16 --epochs 3 --set data.shapes.train=96 --set data.shapes.test=32";
    let plan =
        place.run(&format!("train --config run.toml --device cpu --threads 1 {small} --dry-run")).succeeds();
    assert!(plan.out.contains("18 steps and 6 batches"), "{}", plan.out);
    place.run("init resnet19").fails(2, &["there is no model \"resnet19\": did you mean resnet18?"]);
}

#[test]
fn a_range_test_ramps_the_rate_with_and_without_amplification() {
    let place = Workplace::new();
    let settings = SMALL.strip_prefix("train ").unwrap().replace("--epochs 3", "");
    let find = format!("lr-find {settings} --from 0.001 --to 100 --steps 40");
    let report = place.run(&format!("{find} --output page.html --json")).succeeds();
    let found: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    let tests = found["tests"].as_array().unwrap();
    assert_eq!((tests.len(), &tests[1]["test"]), (2, &"with amplification".into()));
    let points = |test: usize| tests[test]["points"].as_array().unwrap();
    let loss = |test: usize, step: usize| points(test)[step]["loss"].as_f64().unwrap();
    assert_eq!(loss(0, 0), loss(1, 0), "both begin with the same parameters and the same batch");
    assert_ne!(loss(0, 1), loss(1, 1), "the second step shows the amplified first one");
    for (step, point) in points(0).iter().enumerate() {
        let expected = 0.001 * 1e5f64.powf(step as f64 / 39.0);
        assert!((point["lr"].as_f64().unwrap() / expected - 1.0).abs() < 1e-6, "{point}");
    }
    let has_diverged = tests[0]["diverged"] == true;
    assert_eq!(points(0).len() < 40, has_diverged, "{report}", report = report.out);
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("Smoothed loss at each learning rate") && page.contains("Suggested rates"));
    assert_eq!(contents(&place.path("")).len(), 1, "only the page is written");

    let text = place.run(&find).succeeds().out;
    for part in ["smoothed loss", "without amplification", "with amplification: the loss "] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let plain = place
        .run(&format!("lr-find --preset baseline {} --steps 10", settings.replace("--width 2", "--width 1")))
        .succeeds();
    assert!(plain.err.contains("no phase of the run is amplified"), "{}", plain.err);
    place.run(&format!("{find} --lr 0.1")).fails(2, &["--lr: cannot be used with lr-find"]);
    place.run("lr-find --from 2 --to 1").fails(2, &["expected 0 < from < to"]);
    place.run("lr-find --smoothing 1").fails(2, &["--smoothing: found 1, expected 0 or more and below 1"]);
    place.run("lr-find --steps 1").ends_with(2);
}
