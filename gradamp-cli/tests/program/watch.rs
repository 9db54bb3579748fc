//! What can be observed while a run continues: `train --tui`, `watch`, and TensorBoard's files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::integrity::reseal;
use crate::{Report, SMALL, Workplace, contents, json_lines};

#[test]
fn without_a_terminal_the_dashboard_is_replaced_by_lines() {
    let place = Workplace::new();
    let report = place.run(&format!("{SMALL} --tui --out run")).succeeds();
    let lines: Vec<&str> = report.err.lines().filter(|line| line.contains("no dashboard")).collect();
    assert_eq!(lines, ["no dashboard, because stdout is not a terminal"], "{}", report.err);
    assert!(report.err.contains("epoch 3/3"), "{}", report.err);
    assert!(
        !report.out.contains('\u{1b}') && !report.err.contains('\u{1b}'),
        "{}\n{}",
        report.out,
        report.err
    );
    place.run(&format!("{SMALL} --tui --quiet --out other")).ends_with(2);
}

#[test]
fn one_frame_shows_the_state_of_a_run() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 9 --out run")).succeeds();
    let stopped = place.run("watch run --once --size 80x24").succeeds().out;
    for part in
        ["gradamp  run", "step limit", "epoch 2/3", "step 2/6", "phase 2/3", "amplification on", "accuracy"]
    {
        assert!(stopped.contains(part), "expected {part:?} in\n{stopped}");
    }
    place.run("train --threads 1 --resume run").succeeds();
    let finished = place.run("watch run --once").succeeds().out;
    for part in ["finished", "epoch 3/3", "100 %", "gradient norm after amplification", "conv1 +"] {
        assert!(finished.contains(part), "expected {part:?} in\n{finished}");
    }
    // A terminal that does not support UTF-8 gets ASCII only.
    let command = |locale: &str| {
        let mut command = place.command("watch run --once");
        Report::new(locale, command.env("LC_ALL", locale).output().unwrap()).succeeds().out
    };
    let (plain, rich) = (command("C"), command("C.UTF-8"));
    assert!(plain.is_ascii() && !rich.is_ascii() && plain.lines().count() == rich.lines().count(), "{plain}");
    // A last line that is being written is ignored until it is complete.
    let metrics = place.path("run/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, format!("{whole}{}", &whole[..30])).unwrap();
    assert_eq!(place.run("watch run --once").succeeds().out, finished);
    // If a run's record says `running` but no process holds the run's lock, the run was killed.
    reseal(&place.path("run/run.json"), |record| record.replace("\"finished\"", "\"running\""));
    let killed = place.run("watch run --once").succeeds().out;
    assert!(killed.contains("killed") && killed.contains("gradamp train --resume run"), "{killed}");
}

#[test]
fn folders_that_cannot_be_watched_are_errors() {
    let place = Workplace::new();
    place.run("watch nowhere --once").fails(1, &["nowhere", "a run or a sweep", "no such folder"]);
    place.write("empty/notes.txt", "");
    place.run("watch empty --once").fails(1, &["empty", "neither config.toml nor plan.json"]);
    place.run(&format!("{SMALL} --max-steps 9 --out run")).succeeds();
    place.run("watch run").fails(2, &["not a terminal", "--once"]);
    place.run("watch run --once --size huge").fails(2, &["100x30"]);
    place.run("watch run --size 80x24").ends_with(2);

    let metrics = place.path("run/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, format!("{whole}{{\"kind\":\"step\"}}\n")).unwrap();
    let line = format!("line {}: is damaged", whole.lines().count() + 1);
    place.run("watch run --once").fails(1, &["metrics.jsonl", &line]);
    place.run("tensorboard run").fails(1, &["metrics.jsonl", &line]);
    fs::remove_file(&metrics).unwrap();
    place.run("watch run --once").fails(1, &["metrics.jsonl", "cannot read"]);
    // A run without checkpoints and without a record has not started.
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    fs::remove_file(place.path("run/run.json")).unwrap();
    place.run("watch run --once").fails(1, &["run.json", "has not started"]);
    place.write("run/run.json", "{");
    place.run("watch run --once").fails(1, &["run.json", "is damaged"]);

    place.write("sweep/plan.json", "{");
    place.run("watch sweep --once").fails(1, &["plan.json", "is damaged"]);
    place.run("tensorboard nowhere").fails(1, &["nowhere", "no such folder"]);
    place.run("tensorboard").ends_with(2);
}

#[test]
fn a_sweep_is_shown_as_a_table_with_the_state_of_each_run() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 9 --out sweep/runs/a")).succeeds();
    let run = |name: &str| serde_json::json!({"name": name, "cell": name, "role": "cell", "axes": {}, "seed": 1, "epochs": 3});
    let plan = serde_json::json!({
        "format": 1, "version": "0.1.0", "name": "s", "axes": [], "amplification_axes": [],
        "runs": [run("a"), run("b")],
    });
    place.write("sweep/plan.json", &plan.to_string());
    let text = place.run("watch sweep --once").succeeds().out;
    assert!(text.contains("2 runs  1 interrupted  1 pending"), "{text}");
    let row = text.lines().find(|line| line.starts_with("  a ")).unwrap();
    assert!(row.contains("interrupted") && row.contains("1/3"), "{row}");
}

/// The content of a run's only event file.
fn events(run: &Path) -> Vec<u8> {
    let files = contents(&run.join("tensorboard"));
    assert_eq!(files.len(), 1, "{:?}", files.keys());
    files.into_values().next().unwrap()
}

#[test]
fn event_files_grow_with_the_run_and_can_be_made_afterwards() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --tensorboard --max-steps 9 --out run")).succeeds();
    assert!(fs::read_to_string(place.path("run/config.toml")).unwrap().contains("tensorboard = true"));
    // The resumed run takes the setting from its folder.
    place.run("train --threads 1 --resume run").succeeds();
    let grown = events(&place.path("run"));
    let path = place.run("tensorboard run").succeeds().out;
    assert!(path.contains("events.out.tfevents."), "{path}");
    assert!(
        events(&place.path("run")) == grown,
        "the file made afterwards must equal the one written during the run"
    );
    let plain = place.run(&format!("{SMALL} --out plain")).succeeds();
    assert!(!place.path("plain/tensorboard").exists(), "{}", plain.out);

    read_back(&place.path("run"));

    // If a run has an event file, a resumed run continues it.
    place.run(&format!("{SMALL} --max-steps 9 --out late")).succeeds();
    place.run("tensorboard late").succeeds();
    let before = events(&place.path("late"));
    place.run("train --threads 1 --resume late").succeeds();
    assert!(events(&place.path("late")).len() > before.len());
}

/// Reads a run's events with the real TensorBoard and compares them to the run's log lines.
fn read_back(run: &Path) {
    const PROGRAM: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";
    let python = std::env::var("GRADAMP_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_it = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: events read by the real TensorBoard, because {python} has no package tensorboard"
        );
        return;
    }
    let output = Command::new(&python).args(["-c", PROGRAM]).arg(run.join("tensorboard")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    let metrics = json_lines(&run.join("metrics.jsonl"));
    let of_kind = |kind: &str| metrics.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    for (tag, kind, key) in [
        ("step/loss", "step", "loss"),
        ("step/learning_rate", "step", "lr"),
        ("step/images_per_second", "step", "images_per_second"),
        ("step/amplified_sites", "step", "amplified_sites"),
        ("loss/train", "epoch", "train_loss"),
        ("loss/test", "epoch", "test_loss"),
        ("accuracy/train", "epoch", "train_accuracy"),
        ("accuracy/test", "epoch", "test_accuracy"),
    ] {
        let done = |line: &serde_json::Value| line["step"].as_u64().unwrap() + u64::from(kind == "step");
        let expected: Vec<(u64, f32)> =
            of_kind(kind).iter().map(|line| (done(line), line[key].as_f64().unwrap() as f32)).collect();
        assert_eq!(scalars(&read[tag]), expected, "{tag}");
    }
    let gradients = json_lines(&run.join("gradients.jsonl"));
    let site = gradients[0]["site"].as_str().unwrap();
    for when in ["before", "after"] {
        let expected: Vec<(u64, f32)> = gradients
            .iter()
            .filter(|line| line["site"] == site)
            .map(|line| {
                (line["step"].as_u64().unwrap(), line[format!("norm_{when}")].as_f64().unwrap() as f32)
            })
            .collect();
        assert_eq!(scalars(&read[format!("gradient_norm_{when}/{site}")]), expected);
    }
}

fn scalars(read: &serde_json::Value) -> Vec<(u64, f32)> {
    let pair = |pair: &serde_json::Value| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap() as f32);
    read.as_array().unwrap_or(&Vec::new()).iter().map(pair).collect()
}

#[test]
fn learning_rates_are_printed_with_significant_digits_only() {
    let place = Workplace::new();
    let run = |lr: &str, out: &str| {
        place.write("s.toml", &format!("[strategy]\nlr = {lr}\n[[strategy.phase]]\nepochs = 3\n"));
        place.run(&format!(
            "{} --config s.toml --on-divergence continue --out {out}",
            SMALL.replace("--epochs 3", "")
        ))
    };
    for (lr, written) in [("0.00001", "1e-5"), ("1000000000000000000000000000000.0", "1e30")] {
        let report = run(lr, written).succeeds();
        for begin in ["epoch 1/3  phase", "epoch 1/3 step"] {
            let line = report.err.lines().find(|line| line.starts_with(begin)).unwrap();
            assert!(line.contains(&format!("  lr {written}  ")), "{line}");
        }
        let row = report.out.lines().find(|line| line.trim_start().starts_with("1 ")).unwrap();
        assert!(row.contains(&format!(" {written} ")), "{row}");
        let frame = place.run(&format!("watch {written} --once --size 120x30")).succeeds().out;
        assert!(frame.contains(&format!("lr {written}  ")), "{frame}");
        place.run(&format!("report {written} -o page.html")).succeeds();
        let page = fs::read_to_string(place.path("page.html")).unwrap();
        assert!(page.contains(&format!(">{written}</td>")), "the page must show {written}");
        let config = fs::read_to_string(place.path(&format!("{written}/config.toml"))).unwrap();
        assert!(config.contains(&format!("lr = {written} ")), "{config}");
        for text in [&report.err, &report.out, &frame, &page, &config] {
            assert!(!text.contains("0.0000 ") && !text.contains("10000000"), "{text}");
        }
    }
    let error = run("-1e30", "none").ends_with(2);
    assert!(error.err.contains("is -1e30, expected a finite learning rate"), "{}", error.err);
}

#[test]
fn gradients_that_are_not_finite_are_recorded_as_null_and_every_command_accepts_them() {
    let place = Workplace::new();
    let line =
        SMALL.replace("--data shapes", "--data shapes --lr 1e30 --on-divergence continue --tensorboard");
    place.run(&format!("{line} --out run")).succeeds();
    let text = fs::read_to_string(place.path("run/gradients.jsonl")).unwrap();
    assert!(
        text.contains("\"norm_before\":null") && !text.contains("NaN") && !text.contains("inf"),
        "{text}"
    );
    json_lines(&place.path("run/gradients.jsonl"));
    place.run("watch run --once --size 120x30").succeeds();
    place.run("report run -o page.html").succeeds();
    place.run("tensorboard run").succeeds();
}
