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

    // The average is evaluated beside the weights, and is a model that `eval` reads.
    let metrics = fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let epochs: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epoch = epochs.iter().rev().find(|line| line["kind"] == "epoch").unwrap();
    assert!(epoch["test_ema_accuracy"].is_f64() && epoch["test_ema_loss"] != epoch["test_loss"], "{epoch}");
    let eval =
        "eval --checkpoint whole/checkpoints/last/ema.safetensors --data shapes --device cpu --threads 1";
    let eval = place.run(eval).succeeds();
    assert!(eval.out.contains("resnet18 of width 2"), "{}", eval.out);
    place.run("verify whole").succeeds();
    place.run("train --threads 1 --resume parts --set train.accumulate=1").fails(2, &["train.accumulate"]);
}

/// The configuration of an MLP that trains for `epochs` epochs.
fn mlp(epochs: usize, lr: &str) -> String {
    format!(
        "[model]\nname = \"mlp\"\ndepth = 2\nwidth = 2\n[data]\nsource = \"shapes\"\nshapes = {{ train = 96, test = 32 }}\n\
         [train]\nbatch_size = 16\nthreads = 1\ndevice = \"cpu\"\n[strategy]\nlr = {lr}\n[[strategy.phase]]\nepochs = {epochs}\n"
    )
}

#[test]
fn a_run_ends_when_its_patience_does() {
    let place = Workplace::new();
    // Nothing is learned at a rate of 0. Without batch norm, each evaluation is the same.
    place.write("stuck.toml", &mlp(9, "0"));
    let run = place.run("train --config stuck.toml --set train.patience=2 --out run").succeeds();
    assert!(run.err.contains("no better evaluation in 2 epochs"), "{}", run.err);
    let metrics = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.contains("\"kind\":\"epoch\"")).count(), 3, "{metrics}");
    let again = place.run("train --resume run").succeeds();
    assert!(
        again.err.contains("for more patience: gradamp train --resume run --set train.patience=N"),
        "{}",
        again.err
    );
    // More patience lets the run go on.
    place.run("train --threads 1 --resume run --set train.patience=4").succeeds();
    let metrics = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.contains("\"kind\":\"epoch\"")).count(), 5, "{metrics}");
}

#[test]
fn schedules_may_wait_for_a_plateau_or_make_a_cycle() {
    let place = Workplace::new();
    let rates = |name: &str, lr: &str| -> Vec<f64> {
        place.write("rates.toml", &mlp(4, lr));
        place.run(&format!("train --config rates.toml --out {name}")).succeeds();
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
