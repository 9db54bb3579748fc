//! GPUs that fail: a Vulkan layer below the program loses the device, runs out of memory or computes wrongly.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::devices::{gpu, record, small_on};
use crate::{Report, Workplace, contents};

/// The compiled layer.
struct FaultyDriver<'a> {
    place: &'a Workplace,
    /// The adapter whose driver is made to fail.
    gpu: String,
}

impl<'a> FaultyDriver<'a> {
    /// Returns `None`, with a note on stderr, if no layer can be loaded between the program and a driver.
    fn new(place: &'a Workplace) -> Option<Self> {
        let gpu = gpu(place)?;
        let found = place.run("devices --json").succeeds().out;
        let list: serde_json::Value = serde_json::from_str(&found).unwrap();
        let adapter =
            list["adapters"].as_array().unwrap().iter().find(|adapter| adapter["device"] == gpu.as_str());
        if !cfg!(target_os = "linux") || adapter.is_none_or(|adapter| adapter["back_end"] != "Vulkan") {
            let _ = writeln!(std::io::stderr(), "skipped: {gpu} is not driven by Vulkan on Linux");
            return None;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/faults/driver.rs");
        let rustc = Command::new("rustc")
            .args(["--edition", "2024", "-O", "-D", "warnings", "--crate-type", "cdylib", "-o"])
            .arg(place.path("libfaulty.so"))
            .arg(source)
            .output()
            .unwrap();
        assert!(rustc.status.success(), "{}", String::from_utf8_lossy(&rustc.stderr));
        place.write(
            "layers/faulty.json",
            r#"{"file_format_version": "1.1.2", "layer": {"name": "VK_LAYER_GRADAMP_faulty", "type": "GLOBAL",
                "library_path": "../libfaulty.so", "api_version": "1.3.0", "implementation_version": "1",
                "description": "makes a driver fail"}}"#,
        );
        Some(Self { place, gpu })
    }

    /// Runs the program on the GPU with the given fault.
    fn run(&self, fault: &str, arguments: &str) -> Report {
        let mut command = self.place.command(arguments);
        command
            .env("VK_LAYER_PATH", self.place.path("layers"))
            .env("VK_INSTANCE_LAYERS", "VK_LAYER_GRADAMP_faulty");
        Report::new(
            &format!("{arguments} ({fault})"),
            command.env("GRADAMP_TEST_FAULT", fault).output().unwrap(),
        )
    }
}

/// The device is lost several times, at steps and while checkpoints are written. The run must end in the same bits as
/// a run without faults.
#[test]
fn a_run_whose_device_is_lost_resumes_to_the_same_bits() {
    let place = Workplace::new();
    let Some(driver) = FaultyDriver::new(&place) else { return };
    place.run(&format!("{} --out whole", small_on(&driver.gpu))).succeeds();
    driver
        .run("lost 1", &format!("{} --out early", small_on(&driver.gpu)))
        .fails(1, &["the device was lost"]);
    place.run(&format!("{} --max-steps 3 --out run", small_on(&driver.gpu))).succeeds();
    driver.run("lost 1", "train --resume run").fails(1, &["the device was lost"]); // before the first step
    for submissions in [40, 41, 42, 43, 44, 60, 80] {
        let expected = [
            "the device was lost",
            "run/checkpoints/last",
            "to continue on the CPU: gradamp train --resume run --device cpu",
        ];
        driver.run(&format!("lost {submissions}"), "train --resume run").fails(1, &expected);
    }
    assert_eq!(record(&place, "run")["outcome"], "failed");
    assert!(record(&place, "run")["error"].as_str().unwrap().contains("the device was lost"));
    copy(&place.path("run"), &place.path("elsewhere"));
    place.run("train --resume run").succeeds();
    let read = |run: &str, file: &str| fs::read(place.path(run).join("checkpoints/last").join(file)).unwrap();
    for file in ["model.safetensors", "momentum.safetensors"] {
        assert!(read("whole", file) == read("run", file), "{file} differs");
    }
    place.run("train --resume elsewhere --device cpu").succeeds();
    let sessions = record(&place, "elsewhere")["resumed"].as_array().unwrap().clone();
    assert!(sessions.last().unwrap()["device"].as_str().unwrap().starts_with("cpu"), "{sessions:?}");
}

#[test]
fn a_driver_that_computes_wrongly_is_detected_before_a_run_starts() {
    let place = Workplace::new();
    let Some(driver) = FaultyDriver::new(&place) else { return };
    driver
        .run("wrong", &format!("{} --out new", small_on(&driver.gpu)))
        .fails(1, &["computes wrongly", "devices --check"]);
    assert!(!place.path("new").exists(), "a refused command creates no folder");
    place.run(&format!("{} --max-steps 8 --out run", small_on(&driver.gpu))).succeeds();
    let whole = contents(&place.path("run/checkpoints"));
    driver.run("wrong", "train --resume run").fails(1, &["computes wrongly", "is off by"]);
    assert!(contents(&place.path("run/checkpoints")) == whole, "the last checkpoint is unchanged");
    // The check that users of an unusual GPU run reports all wrong kernels, not only the first one.
    let report = driver.run("wrong", &format!("devices --check {} --steps 1", driver.gpu)).ends_with(1);
    assert!(report.out.contains("conv2d"), "{}", report.out);
    place.run("train --resume run").succeeds();
}

/// The batch is large because small buffers share one allocation of the device.
#[test]
fn running_out_of_device_memory_is_reported_at_any_allocation() {
    let place = Workplace::new();
    let Some(driver) = FaultyDriver::new(&place) else { return };
    for allocations in 1..=6 {
        let run = format!(
            "train --device {} --model vgg11 --width 64 --batch-size 256 --epochs 3 --data shapes --max-steps 1 \
             --set data.shapes.train=256 --set data.shapes.test=1 --out run{allocations}",
            driver.gpu
        );
        let report = driver.run(&format!("memory {allocations}"), &run);
        if report.code == Some(0) && allocations > 3 {
            break; // this driver makes fewer, larger allocations
        }
        let report = report.ends_with(1);
        let is_reported =
            ["out of memory", "Not enough memory left"].iter().any(|words| report.err.contains(words));
        assert!(is_reported && !report.err.contains("a bug in gradamp"), "{allocations}: {}", report.err);
    }
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
