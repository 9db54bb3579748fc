//! Messages that a graphics driver or its loader prints on stderr must not appear among the program's own messages.

use std::process::Command;

use crate::{Report, Workplace};

/// A message that Mesa's loader prints on a machine without a display.
const DRIVER_MESSAGE: &str = "error: XDG_RUNTIME_DIR is invalid or not set in the environment.";

/// A Vulkan loader that has no functions and prints the message as soon as it is loaded.
const LOADER: &str = r#"
extern "C" fn speak() {
    eprintln!("error: XDG_RUNTIME_DIR is invalid or not set in the environment.");
}

#[used]
#[unsafe(link_section = ".init_array")]
static SPEAK: extern "C" fn() = speak;
"#;

/// Compiles this loader and returns its folder.
fn loader(place: &Workplace) -> std::path::PathBuf {
    let source = place.write("loader.rs", LOADER);
    let folder = place.path("lib");
    std::fs::create_dir_all(&folder).unwrap();
    let rustc = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
        .arg(folder.join("libvulkan.so.1"))
        .arg(source)
        .output()
        .unwrap();
    assert!(rustc.status.success(), "{}", String::from_utf8_lossy(&rustc.stderr));
    // The second name by which programs look for the loader.
    std::fs::copy(folder.join("libvulkan.so.1"), folder.join("libvulkan.so")).unwrap();
    folder
}

const RUN: &str = "train --device auto --threads 1 --width 2 --batch-size 16 --epochs 3 --data shapes \
                   --set data.shapes.train=32 --set data.shapes.test=16";

/// Writes a study of one run on the given device.
fn study_by(place: &Workplace, device: &str) {
    crate::sweep::study(place, "seeds = 1\nbaseline = false", "");
    let text = std::fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("device = 'cpu'", &format!("device = '{device}'")));
}

#[test]
fn driver_messages_are_hidden_unless_requested() {
    let place = Workplace::new();
    let loader = loader(&place);
    let run = |arguments: &str, messages: &str| {
        let mut command = place.command(arguments);
        command.env("LD_LIBRARY_PATH", &loader).env("GRADAMP_DRIVER_MESSAGES", messages);
        Report::new(arguments, command.output().unwrap())
    };
    let asked = run(&format!("{RUN} --out asked"), "1").succeeds();
    assert!(asked.err.contains(DRIVER_MESSAGE), "the loader was not loaded: {}", asked.err);
    let report = run(&format!("{RUN} --out run"), "").succeeds();
    assert!(!report.err.contains(DRIVER_MESSAGE), "{}", report.err);
    assert!(
        report.err.contains("epoch 3/3"),
        "the program's own messages are shown afterwards: {}",
        report.err
    );
    let report = run(&format!("{RUN} --quiet --out quiet"), "0").succeeds();
    assert_eq!((report.err.as_str(), report.out.as_str()), ("", ""));
    study_by(&place, "auto");
    for arguments in ["devices", "devices --json", "sweep s.toml --dry-run"] {
        let report = run(arguments, "").succeeds();
        assert!(!report.err.contains(DRIVER_MESSAGE), "{arguments}: {}", report.err);
    }
    // The program's own errors are always shown.
    run("train --device gpu:none-of-that-name --data shapes", "").fails(2, &["none-of-that-name"]);
}

#[test]
fn the_reason_for_a_failed_run_is_the_runs_own_message() {
    let place = Workplace::new();
    let loader = loader(&place);
    study_by(&place, "auto");
    place.write("sweeps/s/runs/base_seed-1/gradients.jsonl", "");
    let mut command = place.command("sweep s.toml");
    command.env("LD_LIBRARY_PATH", &loader).env("GRADAMP_DRIVER_MESSAGES", "1");
    let report = Report::new("sweep", command.output().unwrap()).ends_with(1);
    let reason = report.err.lines().find(|line| line.starts_with("  base_seed-1 failed: ")).unwrap();
    assert!(reason.contains("already holds a run (gradients.jsonl)") && !reason.contains("XDG"), "{reason}");
}
