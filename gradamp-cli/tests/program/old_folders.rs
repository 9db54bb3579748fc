//! Run and sweep folders that an earlier version wrote (`tests/data`) can be resumed, verified, reported and
//! compared.

use std::fs;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::{Workplace, contents, json_lines};

/// The run that is missing from the partial sweep.
const MISSING: &str = "factor-3_seed-2";

/// A temporary folder with the content of the archive.
pub fn unpacked() -> Workplace {
    let place = Workplace::new();
    let archive = include_bytes!("../data/folders-0.1.0.tar.gz");
    tar::Archive::new(GzDecoder::new(&archive[..])).unpack(place.path("")).unwrap();
    place
}

/// Turns the finished sweep into the sweep as it was before its last run.
fn remove_last_run(place: &Workplace) {
    fs::remove_dir_all(place.path("sweep/runs").join(MISSING)).unwrap();
    for table in ["results.jsonl", "results.csv"] {
        fs::copy(place.path(&format!("partial-{table}")), place.path("sweep").join(table)).unwrap();
    }
}

/// The text of a file in a folder.
fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Asserts that `new` holds everything that `old` holds: numbers within `tolerance`, and all other values equal.
/// `new` may have additional keys. Warnings are compared by their number only, because their wording may change.
#[track_caller]
fn assert_holds(new: &Value, old: &Value, tolerance: f64, place: &str) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (key, value) in old {
                let place = format!("{place}.{key}");
                let new = new.get(key).unwrap_or_else(|| panic!("no {place}"));
                match key == "warnings" {
                    true => {
                        assert_eq!(new.as_array().map(Vec::len), value.as_array().map(Vec::len), "{place}")
                    }
                    false => assert_holds(new, value, tolerance, &place),
                }
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len(), "{place}");
            for (index, (new, old)) in new.iter().zip(old).enumerate() {
                assert_holds(new, old, tolerance, &format!("{place}.{index}"));
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= tolerance, "{place}: {a}, was {b}");
        }
        _ => assert_eq!(new, old, "{place}"),
    }
}

#[test]
fn an_old_run_can_be_finished_and_keeps_its_log_lines() {
    let place = unpacked();
    place.run("verify run").succeeds();
    let run = place.path("run");
    let logs = ["metrics.jsonl", "amplification.jsonl", "gradients.jsonl", "evaluations.jsonl"];
    let before = logs.map(|name| text(&run, name));
    let events = contents(&run.join("tensorboard"));
    assert_eq!(events.len(), 1);

    place.run("train --resume run --device cpu --threads 1 --quiet").succeeds();
    for (name, before) in logs.iter().zip(&before) {
        let after = text(&run, name);
        assert!(after.len() > before.len() && after.starts_with(before), "{name}");
    }
    // TensorBoard's file is written again, with the settings after its first two records, which earlier versions did not write, and then
    // the earlier events.
    let (before, after) = (events.into_values().next(), contents(&run.join("tensorboard")));
    assert_eq!(after.len(), 1);
    let (before, after) = (before.unwrap(), after.into_values().next().unwrap());
    // A record has its length, a checksum of the length, the data, and a checksum of the data.
    let end =
        |begin: usize| begin + u64::from_le_bytes(before[begin..][..8].try_into().unwrap()) as usize + 16;
    let (head, earlier) = before.split_at(end(end(0)));
    assert!(after.starts_with(head));
    assert!(after.windows(earlier.len()).any(|part| part == earlier), "earlier events are missing");
    let record: Value = serde_json::from_str(&text(&run, "run.json")).unwrap();
    assert_eq!(record["outcome"], "finished");
    place.run("verify run").succeeds();

    // The first resumed epoch must equal that of the earlier version. In the last one, instruction sets that round
    // differently have led to different numbers.
    let metrics = json_lines(&run.join("metrics.jsonl"));
    let expected = json_lines(&place.path("resumed-metrics.jsonl"));
    assert_eq!(metrics.len(), 4);
    for (line, mut expected) in metrics.into_iter().zip(expected).take(3) {
        let timeless = |key: &String| !key.contains("seconds") && key != "images_per_second";
        expected.as_object_mut().unwrap().retain(|key, _| timeless(key));
        assert_holds(&line, &expected, 1e-4, "metrics");
    }
}

#[test]
fn old_folders_can_be_reported() {
    let place = unpacked();
    for folder in ["run", "sweep"] {
        place.run(&format!("report {folder} --output {folder}.html")).succeeds();
        let page = fs::read_to_string(place.path(&format!("{folder}.html"))).unwrap();
        for part in ["<svg", "Test accuracy", "</html>"] {
            assert!(page.contains(part), "{folder}: {part}");
        }
    }
    let page = fs::read_to_string(place.path("sweep.html")).unwrap();
    for cell in ["baseline", "factor-1.5", "factor-3"] {
        assert!(page.contains(cell), "{cell}");
    }
}

#[test]
fn comparing_an_old_sweep_gives_the_same_numbers() {
    let place = unpacked();
    place.run("verify sweep").succeeds();
    let before = contents(&place.path("sweep"));
    let output = place.run("compare sweep --json").succeeds().out;
    let mut stored: Value = serde_json::from_str(&text(&place.path(""), "compare.json")).unwrap();
    // Earlier versions estimated the number of seeds from the observed difference.
    for cell in stored["cells"].as_array_mut().unwrap() {
        for contrast in ["last", "best"] {
            let contrast = cell.pointer_mut(&format!("/comparison/{contrast}"));
            contrast.and_then(Value::as_object_mut).map(|contrast| contrast.remove("seeds"));
        }
    }
    assert_holds(&serde_json::from_str(&output).unwrap(), &stored, 1e-9, "compare");
    assert!(contents(&place.path("sweep")) == before, "reading a sweep changes nothing in it");
}

#[test]
fn an_unfinished_old_sweep_can_be_finished() {
    let place = unpacked();
    let old = json_lines(&place.path("sweep/results.jsonl"));
    let drawn = text(&place.path("sweep/runs").join(MISSING), "amplification.jsonl");
    remove_last_run(&place);
    place.run("verify sweep").succeeds();
    let pending = json_lines(&place.path("sweep/results.jsonl"));
    assert_eq!(pending.last().unwrap()["status"], "pending");
    let before = contents(&place.path("sweep/runs"));

    let sweep = place.run("sweep study.toml --out sweep").succeeds();
    assert!(sweep.err.contains(MISSING) && !sweep.err.contains("factor-3_seed-1"), "{}", sweep.err);
    for (path, bytes) in before {
        assert!(fs::read(&path).unwrap() == bytes, "{} changed", path.display());
    }
    // The new run draws its layers as the earlier runs did, by the only method of that version.
    let settings = text(&place.path("sweep/runs").join(MISSING), "config.toml");
    assert!(settings.contains("draws = \"positions\""), "{settings}");
    assert_eq!(text(&place.path("sweep/runs").join(MISSING), "amplification.jsonl"), drawn);
    let results = json_lines(&place.path("sweep/results.jsonl"));
    assert_eq!(results.len(), old.len());
    for (result, old) in results.iter().zip(&old) {
        for key in ["run", "cell", "role", "axes", "seed", "status", "error", "epochs"] {
            assert_eq!(result[key], old[key], "{}: {key}", old["run"]);
        }
    }
    place.run("verify sweep").succeeds();
    place.run("compare sweep").succeeds();
}
