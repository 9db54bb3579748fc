//! `gradamp tune`, and what uses it.

use std::fs;

use serde_json::{Value, json};

use crate::Workplace;
use crate::devices::{gpu, on};

#[test]
fn what_was_measured_is_kept_and_used() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    let run = format!("{} --tuned --max-steps 2 --out run", on(&gpu));
    place.run(&run).fails(2, &["train.tuned", "nothing was measured", "gradamp tune --device gpu:"]);
    assert!(!place.path("run").exists());
    let trained = |name: &str, flags: &str| {
        place.run(&format!("{} {flags} --max-steps 2 --out {name}", on(&gpu))).succeeds();
        fs::read(place.path(name).join("checkpoints/last/model.safetensors")).unwrap()
    };
    let before = trained("before", "");

    let tune = |batch: usize| format!("tune --device {gpu} --model vgg11 --width 2 --batch {batch}");
    let report = place.run(&tune(4)).succeeds();
    assert!(report.out.contains("weight gradient 3x3/1 [4, 32, 32, 3] to 2: "), "{}", report.out);
    place.run(&tune(8)).succeeds();
    let files: Vec<_> = fs::read_dir(place.path("cache")).unwrap().collect();
    let [Ok(file)] = &files[..] else { panic!("{files:?}") };
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
    let convolutions = kept["convolutions"].as_array().unwrap();
    let of_batch = |batch: u64| convolutions.iter().filter(|tuned| tuned["x"][0] == batch).count();
    // Eight convolutions, the first of them without an input gradient; those of equal shapes are one.
    assert!(of_batch(4) > 8 && of_batch(4) == of_batch(8), "{kept}");

    // As if Winograd's way, which no fixed choice takes for so few channels, had been the fastest for the run's second stage.
    let stage = json!({
        "pass": "forward", "x": [16, 16, 16, 4], "w": [3, 3, 4, 4], "stride": 1, "padding": 1,
        "way": {"winograd": {"shared": [4, 4]}}, "seconds": 1.0, "fixed_seconds": 2.0,
    });
    kept["convolutions"] = json!([stage]);
    fs::write(file.path(), kept.to_string()).unwrap();
    assert!(trained("after", "") == before, "an untuned run is the same as ever");
    assert!(trained("run", "--tuned") != before, "what was measured is used");
    fs::write(file.path(), "{").unwrap();
    let again = run.replace("--out run", "--out again");
    place.run(&again).fails(1, &[file.file_name().to_str().unwrap()]);
}

#[test]
fn the_cpu_has_nothing_to_tune() {
    Workplace::new()
        .run("tune --device cpu --model vgg11")
        .fails(2, &["--device", "expected a GPU, found the CPU"]);
}
