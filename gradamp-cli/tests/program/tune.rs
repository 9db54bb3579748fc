//! `gradamp tune`, and runs that use its measurements.

use std::fs;

use serde_json::{Value, json};

use crate::Workplace;
use crate::devices::{gpu, small_on};

#[test]
fn measurements_are_stored_and_used() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    let run = format!("{} --tuned --max-steps 2 --out run", small_on(&gpu));
    place.run(&run).fails(2, &["train.tuned", "nothing was measured", "gradamp tune --device gpu:"]);
    assert!(!place.path("run").exists());
    let trained = |name: &str, flags: &str| {
        place.run(&format!("{} {flags} --max-steps 2 --out {name}", small_on(&gpu))).succeeds();
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
    // The network has eight convolutions. The first one has no input gradient, and convolutions with equal shapes are
    // measured once.
    assert!(of_batch(4) > 8 && of_batch(4) == of_batch(8), "{kept}");

    // Pretends that Winograd's algorithm was the fastest for the run's second stage. The fixed rules never choose it
    // for so few channels.
    let stage = json!({
        "pass": "forward", "x": [16, 16, 16, 4], "w": [3, 3, 4, 4], "stride": 1, "padding": 1,
        "way": {"winograd": {"shared": [4, 4]}}, "seconds": 1.0, "fixed_seconds": 2.0,
    });
    kept["convolutions"] = json!([stage]);
    fs::write(file.path(), kept.to_string()).unwrap();
    assert!(trained("after", "") == before, "an untuned run does not depend on the measurements");
    assert!(trained("run", "--tuned") != before, "a tuned run uses the measurements");
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
