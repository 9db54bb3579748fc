//! Event files of whole runs.

use std::collections::HashSet;

use super::event::tests::{Field, fields};
use super::record::tests::events;
use super::*;

/// A run whose epochs have two steps and a site.
fn write(root: &Path, epochs: u64, resumed: usize) {
    let session = serde_json::json!({"start": "", "step": 0, "version": "0"});
    let record = serde_json::json!({
        "version": "0", "model": "m", "parameters": 1, "seed": 0, "device": "cpu", "dataset": "shapes",
        "dataset_checksum": "", "start": "2026-03-01T12:00:00Z", "outcome": "running",
        "resumed": vec![session; resumed], "expected_gains": [],
    });
    let (mut metrics, mut gradients) = (String::new(), String::new());
    for epoch in 0..epochs {
        for step in [2 * epoch, 2 * epoch + 1] {
            let line = serde_json::json!({
                "kind": "step", "epoch": epoch, "step": step, "phase": 0, "lr": 0.1, "amplified": true,
                "amplified_sites": 3, "loss": 1.0 / (step + 1) as f64, "accuracy": 0.5, "gradient_norm": 2.0,
                "skipped": false, "images_per_second": 10.0, "seconds": 1.0,
            });
            metrics += &format!("{line}\n");
        }
        let line = serde_json::json!({
            "kind": "epoch", "epoch": epoch, "step": 2 * epoch + 2, "phase": 0, "lr": 0.1, "amplified": true,
            "train_loss": 1.0, "train_accuracy": 0.5, "test_accuracy": 0.25, "best": true, "images_per_second": 10.0,
            "seconds": 2.0, "total_seconds": 3.0 * (epoch + 1) as f64,
        });
        metrics += &format!("{line}\n");
        let line = serde_json::json!({
            "epoch": epoch, "step": 2 * epoch + 2, "site": "bn1", "steps": 1, "norm_before": 1.0, "norm_after": 2.0,
            "mean_magnitude_before": 0.1, "mean_magnitude_after": 0.2, "zeros": 0.0,
            "update_ratio": 0.125,
        });
        gradients += &format!("{line}\n");
    }
    for (name, text) in [
        ("config.toml", "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 4\n"),
        ("run.json", &record.to_string()),
        ("metrics.jsonl", &metrics),
        ("amplification.jsonl", ""),
        ("gradients.jsonl", &gradients),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
}

/// The only event file of a run.
fn file(root: &Path) -> Vec<u8> {
    let files = event_files(&root.join(FOLDER)).unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(&files[0].1).unwrap()
}

/// Every scalar: its tag, step and value.
fn scalars_of(file: &[u8]) -> Vec<(String, u64, f32)> {
    let mut scalars = Vec::new();
    for event in events(file).unwrap() {
        let [Field::Double(1, time), Field::Number(2, step), Field::Bytes(what, message)] = fields(event)[..]
        else {
            panic!("{:?}", fields(event));
        };
        assert!(time >= 1_772_366_400.0, "{time}");
        if what != 5 {
            continue;
        }
        for value in fields(message) {
            let Field::Bytes(1, value) = value else { panic!("{value:?}") };
            let (tag, number) = match fields(value)[..] {
                [Field::Bytes(1, tag), Field::Float(2, number)] => (tag, number),
                [Field::Bytes(1, _), Field::Bytes(8, _), Field::Bytes(9, _)] => continue, // a text or hyperparameters
                _ => panic!("{value:?}"),
            };
            scalars.push((String::from_utf8(tag.to_vec()).unwrap(), step, number));
        }
    }
    scalars
}

#[test]
fn a_file_that_grew_with_its_run_has_the_bytes_of_one_made_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, 0, 0);
    let mut growing = EventFile::create(root).unwrap();
    for epochs in 0..4 {
        write(root, epochs, 0);
        growing.update().unwrap();
        growing.update().unwrap(); // nothing is new
    }
    let grown = file(root);
    drop(growing);
    EventFile::create(root).unwrap().update().unwrap();
    assert!(grown == file(root));
    let scalars = scalars_of(&grown);
    for (tag, step, value) in [
        ("step/loss", 2, 0.5),
        ("accuracy/test", 6, 0.25),
        ("gradient_norm_after/bn1", 4, 2.0),
        ("update_ratio/bn1", 2, 0.125),
        ("step/amplified_sites", 1, 3.0),
    ] {
        assert!(scalars.contains(&(tag.into(), step, value)), "{tag}: {scalars:?}");
    }
}

#[test]
fn a_file_begins_with_the_settings_that_decide_about_results() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, 0);
    EventFile::create(folder.path()).unwrap().update().unwrap();
    let bytes = file(folder.path());
    let head = events(&bytes).unwrap();
    let has = |event: &[u8], text: &str| event.windows(text.len()).any(|window| window == text.as_bytes());
    for name in ["_hparams_/session_start_info", "model.width", "strategy.lr", "data.source"] {
        assert!(has(head[2], name), "{name}");
    }
    assert!(!has(head[2], "train.threads"), "a setting that changes no result is no hyperparameter");
    assert!(has(head[3], "configuration") && has(head[3], "    [[strategy.phase]]\n    epochs = 4"));
}

#[test]
fn no_step_is_there_twice_after_a_run_went_on_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, 3, 0);
    EventWriter::begin(root, |_| ()).unwrap();
    let before = event_files(&root.join(FOLDER)).unwrap()[0].1.clone();
    let foreign = root.join(FOLDER).join("events.out.tfevents.1.host");
    fs::write(&foreign, "of somebody else").unwrap();
    // Killed in the third epoch, and resumed at the end of the second.
    write(root, 2, 1);
    let mut writer = EventWriter::begin(root, |_| ()).unwrap();
    write(root, 4, 1);
    writer.update();
    let scalars = scalars_of(&file(root));
    let distinct: HashSet<(&str, u64)> = scalars.iter().map(|(tag, step, _)| (tag.as_str(), *step)).collect();
    assert_eq!(distinct.len(), scalars.len());
    assert!(distinct.contains(&("loss/train", 8)));
    let after = event_files(&root.join(FOLDER)).unwrap()[0].1.clone();
    assert!(after > before, "TensorBoard goes on to later names: {before:?}, {after:?}");
    assert!(foreign.exists(), "only what is ours is removed");
}

#[test]
fn a_writer_that_fails_lets_the_run_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, 1, 0);
    let mut writer = EventWriter::begin(root, |_| ()).unwrap();
    fs::remove_file(root.join("config.toml")).unwrap();
    assert_eq!(writer.update(), Control::Continue);
    assert!(writer.file.is_none());
    assert_eq!(writer.update(), Control::Continue);
}
