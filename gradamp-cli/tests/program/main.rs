//! Runs the program as a user does, and checks its output and its files.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy allows these in test functions, but not in their helpers

mod at_once;
mod bad_input;
mod commands;
mod compare;
mod data;
mod devices;
#[cfg(target_os = "linux")]
mod drivers;
mod export;
mod faults;
mod inputs;
mod integrity;
mod loop_options;
mod old_folders;
mod optimizer;
mod plan;
mod reliability;
mod report;
#[cfg(unix)]
mod resources;
mod resume;
mod runs;
mod settings;
#[cfg(unix)]
mod signals;
mod sweep;
#[cfg(target_os = "linux")]
mod terminal;
mod tune;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Restores the default action of signals that this process ignores, for example because it runs under `nohup` or in
/// a shell's background. A process inherits which signals are ignored, so the program would ignore them too.
#[cfg(unix)]
fn restore_default_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [SIGHUP, SIGINT, SIGTERM, SIGUSR1] {
            let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
            signal_hook::flag::register_conditional_default(signal, always).unwrap();
        }
    });
}

/// A temporary folder in which the program is run.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new() -> Self {
        #[cfg(unix)]
        restore_default_signals();
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The program with arguments, which are separated by blanks.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gradamp"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.env_remove("GRADAMP_DATA").env("GRADAMP_CACHE", self.path("cache")).stdin(Stdio::null());
        // As on a machine without a display; there Mesa's Vulkan layer prints an `error:` line.
        command.env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn run(&self, arguments: &str) -> Report {
        Report::new(arguments, self.command(arguments).output().unwrap())
    }
}

/// What the program printed, and its exit code.
struct Report {
    what: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Report {
    fn new(what: &str, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            what: what.into(),
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    #[track_caller]
    fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}\n{}", self.what, self.out, self.err);
        self
    }

    /// Asserts that the program failed with exit code `code` and one line of error that contains all of `parts`,
    /// without a panic or a backtrace.
    #[track_caller]
    fn fails(self, code: i32, parts: &[&str]) -> Self {
        let report = self.ends_with(code);
        let errors: Vec<&str> = report.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}\n{}", report.what, report.err);
        for part in parts {
            assert!(errors[0].contains(part), "{}\nexpected {part:?} in\n{}", report.what, report.err);
        }
        for word in ["panicked", "a bug in gradamp", "RUST_BACKTRACE"] {
            assert!(!report.err.contains(word), "{}\n{}", report.what, report.err);
        }
        report
    }
}

/// A run of a few seconds: three phases of one epoch each, with amplification in the second.
const SMALL: &str = "train --device cpu --threads 1 --width 2 --batch-size 16 --epochs 3 --data shapes --set data.shapes.train=96 \
     --set data.shapes.test=32 --set train.log_interval=2 --set train.gradients_every=2 \
     --set train.checkpoint_seconds=0";

/// The path and content of every file below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// The lines of a JSON Lines file.
fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
