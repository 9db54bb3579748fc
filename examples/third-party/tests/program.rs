//! Runs this crate's program as a user does. The settings name the policy, the models and the data set of this crate,
//! and the runs are resumed, swept and reported.

#![allow(clippy::unwrap_used)] // a failed preparation may end a test

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the program in `folder`, asserts that its exit code is `code`, and returns its stdout and stderr.
fn program(folder: &Path, code: i32, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_third-party"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("GRADAMP_DATA")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{arguments:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

fn file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    path.to_str().unwrap().to_owned()
}

/// The accuracy that `eval --json` prints.
fn accuracy(folder: &Path, run: &str) -> f64 {
    let (json, _) = program(folder, 0, &["eval", "--run", run, "--json", "--device", "cpu"]);
    serde_json::from_str::<serde_json::Value>(&json).unwrap()["accuracy"].as_f64().unwrap()
}

#[test]
fn a_run_with_policy_model_and_data_of_this_crate_trains_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (here, config) = (folder.path(), file("stripes.toml"));
    let train = ["train", "--config", &config, "--device", "cpu", "--threads", "1"];
    let (_, stderr) = program(here, 0, &[&train[..], &["--out", "whole"]].concat());
    assert!(stderr.contains("data: stripes, 256 + 64 images"), "{stderr}");
    assert!(stderr.contains("leaky of width 8 with 4 classes"), "{stderr}");
    let draws = std::fs::read_to_string(here.join("whole/amplification.jsonl")).unwrap();
    assert!(draws.contains("layers."), "the policy must amplify layers of the model: {draws}");

    let (_, stderr) = program(here, 0, &[&train[..], &["--out", "half", "--max-steps", "13"]].concat());
    assert!(stderr.contains("continue with: third-party train --resume half"), "{stderr}");
    program(here, 0, &["train", "--resume", "half", "--device", "cpu"]);
    let model = |run: &str| std::fs::read(here.join(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert_eq!(model("whole"), model("half"));
    assert!(accuracy(here, "whole") > 0.5, "the model must learn to distinguish four directions");
    let (frame, _) = program(here, 0, &["watch", "whole", "--once"]);
    assert!(frame.starts_with("third-party  whole"), "{frame}");
    program(here, 0, &["report", "whole", "-o", "page.html"]);
    let page = std::fs::read_to_string(here.join("page.html")).unwrap();
    assert!(page.contains("leaky") && page.contains("third-party train --config"), "{page}");
    assert!(page.contains("third-party report") && page.contains("Made by third-party (gradamp "), "{page}");
}

/// Writes `count` images of 20x16 pixels of each of two classes: bars that lie, and bars that stand.
fn write_images(root: &Path, count: usize) {
    for (class, lies) in [("lying", true), ("standing", false)] {
        let folder = root.join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..count {
            let bar = move |x: u32, y: u32| (if lies { y } else { x } + i as u32) % 8 < 3;
            let shade = |x, y| if bar(x, y) { 200 + (i % 50) as u8 } else { 30 };
            let image = image::RgbImage::from_fn(20, 16, |x, y| image::Rgb([shade(x, y), 90, shade(x, y)]));
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn a_folder_of_images_trains_a_wide_network_with_gelu_and_adamw() {
    let folder = tempfile::tempdir().unwrap();
    let (here, config) = (folder.path(), file("birds.toml"));
    write_images(&here.join("bars/train"), 60);
    write_images(&here.join("bars/test"), 8);
    let train = ["train", "--config", &config, "--data", "bars", "--device", "cpu", "--threads", "1"];
    let (_, stderr) = program(here, 0, &[&train[..], &["--out", "whole"]].concat());
    assert!(stderr.contains("wide-resnet10-gelu of width 8 with 2 classes"), "{stderr}");
    program(here, 0, &[&train[..], &["--out", "half", "--max-steps", "11"]].concat());
    program(here, 0, &["train", "--resume", "half", "--device", "cpu"]);
    for file in ["model", "ema", "exp_avg", "exp_avg_sq"] {
        let read = |run: &str| {
            std::fs::read(here.join(run).join(format!("checkpoints/last/{file}.safetensors"))).unwrap()
        };
        assert!(read("whole") == read("half"), "{file} differs");
    }
    assert!(accuracy(here, "whole") > 0.9, "the model must learn to tell the bars apart");
}

/// The step and loss of each line of `metrics.jsonl`. Lines also hold times, which differ from run to run.
fn losses(folder: &Path, run: &str) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?))).collect()
}

#[test]
fn a_model_written_as_in_pytorch_computes_the_same_bits_as_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["vgg11", "plain-vgg11"] {
        let data = ["--data", "shapes", "--set", "data.train_limit=64", "--set", "data.test_limit=16"];
        let run = [
            "train",
            "--model",
            model,
            "--width",
            "4",
            "--batch-size",
            "16",
            "--epochs",
            "2",
            "--out",
            model,
        ];
        let log = ["--set", "train.log_interval=1", "--device", "cpu"];
        program(folder.path(), 0, &[&run[..], &data, &log].concat());
    }
    let found = losses(folder.path(), "plain-vgg11");
    assert!(found.len() > 4, "{found:?}");
    assert_eq!(found, losses(folder.path(), "vgg11"));
}

#[test]
fn a_sweep_over_the_policy_of_this_crate_ends_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let study = file("stripes-study.toml");
    program(folder.path(), 0, &["sweep", &study, "--device", "cpu", "--out", "sweep"]);
    let (version, _) = program(folder.path(), 0, &["--version"]);
    let version = version.trim_end().to_owned();
    assert!(version.starts_with("third-party (gradamp ") && version.ends_with(')'), "{version}");
    let (table, _) = program(folder.path(), 0, &["compare", "sweep"]);
    assert!(table.contains("factor-1.5") && table.contains("factor-2"), "{table}");
    program(folder.path(), 0, &["report", "sweep", "-o", "page.html"]);
    assert!(std::fs::read_to_string(folder.path().join("page.html")).unwrap().contains("factor-1.5"));
}

#[test]
fn names_of_this_crate_are_listed_and_suggested_for_misspelt_names() {
    let folder = tempfile::tempdir().unwrap();
    let config = file("stripes.toml");
    let (help, _) = program(folder.path(), 0, &["train", "--help"]);
    let (shown, _) = program(folder.path(), 0, &["config", "show", "--config", &config]);
    for names in
        ["(model.name): leaky, plain-vgg11", "(amplification.policy): faded", "(data.source): stripes"]
    {
        assert!(help.contains(names), "{help}");
        assert!(shown.contains(names), "{shown}");
    }
    assert!(shown.contains("share = 0.8"), "{shown}");
    for (set, found) in [
        ("model.name=leeky", "did you mean leaky?"),
        ("amplification.policy=fadet", "did you mean \"faded\"?"),
        ("data.source=stripe", "did you mean \"stripes\"?"),
        ("amplification.options.shade=1", "amplification.options.shade"),
    ] {
        let (_, stderr) =
            program(folder.path(), 2, &["train", "--config", &config, "--device", "cpu", "--set", set]);
        assert!(stderr.contains(found), "{stderr}");
    }
}
