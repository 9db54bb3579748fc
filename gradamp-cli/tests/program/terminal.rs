//! Terminals: pseudo-terminals that close while the program runs, that accept no output, or that show lines only.
//!
//! A program whose controlling terminal closes gets SIGHUP. A program that merely reads and writes a terminal notices
//! its end only when it reads from it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::devices::record;
use crate::{Report, SMALL, Workplace};

/// A limit that is long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A run that would take hours.
const LONG: &str = "train --device cpu --threads 1 --width 2 --batch-size 16 --epochs 100000 --data shapes \
                    --set data.shapes.train=64 --set data.shapes.test=16 --set train.log_interval=1 --out run";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// The terminal is the program's controlling terminal.
    Own,
    /// The program reads and writes the terminal, but has no controlling terminal.
    None,
}

/// A program that runs on a pseudo-terminal.
struct OnTerminal {
    child: Child,
    /// The side that shows the output; `None` once it is closed.
    master: Option<PtyMaster>,
    /// The path of the program's side.
    name: PathBuf,
    seen: Vec<u8>,
}

impl OnTerminal {
    fn start(place: &Workplace, control: Control, term: &str, arguments: &str) -> Self {
        Self::start_as(place.command(arguments), control, term)
    }

    fn start_as(program: Command, control: Control, term: &str) -> Self {
        // `openpty` is not used, because programs that other tests start at the same time would inherit the master
        // and keep it open.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = PathBuf::from(ptsname_r(&master).unwrap());
        let mut options = File::options();
        let slave = options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&name).unwrap();
        let side = || Stdio::from(slave.try_clone().unwrap());
        let sized = Command::new("stty").args(["rows", "24", "cols", "100"]).stdin(side()).status().unwrap();
        assert!(sized.success());
        // A new session has no controlling terminal until the program takes one.
        let mut command = Command::new("setsid");
        if control == Control::Own {
            command.arg("--ctty");
        }
        command.arg(program.get_program()).args(program.get_args());
        command.current_dir(program.get_current_dir().unwrap());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("TERM", term);
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        Self { child, master: Some(master), name, seen: Vec::new() }
    }

    /// Reads what the terminal shows until `is` returns true.
    #[track_caller]
    fn show_until(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(&self.text()) {
            assert!(
                Instant::now() < deadline,
                "timed out waiting for {what}; the terminal shows\n{}",
                self.text()
            );
            if self.read().is_none() && self.child.try_wait().unwrap().is_some() && !is(&self.text()) {
                panic!("the program ended before {what}; the terminal shows\n{}", self.text());
            }
        }
    }

    /// Reads what the terminal shows within a moment; `None` if it shows nothing new.
    fn read(&mut self) -> Option<()> {
        let master = self.master.as_mut().unwrap();
        let mut fds = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, 20_u8).unwrap() == 0 {
            return None;
        }
        let mut some = [0; 4096];
        let n = master.read(&mut some).ok().filter(|&n| n > 0)?; // no process has the other side open any more
        self.seen.extend_from_slice(&some[..n]);
        Some(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Fills the terminal's buffer, so that it accepts no more output until somebody reads.
    fn fill(&self) {
        let mut options = File::options();
        options.write(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
        let mut terminal = options.open(&self.name).unwrap();
        let error = loop {
            if let Err(error) = terminal.write(&[b' '; 256]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    /// Closes the terminal.
    fn close(&mut self) {
        self.master = None;
    }

    /// The exit code of the program, which must end by itself.
    #[track_caller]
    fn code(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() >= deadline {
                self.child.kill().unwrap();
                panic!("the program does not end; the terminal showed\n{}", self.text());
            }
            if self.master.is_some() {
                self.read();
            } else {
                sleep(Duration::from_millis(20));
            }
        }
    }
}

fn holds_lines(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Asserts that the run was saved, that run.json says so, and that the run can be resumed.
#[track_caller]
fn assert_saved(place: &Workplace, run: &str) {
    assert_eq!(record(place, run)["outcome"], "interrupted", "{run}");
    let state = fs::read_to_string(place.path(run).join("checkpoints/last/state.json")).unwrap();
    let step = serde_json::from_str::<serde_json::Value>(&state).unwrap()["train"]["step"].as_u64().unwrap();
    let report = place.run(&format!("train --resume {run} --threads 1 --max-steps {}", step + 2)).succeeds();
    assert!(report.err.contains("continuing at epoch"), "{}", report.err);
    assert_eq!(record(place, run)["resumed"][0]["step"], step, "{run}");
}

#[test]
fn a_run_with_a_dashboard_is_saved_and_ends_when_its_terminal_closes() {
    for control in [Control::Own, Control::None] {
        let place = Workplace::new();
        let mut program = OnTerminal::start(&place, control, "xterm", &format!("{LONG} --tui"));
        program.show_until("a frame", |text| text.contains("images/s"));
        program.close();
        assert_eq!(program.code(), Some(130), "{control:?}");
        assert_saved(&place, "run");
    }
}

#[test]
fn a_run_with_a_progress_bar_is_saved_and_ends_when_its_terminal_closes() {
    for control in [Control::Own, Control::None] {
        let place = Workplace::new();
        let mut program = OnTerminal::start(&place, control, "xterm", LONG);
        program.show_until("a bar", |text| text.contains("images/s"));
        program.close();
        assert_eq!(program.code(), Some(130), "{control:?}");
        assert_saved(&place, "run");
    }
}

#[test]
fn watching_ends_when_the_terminal_closes() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 9 --out sweep/runs/a")).succeeds();
    let run =
        serde_json::json!({"name": "a", "cell": "a", "role": "cell", "axes": {}, "seed": 1, "epochs": 3});
    let plan = serde_json::json!({
        "format": 1, "version": "0.1.0", "name": "s", "axes": [], "amplification_axes": [], "runs": [run],
    });
    place.write("sweep/plan.json", &plan.to_string());
    for control in [Control::Own, Control::None] {
        for (folder, frame) in [("sweep/runs/a", "accuracy"), ("sweep", "status")] {
            let mut program = OnTerminal::start(&place, control, "xterm", &format!("watch {folder}"));
            program.show_until("a frame", |text| text.contains(frame));
            program.close();
            assert_eq!(program.code(), Some(130), "{control:?} {folder}");
        }
    }
}

#[test]
fn a_sweep_saves_its_runs_and_ends_when_its_terminal_closes() {
    for control in [Control::Own, Control::None] {
        let place = Workplace::new();
        crate::sweep::long_study(&place);
        let mut program = OnTerminal::start(&place, control, "xterm", "sweep s.toml --jobs 2 --out d");
        let runs = ["d/runs/base_seed-1", "d/runs/base_seed-2"];
        program.show_until("a bar", |text| text.contains("runs "));
        wait_until("a step of each run", || {
            program.read();
            runs.iter().all(|run| holds_lines(&place.path(run).join("metrics.jsonl")))
        });
        program.close();
        assert_eq!(program.code(), Some(130), "{control:?}");
        runs.iter().for_each(|run| assert_saved(&place, run));
    }
}

/// As after Ctrl-S, or when a connection hangs.
#[test]
fn a_terminal_that_accepts_no_output_does_not_delay_a_run() {
    let place = Workplace::new();
    let run = SMALL.replace("--epochs 3", "--epochs 15");
    let mut program = OnTerminal::start(&place, Control::None, "xterm", &format!("{run} --tui --out run"));
    program.show_until("a frame", |text| text.contains("images/s"));
    program.fill();
    wait_until("the end of the run", || {
        place.path("run/run.json").exists() && record(&place, "run")["outcome"] == "finished"
    });
    program.close();
    assert_eq!(program.code(), Some(0));
}

#[test]
fn a_run_that_ignores_hang_ups_continues_without_a_terminal() {
    let place = Workplace::new();
    for (run, tui) in [("bar", ""), ("dashboard", " --tui")] {
        let inner = place.command(&format!("{SMALL}{tui} --out {run}").replace("--epochs 3", "--epochs 15"));
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
        shell.current_dir(inner.get_current_dir().unwrap());
        let mut program = OnTerminal::start_as(shell, Control::Own, "xterm");
        program.show_until("progress", |text| text.contains("images/s"));
        program.close();
        assert_eq!(program.code(), Some(0), "{run}");
        assert_eq!(record(&place, run)["outcome"], "finished");
    }
}

#[test]
fn a_dumb_terminal_shows_lines_and_a_quiet_run_shows_nothing() {
    let place = Workplace::new();
    let mut program = OnTerminal::start(&place, Control::Own, "dumb", &format!("{SMALL} --out run"));
    program.show_until("the end", |text| text.contains("learning rate"));
    let text = program.text();
    assert_eq!(program.code(), Some(0));
    for part in ["epoch 1/3 step 2/6", "epoch 2/3 step 3/6", "epoch 3/3  phase"] {
        assert!(text.contains(part), "expected {part:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");

    crate::sweep::study(&place, "seeds = 1\nbaseline = false", "");
    let mut program = OnTerminal::start(&place, Control::Own, "dumb", "sweep s.toml --out d");
    program.show_until("the end", |text| text.contains("test accuracy, last"));
    assert!(program.text().contains("[1/1] base_seed-1: finished"), "{}", program.text());
    assert_eq!(program.code(), Some(0));

    for (term, arguments) in
        [("xterm", format!("{SMALL} --quiet --out q")), ("dumb", format!("{SMALL} -q --out p"))]
    {
        let mut program = OnTerminal::start(&place, Control::Own, term, &arguments);
        while program.child.try_wait().unwrap().is_none() {
            program.read();
        }
        while program.read().is_some() {}
        assert_eq!(program.text(), "", "{arguments}");
        assert_eq!(program.code(), Some(0));
    }
}

#[test]
fn a_run_works_without_stderr() {
    let place = Workplace::new();
    let inner = place.command(&format!("{SMALL} --out run"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&-", "sh"]).arg(inner.get_program()).args(inner.get_args());
    let report = Report::new("2>&-", shell.current_dir(place.0.path()).output().unwrap()).succeeds();
    assert!(report.out.contains("learning rate"), "{}", report.out);
    assert_eq!(record(&place, "run")["outcome"], "finished");
}

#[test]
fn watching_on_a_terminal_that_accepts_no_output_can_be_ended() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out run")).succeeds();
    let mut program = OnTerminal::start(&place, Control::Own, "xterm", "watch run");
    program.show_until("a frame", |text| text.contains("accuracy"));
    program.fill();
    // Changes what is to be shown, although the terminal accepts no output.
    fs::write(place.path("run/metrics.jsonl"), "").unwrap();
    sleep(Duration::from_secs(1));
    let id = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    // Nothing reads from the terminal until the program has ended.
    let deadline = Instant::now() + PATIENCE;
    while program.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the program does not end");
        sleep(Duration::from_millis(20));
    }
}
