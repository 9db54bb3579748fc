//! The promise of a run's folder: either the bits that are read are those that were saved, or an error names the
//! file.

mod flips;
mod places;

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{SMALL, Workplace, contents};

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Inverts one bit of a file and returns its earlier content.
fn flip(path: &Path, at: usize, bit: u32) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    before
}

/// The output of `eval --json`, without the file's name.
fn evaluation(place: &Workplace, subject: &str) -> Value {
    let report = place.run(&format!("eval {subject} --device cpu --threads 1 --json")).succeeds();
    let mut json: Value = serde_json::from_str(&report.out).unwrap();
    json.as_object_mut().unwrap().remove("file");
    json
}

/// Changes a record such as `run.json` and renews its seal, as a program that writes the file would.
pub fn reseal(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, resealed(&text, (",\n  \"sha256\": \"", "\"\n}\n", "\n}\n"), change)).unwrap();
}

/// Does the same for a line of a sweep's results.
pub fn resealed_line(line: &str, change: impl FnOnce(&str) -> String) -> String {
    resealed(line.trim_end(), (",\"sha256\":\"", "\"}", "}"), change) + "\n"
}

fn resealed(
    text: &str,
    (key, end, bare_end): (&str, &str, &str),
    change: impl FnOnce(&str) -> String,
) -> String {
    let body = change(text.rsplit_once(key).unwrap().0);
    let digest = Sha256::digest(format!("{body}{bare_end}"));
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body}{key}{sha256}{end}")
}

#[test]
fn eval_refuses_a_damaged_checkpoint_and_names_one_that_is_whole() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    for (name, other, run) in [("best", "last", "--run run"), ("last", "best", "--run run --last")] {
        let folder = place.path("run/checkpoints").join(name);
        for file in ["model.safetensors", "momentum.safetensors", "state.json"] {
            let path = folder.join(file);
            let before = flip(&path, fs::metadata(&path).unwrap().len() as usize / 2, 3);
            let at = format!("run/checkpoints/{name}/{file}");
            let whole = format!("run/checkpoints/{other} is whole");
            place.run(&format!("eval {run} --device cpu")).fails(1, &[&at, &whole]);
            place
                .run(&format!("eval --checkpoint run/checkpoints/{name} --device cpu"))
                .fails(1, &[&at, &whole]);
            if file == "model.safetensors" {
                place
                    .run(&format!("eval --checkpoint {at} --data shapes --device cpu"))
                    .fails(1, &[&at, "is changed"]);
                place.run(&format!("{SMALL} --init {at} --out other")).fails(1, &[&at, "is changed"]);
            }
            fs::write(&path, before).unwrap();
        }
    }
    evaluation(&place, "--run run");
}

/// A model file without a seal is not checked.
#[test]
fn eval_accepts_a_model_without_a_seal() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    copy(&place.path("run/checkpoints/best"), &place.path("bare"));
    fs::remove_file(place.path("bare/state.json")).unwrap();
    place.write("bare/other/state.json", "{\"of\": \"another program\"}");
    fs::copy(place.path("bare/model.safetensors"), place.path("bare/other/model.safetensors")).unwrap();
    let expected = evaluation(&place, "--data shapes --checkpoint run/checkpoints/best");
    for subject in ["bare", "bare/model.safetensors", "bare/other/model.safetensors"] {
        assert_eq!(
            evaluation(&place, &format!("--data shapes --checkpoint {subject}")),
            expected,
            "{subject}"
        );
    }
}

/// If the program is killed between two renames, `NAME` is missing while `NAME.old` and `NAME.new` are whole.
#[test]
fn eval_reads_the_checkpoint_that_a_resume_would_and_changes_nothing() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    copy(&place.path("run/checkpoints/last"), &place.path("older"));
    let older = evaluation(&place, "--run run --last");
    place.run("train --threads 1 --resume run --max-steps 10").succeeds();
    copy(&place.path("run/checkpoints/last"), &place.path("newer"));
    let newer = evaluation(&place, "--run run --last");
    assert_ne!(older, newer);
    for (name, run) in [("best", "--run run"), ("last", "--run run --last")] {
        let at = |suffix: &str| place.path("run/checkpoints").join(format!("{name}{suffix}"));
        for suffix in ["", ".new", ".old"] {
            let _ = fs::remove_dir_all(at(suffix)); // the folder may not exist
        }
        copy(&place.path("older"), &at(".old"));
        copy(&place.path("newer"), &at(".new"));
        let before = contents(&place.path("run"));
        assert_eq!(evaluation(&place, run), newer, "{name}: the newer of two whole checkpoints is used");
        fs::remove_file(at(".new/state.json")).unwrap(); // this file is written last
        assert_eq!(evaluation(&place, run), older, "{name}: an incomplete new checkpoint is not used");
        fs::copy(place.path("newer/state.json"), at(".new/state.json")).unwrap();
        let damaged = at(".new/model.safetensors");
        let whole = flip(&damaged, 5000, 0);
        place.run(&format!("eval {run} --device cpu")).fails(
            1,
            &[
                &format!("run/checkpoints/{name}.new/model.safetensors: is changed"),
                &format!("run/checkpoints/{name}.old"),
                "whole",
            ],
        );
        fs::write(damaged, whole).unwrap();
        assert!(contents(&place.path("run")) == before, "{name}: eval changed the folder");
        place.run("train --threads 1 --resume run --max-steps 11").succeeds();
        for suffix in [".new", ".old"] {
            assert!(!at(suffix).exists(), "{name}{suffix} is left");
        }
    }
}

/// The lines of `verify` about files that are not whole, and its exit code.
fn verify(place: &Workplace, folder: &str) -> (Vec<String>, Option<i32>) {
    let report = place.run(&format!("verify {folder}"));
    let lines = report.out.lines().filter(|line| !line.ends_with("  whole") && !line.contains("bit for bit"));
    (lines.map(str::to_owned).collect(), report.code)
}

#[test]
fn verify_lists_each_damaged_file_with_its_expected_and_found_checksum() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let report = place.run("verify run").succeeds();
    assert!(report.out.contains("run: 12 of 12 files are whole, bit for bit"), "{}", report.out);
    let json: Value = serde_json::from_str(&place.run("verify run --json").succeeds().out).unwrap();
    assert_eq!((&json["whole"], json["files"].as_array().unwrap().len()), (&Value::Bool(true), 12));

    copy(&place.path("run"), &place.path("other"));
    for file in ["metrics.jsonl", "gradients.jsonl", "checkpoints/best/momentum.safetensors"] {
        flip(&place.path("run").join(file), 40, 1);
    }
    fs::remove_file(place.path("run/evaluations.jsonl")).unwrap();
    let failed =
        place.run("verify run").fails(1, &["run: 4 files are damaged: metrics.jsonl, gradients.jsonl, "]);
    assert_eq!(failed.out.matches("DAMAGED: is changed").count(), 3, "{}", failed.out);
    assert_eq!(failed.out.matches("expected SHA-256").count(), 3, "{}", failed.out);
    assert!(failed.out.contains("DAMAGED: cannot read"), "{}", failed.out);
    let json: Value = serde_json::from_str(&place.run("verify run --json").ends_with(1).out).unwrap();
    let damaged = json["files"].as_array().unwrap().iter().filter(|file| file["state"] == "damaged").count();
    assert_eq!((&json["whole"], damaged), (&Value::Bool(false), 4));
    for command in
        ["report run", "compare run other", "tensorboard run", "watch run --once", "train --resume run"]
    {
        place
            .run(command)
            .fails(1, &["run/metrics.jsonl: is changed since the last checkpoint: expected SHA-256"]);
    }
    place.run("verify nothing").fails(1, &["nothing: expected the folder of a run"]);
}

/// Lines that a killed run wrote after its last checkpoint are not damage.
#[test]
fn lines_after_the_last_checkpoint_are_not_damage() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    let metrics = place.path("run/metrics.jsonl");
    let mut text = fs::read_to_string(&metrics).unwrap();
    let line = text.lines().next().unwrap().to_owned() + "\n";
    text += &format!("{line}{line}{}", &line[..10]);
    fs::write(&metrics, text).unwrap();
    let (notes, code) = verify(&place, "run");
    assert_eq!(code, Some(0));
    assert_eq!(notes.len(), 1, "{notes:?}");
    let (file, note) = notes[0].split_once(' ').unwrap();
    assert_eq!((file, note.trim()), ("metrics.jsonl", "3 lines are not yet covered by a checkpoint"));
    place.run("report run").succeeds();
    place.run("train --threads 1 --resume run").succeeds();
    assert_eq!(verify(&place, "run"), (vec![], Some(0)));
}

/// Removes all seals, as in a folder of the first version, which had none.
fn unseal(run: &Path) {
    let change = |path: &Path, keys: &[&str]| {
        let mut json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        keys.iter().for_each(|key| drop(json.as_object_mut().unwrap().remove(*key)));
        if path.ends_with("state.json") {
            json["format"] = 1.into();
        }
        fs::write(path, serde_json::to_string_pretty(&json).unwrap() + "\n").unwrap();
    };
    change(&run.join("run.json"), &["format", "config", "saved", "sha256"]);
    for name in ["last", "best"] {
        change(&run.join("checkpoints").join(name).join("state.json"), &["log_sha256", "sha256"]);
    }
}

#[test]
fn a_run_of_an_earlier_version_without_seals_is_accepted() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    unseal(&place.path("run"));
    let (notes, code) = verify(&place, "run");
    assert_eq!(code, Some(0));
    assert!(place.run("verify run").out.contains("bit for bit; no damage was found in the other files"));
    for file in ["config.toml", "run.json", "metrics.jsonl"] {
        let is_noted =
            |note: &&String| note.starts_with(file) && note.contains("unsealed by an earlier version");
        assert_eq!(notes.iter().filter(is_noted).count(), 1, "{file}: {notes:?}");
    }
    for command in ["report run", "watch run --once", "eval --run run --device cpu", "train --resume run"] {
        place.run(command).succeeds();
    }
    assert_eq!(verify(&place, "run"), (vec![], Some(0)), "the resumed run has seals");
    // A file of this version without a seal is not mistaken for a file of an earlier version.
    let state = place.path("run/checkpoints/last/state.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, format!("{}\n}}\n", text.split(",\n  \"sha256\": \"").next().unwrap())).unwrap();
    place.run("report run").fails(1, &["last/state.json: is changed: expected its seal, found none"]);
}

#[test]
fn a_run_that_lost_its_checkpoints_or_logs_is_not_silently_restarted() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    copy(&place.path("run"), &place.path("whole"));
    let logs = ["metrics.jsonl", "amplification.jsonl", "gradients.jsonl", "evaluations.jsonl"];
    let lose = |with_logs: bool, outcome: &str| {
        let _ = fs::remove_dir_all(place.path("run")); // the folder may not exist
        copy(&place.path("whole"), &place.path("run"));
        unseal(&place.path("run"));
        let record = place.path("run/run.json");
        let text = fs::read_to_string(&record).unwrap();
        fs::write(record, text.replace("step_limit", outcome)).unwrap();
        fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
        if with_logs {
            logs.iter().for_each(|log| fs::remove_file(place.path("run").join(log)).unwrap());
        }
    };
    let missing = ["run/checkpoints/last: expected the checkpoint of the run, found none"];
    lose(false, "running");
    place.run("train --resume run").fails(1, &missing); // the logs show that a checkpoint existed
    lose(true, "step_limit");
    place.run("train --resume run").fails(1, &missing); // the record shows that a checkpoint existed
    // A record that says `running` also says whether a checkpoint was saved, unless an earlier version started the
    // run. The program then prints a note.
    lose(true, "running");
    let begun = place.run("train --threads 1 --resume run").succeeds();
    assert!(begun.err.contains("the run has not saved a checkpoint"), "{}", begun.err);

    fs::remove_dir_all(place.path("run")).unwrap();
    copy(&place.path("whole"), &place.path("run"));
    let last = place.path("run/checkpoints/last");
    fs::remove_dir_all(&last).unwrap();
    place.run("train --resume run").fails(1, &[missing[0], "run/checkpoints/best is whole"]);
    place.run("verify run").fails(1, &["checkpoints/last"]);
}

#[test]
fn half_written_files_of_a_killed_process_are_removed_at_the_next_start() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    let left = [
        "run/.a1b2c3.partial",
        "run/checkpoints/.a1b2c3.partial",
        "run/checkpoints/best.old/model.safetensors",
        "run/checkpoints/last.new/.a1b2c3.partial",
    ];
    left.iter().for_each(|name| drop(place.write(name, "half")));
    let before = contents(&place.path("run"));
    let (notes, code) = verify(&place, "run");
    assert_eq!((notes.len(), code), (4, Some(0)), "{notes:?}");
    place.run("report run").succeeds();
    assert!(contents(&place.path("run")) == before, "commands that only read change nothing");
    place.run("train --threads 1 --resume run").succeeds();
    left.iter().for_each(|name| assert!(!place.path(name).exists(), "{name} is left"));
    assert_eq!(fs::read_dir(place.path("run/checkpoints")).unwrap().count(), 2);
}

/// Resuming a finished run continues nothing, but its files are still checked.
#[test]
fn resuming_a_finished_run_verifies_it() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    place.run("train --resume run").succeeds();
    let best = place.path("run/checkpoints/best/model.safetensors");
    flip(&best, 4000, 2);
    let damaged = ["run: finished, but damaged: run/checkpoints/best/model.safetensors: is changed"];
    place.run("train --resume run").fails(1, &damaged);
}

/// A resumed run does not need the best checkpoint; it only carries it along.
#[test]
fn a_run_with_a_damaged_best_checkpoint_resumes_with_a_warning() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out run")).succeeds();
    flip(&place.path("run/checkpoints/best/model.safetensors"), 4000, 2);
    let resumed = place.run("train --threads 1 --resume run --max-steps 9").succeeds();
    let warning = "warning: run/checkpoints/best/model.safetensors: is changed";
    assert!(resumed.err.contains(warning), "{}", resumed.err);
    flip(&place.path("run/checkpoints/best/model.safetensors"), 4000, 2);
    flip(&place.path("run/checkpoints/last/model.safetensors"), 4000, 2);
    place
        .run("train --resume run")
        .fails(1, &["last/model.safetensors: is changed", "run/checkpoints/best is whole"]);
}
