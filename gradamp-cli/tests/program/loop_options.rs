//! Options of the training loop: several batches a step, mixed batches, an average of the weights, patience, and schedules that
//! depend on evaluations.

use std::fs;

use crate::{SMALL, Workplace};

#[test]
fn a_run_with_all_options_of_the_loop_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let options = "--set train.accumulate=3 --set train.mixup=0.4 --set train.cutmix=1 --set train.ema=0.9";
    place.run(&format!("{SMALL} {options} --out whole")).succeeds();
    place.run(&format!("{SMALL} {options} --out parts --set train.max_steps=4")).succeeds();
    place.run("train --threads 1 --resume parts").succeeds();
    place.run(&format!("{SMALL} --out plain")).succeeds();
    let last = |run: &str, file: &str| {
        let path = place.path(run).join("checkpoints/last").join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    for file in ["model.safetensors", "ema.safetensors", "momentum.safetensors"] {
        assert!(last("whole", file) == last("parts", file), "{file} differs");
    }
    assert!(last("whole", "ema.safetensors") != last("whole", "model.safetensors"));
    assert!(last("whole", "model.safetensors") != last("plain", "model.safetensors"));

    // The average is evaluated beside the weights, also by `eval`, to the same accuracy.
    let metrics = fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let epochs: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epoch = epochs.iter().rev().find(|line| line["kind"] == "epoch").unwrap();
    let accuracy = epoch["test_ema_accuracy"].as_f64().unwrap();
    let eval = place.run("eval --checkpoint whole/checkpoints/last/ema.safetensors --data shapes --device cpu --threads 1 --json").succeeds();
    let found: serde_json::Value = serde_json::from_str(&eval.out).unwrap();
    assert_eq!(found["accuracy"].as_f64().unwrap(), accuracy, "{}", eval.out);
    place.run("verify whole").succeeds();
    place.run("train --threads 1 --resume parts --set train.accumulate=1").fails(2, &["train.accumulate"]);
}

#[test]
fn a_run_ends_when_its_patience_does() {
    let place = Workplace::new();
    // Nothing is learned at a rate of 0. Without batch norm, each evaluation is the same.
    let stuck = "--set model.name=mlp --set model.depth=2 --set strategy.lr=0";
    let small = SMALL.replace("--epochs 3", "--epochs 9");
    let run = place.run(&format!("{small} {stuck} --set train.patience=2 --out run")).succeeds();
    assert!(run.err.contains("no better evaluation in 2 epochs"), "{}", run.err);
    let metrics = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.contains("\"kind\":\"epoch\"")).count(), 3, "{metrics}");
    // More patience lets the run go on.
    place.run("train --threads 1 --resume run --set train.patience=4").succeeds();
    let metrics = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.contains("\"kind\":\"epoch\"")).count(), 5, "{metrics}");
}

#[test]
fn schedules_may_wait_for_a_plateau_or_make_a_cycle() {
    let place = Workplace::new();
    let mlp = "--set model.name=mlp --set model.depth=2";
    let small = SMALL.replace("--epochs 3", "--epochs 4");
    let rates = |name: &str, lr: &str| -> Vec<f64> {
        place.run(&format!("{small} {mlp} --set strategy.lr={lr} --out {name}")).succeeds();
        let metrics = fs::read_to_string(place.path(name).join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["kind"] == "epoch").map(|line| line["lr"].as_f64().unwrap()).collect()
    };
    // A threshold of nearly 1 is never met: the first evaluation is the best.
    let plateau = "{schedule=\"plateau\",from=0.1,factor=0.5,patience=0,threshold=0.999}";
    assert_eq!(rates("plateau", plateau), [0.1, 0.1, 0.05, 0.025]);
    let cycle = rates("cycle", "{schedule=\"one_cycle\",from=0.01,peak=0.1,to=0.001,rise=0.5}");
    assert!(
        cycle[0] < cycle[1] && (cycle[1] - 0.1).abs() < 1e-9 && (cycle[3] - 0.001).abs() < 1e-9,
        "{cycle:?}"
    );
}

#[test]
fn options_without_sense_are_refused_by_their_key() {
    let place = Workplace::new();
    for (option, message) in [
        ("train.accumulate=0", "expected 1 to 65536 batches"),
        ("train.ema=1", "expected a number between 0 and 1"),
        ("train.patience=0", "expected at least 1 epoch"),
        ("train.mixup=-0.5", "expected a finite number of at least 0"),
        ("train.cutmix=-1", "expected a finite number of at least 0"),
        ("strategy.lr={schedule=\"one_cycle\",from=0.1}", "needs a `peak`"),
        ("strategy.lr={schedule=\"plateau\",from=0.1,factor=2}", "expected a number between 0 and 1"),
    ] {
        let key = option.split('=').next().unwrap();
        place.run(&format!("{SMALL} --set {option} --out run")).fails(2, &[key, message]);
    }
    assert!(!place.path("run").exists(), "a refused command creates no folder");
}
