//! Results that cannot be printed, and files that must not be overwritten.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use super::{begin, workplace};
use crate::{Report, Workplace};

const STUDY: &str = "\
seeds = 2
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 8, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', shapes = { train = 16, test = 8 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
[axes]
'amplification.factor' = [1.5, 2.0]
";

/// Commands of every kind that print results.
const PRINTING: [&str; 20] = [
    "--help",
    "--version",
    "help eval",
    "train --help",
    "config show",
    "config check tiny.toml",
    "data info shapes",
    "eval --run a",
    "eval --run a --json",
    "devices",
    "devices --json",
    "watch a --once",
    "tensorboard a",
    "compare a b",
    "compare sweep",
    "compare sweep --json",
    "sweep study.toml --out sweep --dry-run",
    "sweep --collect sweep",
    "bench step --device cpu --model resnet18 --width 2 --batch 2 --json",
    "train --resume a",
];

/// Makes a folder with two runs, a sweep and its study.
fn with_runs() -> Workplace {
    let place = workplace();
    place.run(&begin("a")).succeeds();
    place.run(&format!("{} --seed 5", begin("b"))).succeeds();
    place.write("study.toml", STUDY);
    place.run("sweep study.toml --out sweep -q").succeeds();
    place
}

#[cfg(target_os = "linux")]
#[test]
fn lost_results_fail_every_command_but_a_reader_that_stops_reading_fails_none() {
    let place = with_runs();
    for arguments in PRINTING {
        let to = |stdout: Stdio| {
            let mut command = place.command(arguments);
            Report::new(arguments, command.stdout(stdout).stderr(Stdio::piped()).output().unwrap())
        };
        to(Stdio::piped()).succeeds();
        let full = File::options().write(true).open("/dev/full").unwrap();
        to(full.into()).fails(1, &["stdout: cannot write the results", "No space left on device"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let left = to(writer.into()).succeeds();
        assert!(!left.err.contains("error"), "{arguments}: {}", left.err);
    }
    // The run itself is complete, although its table was lost.
    let mut command = place.command(&begin("c"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    Report::new("train", output).fails(1, &["stdout: cannot write the results"]);
    let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(model("a") == model("c"));
    assert!(fs::read_to_string(place.path("c/run.json")).unwrap().contains("\"outcome\": \"finished\""));
}

/// Devices and pipes made for this test stand in for `/dev/null` and the like, which a faulty program would replace.
#[cfg(unix)]
#[test]
fn a_page_is_written_through_links_but_never_over_devices_pipes_or_files_of_a_run() {
    use std::os::unix::fs::symlink;
    let place = with_runs();
    let made = Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    let mut special = vec![("pipe", "a pipe")];
    let device = Command::new("mknod").arg(place.path("device")).args(["c", "1", "3"]).output().unwrap();
    if device.status.success() {
        special.push(("device", "a device"));
    } else {
        eprintln!("SKIPPED: a report written to a device, which only the superuser can make");
    }
    for (name, found) in special {
        symlink(name, place.path(&format!("to-{name}"))).unwrap();
        for path in [name.to_owned(), format!("to-{name}")] {
            place.run(&format!("report a -o {path}")).fails(1, &[&path, found]);
        }
        let kept = fs::symlink_metadata(place.path(name)).unwrap().file_type();
        assert!(!kept.is_file() && fs::read_link(place.path(&format!("to-{name}"))).is_ok());
        place.run(&format!("{} --seed 7", begin(name))).fails(1, &[name, "expected the path of a folder"]);
        place
            .run(&format!("sweep study.toml --out {name}"))
            .fails(1, &[name, "expected the path of a sweep's"]);
        place.run(&format!("report a --figures {name}")).fails(1, &[name]);
    }

    fs::create_dir(place.path("pages")).unwrap();
    symlink("pages/page.html", place.path("link.html")).unwrap();
    place.run("report a -o link.html").succeeds();
    assert!(fs::read_link(place.path("link.html")).is_ok());
    assert!(fs::read_to_string(place.path("pages/page.html")).unwrap().contains("<html"));
    place.run("report a -o a/report.html --figures a/figures").succeeds();

    symlink("a/metrics.jsonl", place.path("metrics")).unwrap();
    let before = crate::contents(&place.path("a"));
    let sweep = crate::contents(&place.path("sweep"));
    for path in
        ["a/config.toml", "a/run.json", "a/metrics.jsonl", "a/.lock", "a/checkpoints/page.html", "metrics"]
    {
        place.run(&format!("report b -o {path}")).fails(1, &["a/", "belongs to the run in"]);
    }
    for path in ["sweep/plan.json", "sweep/results.jsonl", "sweep/configs/page.html"] {
        place.run(&format!("report b -o {path}")).fails(1, &[path, "belongs to the sweep in"]);
    }
    place.run("report b --figures a/checkpoints").fails(1, &["a/checkpoints", "belongs to the run in"]);
    place.run(&begin("a/checkpoints/run")).fails(1, &["a/checkpoints/run", "belongs to the run in"]);
    place.run("sweep study.toml --out a").fails(1, &["a: already holds a run"]);
    assert!(crate::contents(&place.path("a")) == before && crate::contents(&place.path("sweep")) == sweep);
}
