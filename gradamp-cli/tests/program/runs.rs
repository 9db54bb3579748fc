//! `gradamp runs`: lists, shows and cleans.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use crate::{SMALL, Workplace, contents};

/// One finished run of one epoch, and one that stopped within its first epoch.
fn two_runs(place: &Workplace) {
    let short = SMALL.replace("--epochs 3", "--epochs 1");
    place.run(&format!("{short} --seed 3 --out runs/a/done")).succeeds();
    place.run(&format!("{SMALL} --max-steps 2 --out runs/begun")).succeeds();
}

fn json(place: &Workplace, arguments: &str) -> Value {
    serde_json::from_str(&place.run(arguments).succeeds().out).unwrap()
}

#[test]
fn runs_are_listed_shown_and_cleaned() {
    let place = Workplace::new();
    two_runs(&place);
    fs::create_dir_all(place.path("runs/empty")).unwrap();

    let list = place.run("runs").succeeds().out;
    for parts in [
        &["a/done", "finished", "resnet18 of width 2", "shapes", "1 of 1", " %"][..],
        &["begun", "step limit", "0 of 3", " - "],
        &["2 runs, "],
    ] {
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(list.lines().any(has_all), "{parts:?}\n{list}");
    }
    assert!(!list.contains("empty"));
    let listed = json(&place, "runs list runs --json --sort accuracy");
    let runs = listed["runs"].as_array().unwrap();
    assert_eq!(
        (runs.len(), &runs[0]["state"], &runs[1]["state"]),
        (2, &"step_limit".into(), &"finished".into())
    );
    assert_eq!(
        (&runs[1]["epochs"], &runs[1]["planned_epochs"], &runs[1]["seed"]),
        (&1.into(), &1.into(), &3.into())
    );
    assert!(runs[1]["best_accuracy"].is_number() && runs[0]["best_accuracy"].is_null());
    let bytes: u64 = contents(&place.path("runs/a/done")).values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(runs[1]["bytes"], bytes);

    let show = place.run("runs show runs/a/done").succeeds().out;
    for part in
        ["model.width = 2", "train.batch_size = 16", "data.source = \"shapes\"", "best (", "phase  epochs"]
    {
        assert!(show.contains(part), "{part} in\n{show}");
    }
    assert!(!show.contains("optimizer.momentum") && !show.contains("to continue it"), "{show}");
    let shown = json(&place, "runs show runs/begun --json");
    assert_eq!(
        (&shown["settings"]["model.width"], &shown["checkpoints"][0]["name"]),
        (&2.into(), &"last".into())
    );
    let show = place.run("runs show runs/begun").succeeds().out;
    assert!(show.trim_end().ends_with("to continue it: gradamp train --resume runs/begun"), "{show}");
    place.run("runs show runs/empty").fails(1, &["found no config.toml"]);
    place.run("runs nowhere").fails(1, &["nowhere: expected a folder with runs"]);
}

fn leave_rubbish(place: &Workplace) {
    fs::write(place.path("runs/a/done/.model.partial"), [0; 100]).unwrap();
    fs::create_dir_all(place.path("runs/a/done/checkpoints/last.new")).unwrap();
    fs::write(place.path("runs/a/done/checkpoints/last.new/model.safetensors"), [0; 1000]).unwrap();
}

fn files(root: &Path) -> Vec<std::path::PathBuf> {
    contents(root).into_keys().collect()
}

#[test]
fn cleaning_removes_leftovers_and_only_the_checkpoints_that_are_named() {
    let place = Workplace::new();
    two_runs(&place);
    let whole = files(&place.path("runs"));
    leave_rubbish(&place);
    let before = contents(&place.path("runs"));

    let plan = place.run("runs clean --dry-run").succeeds().out;
    assert!(plan.contains("2 to remove, 1.1 KiB; nothing was removed"), "{plan}");
    place.run("runs clean").fails(2, &["stdin is not a terminal: expected --yes or --dry-run"]);
    assert!(contents(&place.path("runs")) == before, "something was removed");
    let cleaned = place.run("runs clean --yes").succeeds().out;
    assert!(cleaned.trim_end().ends_with("2 removed, 1.1 KiB freed"), "{cleaned}");
    assert_eq!(files(&place.path("runs")), whole);
    assert!(place.run("runs clean --yes").succeeds().out.contains("nothing to remove"));

    // Only the finished run loses its checkpoint, and this is no damage.
    place.run("runs clean --yes --checkpoints last").succeeds();
    assert!(!place.path("runs/a/done/checkpoints/last").exists());
    assert!(place.path("runs/begun/checkpoints/last").exists());
    let verified = place.run("verify runs/a/done").succeeds().out;
    assert!(verified.contains("was removed by `runs clean`"), "{verified}");
    place.run("eval --run runs/a/done --device cpu").succeeds();
    let listed = json(&place, "runs --json");
    assert!(listed["runs"].as_array().unwrap().iter().all(|run| run["damage"].is_null()), "{listed}");
}

#[test]
fn a_run_that_is_in_use_or_damaged_is_listed_and_left_alone() {
    let place = Workplace::new();
    two_runs(&place);
    leave_rubbish(&place);
    let before = contents(&place.path("runs/a"));
    let lock = File::options().write(true).open(place.path("runs/a/done/.lock")).unwrap();
    lock.lock().unwrap();
    let cleaned = place.run("runs clean --yes --checkpoints best,last").succeeds();
    assert!(cleaned.err.contains("runs/a/done: another process is writing to this run"), "{}", cleaned.err);
    assert!(contents(&place.path("runs/a")) == before, "something was removed");
    drop(lock);

    let path = place.path("runs/begun/config.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("width = 2", "width = 3")).unwrap();
    let list = place.run("runs").succeeds();
    assert!(list.out.contains("step limit, damaged"), "{}", list.out);
    assert!(list.err.contains("warning: runs/begun/config.toml"), "{}", list.err);
}
