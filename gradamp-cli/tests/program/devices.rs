//! Devices are listed, named, found too small, and changed within a run. Tests that need a graphics adapter report
//! that they are skipped if there is none.

use std::fs;
use std::io::Write;

use serde_json::Value;

use crate::{SMALL, Workplace, contents};

/// The value of `--device` for the tests: the adapter in `GRADAMP_TEST_ADAPTER`, or the best GPU, or the software
/// rasteriser.
pub fn gpu(place: &Workplace) -> Option<String> {
    let list: Value = serde_json::from_str(&place.run("devices --json").succeeds().out).unwrap();
    let found = match (std::env::var("GRADAMP_TEST_ADAPTER"), list["auto"].as_str().unwrap()) {
        (Ok(wanted), _) => Some(format!("gpu:{wanted}")),
        (Err(_), "cpu") => list["adapters"][0]["device"].as_str().map(str::to_owned),
        (Err(_), best) => Some(best.to_owned()),
    };
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no graphics adapter"); // not captured by libtest
    }
    found
}

/// The arguments of the small run, on the given device.
pub fn small_on(device: &str) -> String {
    SMALL.replace("--device cpu", &format!("--device {device}"))
}

pub fn record(place: &Workplace, run: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(place.path(run).join("run.json")).unwrap()).unwrap()
}

#[test]
fn adapters_are_listed_with_their_abilities() {
    let place = Workplace::new();
    let list: Value = serde_json::from_str(&place.run("devices --json").succeeds().out).unwrap();
    assert!(list["cpu"].as_str().unwrap().starts_with("cpu"), "{list}");
    let text = place.run("devices").succeeds().out;
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for adapter in list["adapters"].as_array().unwrap() {
        for key in ["device", "name", "vendor", "back_end", "kind"] {
            let words = adapter[key].as_str().unwrap();
            assert!(text.contains(words.split(' ').next().unwrap()), "{key}: {text}");
        }
        let driver = format!("driver: {}", adapter["driver"].as_str().unwrap());
        assert!(text.contains(driver.split_inclusive(' ').take(2).collect::<String>().trim()), "{text}");
        assert!(adapter["limits"]["tensor_bytes"].as_u64().unwrap() >= 1 << 20, "{adapter}");
        if adapter["back_end"] == "Vulkan" {
            assert!(adapter["limits"]["memory_bytes"].as_u64().unwrap() >= 1 << 26, "{adapter}");
            assert!(text.contains("B of memory, workgroups of"), "{text}");
        }
        let invocations = adapter["limits"]["workgroup_invocations"].as_u64().unwrap();
        assert!(text.contains(&format!("workgroups of {invocations} invocations with ")), "{text}");
        for (path, words) in
            [("f16", "16-bit floats"), ("subgroups", "subgroups of "), ("timestamps", "timestamps")]
        {
            let has = adapter["fast_paths"][path].as_bool().unwrap();
            assert!(text.contains(words) || !has, "{path}: {text}");
        }
        let is_auto = adapter["device"] == list["auto"];
        assert!(
            !(is_auto && adapter["software"] == true),
            "auto must not choose a software rasteriser: {list}"
        );
    }
}

#[test]
fn without_an_adapter_auto_means_the_cpu() {
    let place = Workplace::new();
    let without = |arguments: &str| {
        // The Vulkan loader reads these variables instead of the system's list of drivers.
        let mut command = place.command(arguments);
        command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere");
        crate::Report::new(arguments, command.output().unwrap())
    };
    if !cfg!(target_os = "linux") {
        return; // other systems find their drivers without these variables
    }
    let report = without("devices").succeeds();
    assert!(report.out.contains("No graphics adapter that can compute was found"), "{}", report.out);
    without(&format!("{} --max-steps 1 --out run", small_on("auto"))).succeeds();
    assert!(record(&place, "run")["device"].as_str().unwrap().starts_with("cpu"));
    without(&small_on("gpu")).fails(2, &["--device", "train.device", "expected a GPU, found no adapter"]);
}

#[test]
fn errors_about_missing_devices_list_the_existing_ones() {
    let place = Workplace::new();
    let first = gpu(&place);
    let list = place.run("devices --json").succeeds().out;
    let list: Value = serde_json::from_str(&list).unwrap();
    let existing = list["adapters"][0]["name"].as_str().unwrap_or("none that can compute");
    place.run(&small_on("gpu:99")).fails(2, &["--device: train.device", "an adapter of number 99", existing]);
    place
        .run(&small_on("gpu:nonsense"))
        .fails(2, &["--device: train.device", "contains \"nonsense\"", existing]);
    place.run(&small_on("gup")).fails(2, &["--device: train.device", "found \"gup\"", "\"gpu:NUMBER\""]);
    place.run("train --set train.device=gpu:99").fails(2, &["--set: train.device", "number 99"]);
    place.run("bench step --device gpu:99").fails(2, &["--device", "number 99", existing]);
    place.run("bench step --device gup").fails(2, &["--device", "found \"gup\"", "gpu:NAME"]);
    place.write(
        "my.toml",
        "[train]\ndevice = \"gpu:nonsense\"\n[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 1\n",
    );
    place.run("train --config my.toml").fails(2, &["my.toml:2: train.device", "contains \"nonsense\""]);
    if first.is_some() && list["auto"] == "cpu" {
        place
            .run(&small_on("gpu"))
            .fails(2, &["found only software rasterisers", existing, "`cpu` is faster"]);
    }
    for wrong in ["lots", "4", "-1GiB"] {
        place.run(&format!("{SMALL} --gpu-memory={wrong}")).fails(2, &["--gpu-memory", wrong, "\"4GiB\""]);
        place.run(&format!("bench step --gpu-memory={wrong}")).fails(2, &["--gpu-memory", wrong, "\"4GiB\""]);
    }
    place.run(&format!("{SMALL} --precision f64")).fails(2, &["--precision: train.precision", "\"mixed\""]);
    assert!(!place.path("runs").exists(), "a refused command creates no folder");
}

#[test]
fn a_device_is_checked_against_the_laws_and_the_cpu() {
    let place = Workplace::new();
    let text = place.run("devices --check cpu --steps 2").succeeds().out;
    for part in ["hold", "layer4.1.bn2  ", "features.0 ", "in 2 steps", "computes correctly"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    place.run("devices --check gpu:99").fails(2, &["--check", "number 99"]);
    place.run("devices --steps 3").ends_with(2);
    let Some(gpu) = gpu(&place) else { return };
    let report = place.run(&format!("devices --check {gpu} --steps 3 --json")).succeeds();
    let found: Value = serde_json::from_str(&report.out).unwrap();
    assert!(found["laws"]["held"].as_u64().unwrap() > 50, "{found}");
    assert_eq!(
        (found["laws"]["broken"].as_array().unwrap().len(), found["faults"].as_array().unwrap().len()),
        (0, 0)
    );
    let models = found["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    for model in models {
        assert_eq!(model["losses"].as_array().unwrap().len(), 3);
        for layer in model["layers"].as_array().unwrap() {
            assert!(layer["output"].as_f64().unwrap() < 1e-4 && layer["gradient"].is_f64(), "{layer}");
        }
    }
}

#[test]
fn a_run_continues_on_another_device_and_records_it() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 4 --out run")).succeeds();
    // The record treats a different number of threads as a different device, so this works on every machine.
    place.run("train --resume run --threads 2 --max-steps 8").succeeds();
    let gpu = gpu(&place);
    if let Some(gpu) = &gpu {
        place.run(&format!("train --resume run --device {gpu} --gpu-memory 1GiB --max-steps 12")).succeeds();
    }
    place.run("train --resume run --device cpu").succeeds();
    let record = record(&place, "run");
    assert_eq!(record["outcome"], "finished");
    assert!(record["device"].as_str().unwrap().contains("1 threads"), "{record}");
    let sessions = record["resumed"].as_array().unwrap();
    let device = |session: usize| sessions[session]["device"].as_str().unwrap();
    assert!(device(0).starts_with("cpu") && device(0).contains("2 threads"), "{}", device(0));
    if gpu.is_some() {
        assert!(!device(1).starts_with("cpu"), "{}", device(1));
    }
    assert!(device(sessions.len() - 1).starts_with("cpu"));
    place.run("train --resume run --precision mixed").fails(2, &["--precision", "cannot be changed"]);
}

/// Continues from the same checkpoint on the CPU and on a GPU.
#[test]
fn a_gpu_continues_a_run_as_the_cpu_would() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    place.run(&format!("{SMALL} --max-steps 6 --out run")).succeeds();
    let losses = |name: &str, device: &str| {
        let copy = place.path(name);
        for (path, bytes) in contents(&place.path("run")) {
            let to = copy.join(path.strip_prefix(place.path("run")).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
        place.run(&format!("train --resume {} --device {device} --max-steps 8", copy.display())).succeeds();
        let lines = crate::json_lines(&copy.join("metrics.jsonl"));
        lines
            .iter()
            .filter(|line| line["kind"] == "step")
            .map(|line| line["loss"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let (cpu, gpu) = (losses("a", "cpu"), losses("b", &gpu));
    assert_eq!((cpu.len(), &cpu[..3]), (4, &gpu[..3]), "the steps before the resume are the same");
    assert!((cpu[3] / gpu[3] - 1.0).abs() < 1e-3, "{cpu:?}\n{gpu:?}");
}

#[test]
fn a_gpu_out_of_memory_names_the_budget_and_keeps_the_last_checkpoint() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    place.run(&format!("{} --max-steps 8 --out run", small_on(&gpu))).succeeds();
    let whole = contents(&place.path("run/checkpoints"));
    place.run("train --resume run --gpu-memory 1MiB").fails(
        1,
        &[
            "out of memory",
            "the budget is 1.0 MiB",
            "run/checkpoints/last",
            "train --resume run --device cpu",
        ],
    );
    assert!(contents(&place.path("run/checkpoints")) == whole, "the last checkpoint is unchanged");
    assert_eq!(record(&place, "run")["outcome"], "failed");
    place.run("train --resume run --device cpu").succeeds();
    let bench = format!("bench step --model vgg11 --width 16 --batch 64 --gpu-memory 1MiB --device {gpu}");
    place.run(&bench).fails(1, &["out of memory", "the budget is 1.0 MiB"]);
}

/// The batch has one image too many for its first activations to fit into a tensor.
#[test]
fn a_tensor_beyond_the_adapters_limit_is_an_error_that_leaves_a_checkpoint() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    let list: Value = serde_json::from_str(&place.run("devices --json").succeeds().out).unwrap();
    let adapters = list["adapters"].as_array().unwrap();
    let Some(adapter) = adapters.iter().find(|adapter| adapter["device"] == gpu.as_str()) else { return };
    let batch = adapter["limits"]["tensor_bytes"].as_u64().unwrap() / (4 * 32 * 32 * 64) + 1;
    let run = format!(
        "train --device {gpu} --model vgg11 --width 64 --batch-size {batch} --epochs 3 --data shapes --out run \
         --set data.shapes.train={batch} --set data.shapes.test=1"
    );
    place.run(&run).fails(
        1,
        &["a tensor of", "this adapter's limit is", "a smaller batch fits", "run/checkpoints/last"],
    );
    assert_eq!(record(&place, "run")["outcome"], "failed");
    assert!(place.path("run/checkpoints/last/state.json").exists());
}

#[test]
fn models_are_evaluated_and_timed_on_the_named_device() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    place.run(&format!("{SMALL} --max-steps 6 --out run")).succeeds();
    let loss = |device: &str| {
        let report = place.run(&format!("eval --run run --json --device {device}")).succeeds();
        serde_json::from_str::<Value>(&report.out).unwrap()["loss"].as_f64().unwrap()
    };
    let (cpu, on_gpu) = (loss("cpu"), loss(&gpu));
    assert!((cpu / on_gpu - 1.0).abs() < 1e-4, "{cpu}, {on_gpu}");
    let arguments = "--model vgg11 --width 2 --batch 4 --steps 2 --warmup 1 --json --device";
    let timed = |device: &str| {
        let report = place.run(&format!("bench step {arguments} {device}")).succeeds();
        serde_json::from_str::<Value>(&report.out).unwrap()
    };
    assert!(timed("cpu")["device"].as_str().unwrap().starts_with("cpu"));
    // A part of an adapter's name is enough, even if the adapter is a software rasteriser.
    let list: Value = serde_json::from_str(&place.run("devices --json").succeeds().out).unwrap();
    let name = list["adapters"][0]["name"].as_str().unwrap();
    let line = timed(&format!("gpu:{}", name.split(' ').next().unwrap().to_uppercase()));
    assert!(line["device"].as_str().unwrap().starts_with(name), "{line}");
    assert!(!line["device"].as_str().unwrap().starts_with("cpu"), "{line}");
    assert!(line["seconds_per_step"].as_f64().unwrap() > 0.0 && line["loss"].as_f64().unwrap().is_finite());
}

#[test]
fn mixed_precision_scales_the_loss_logs_the_factor_and_continues_on_the_cpu() {
    let place = Workplace::new();
    let Some(gpu) = gpu(&place) else { return };
    let report =
        place.run(&format!("{} --precision mixed --max-steps 8 --out run", small_on(&gpu))).succeeds();
    let device = record(&place, "run")["device"].as_str().unwrap().to_owned();
    let has_f16 = !report.err.contains("this device has no mixed precision");
    assert_eq!(device.contains("mixed precision"), has_f16, "{device}");
    // A device that multiplies in f32, or in bf16, continues the run, with loss scaling.
    let report = place.run("train --resume run --device cpu").succeeds();
    let messages = ["this device has no mixed precision", "factors are rounded to bf16"];
    assert!(messages.iter().any(|message| report.err.contains(message)), "{}", report.err);
    let lines = crate::json_lines(&place.path("run/metrics.jsonl"));
    for line in &lines {
        if line["kind"] == "step" {
            assert!(line["loss_scale"].as_f64().unwrap() >= 1.0 && line["skipped"].is_boolean(), "{line}");
            assert!(line["loss"].as_f64().unwrap().is_finite(), "{line}");
        } else {
            assert!(line["skipped_steps"].is_u64(), "{line}");
        }
    }
    assert_eq!(record(&place, "run")["outcome"], "finished");
    place.run("eval --run run --json --device cpu").succeeds();
}
