//! Requests to stop that come from people, supervisors, schedulers and terminals.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::devices::record;
use crate::resume::assert_same_run;
use crate::{Report, SMALL, Workplace, json_lines};

/// Waits until `is_so` returns true. Panics after a time that no machine should need.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(240);
    while !is_so() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Starts the program in its own process group.
fn begin(place: &Workplace, arguments: &str) -> Child {
    begin_under(place, "", arguments)
}

/// Starts the program from a shell that first executes `before`.
fn begin_under(place: &Workplace, before: &str, arguments: &str) -> Child {
    let mut command = Command::new("sh");
    let program = place.command(arguments);
    command.arg("-c").arg(format!("{before}\nexec \"$0\" \"$@\"")).arg(program.get_program());
    let mut command = with_setup_of(command, &program);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Gives `command` the arguments, the folder and the environment of `program`.
pub fn with_setup_of(mut command: Command, program: &Command) -> Command {
    command.args(program.get_args());
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

fn ended(what: &str, child: Child) -> Report {
    Report::new(what, child.wait_with_output().unwrap())
}

fn has_lines(file: &Path, n: usize) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().count() >= n)
}

/// Signals as from a scheduler that signals twice, a supervisor that signals the whole group, or an impatient script.
#[test]
fn repeated_signals_do_not_disturb_the_save() {
    use Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    for (i, signals) in
        [[SIGTERM, SIGTERM], [SIGHUP, SIGTERM], [SIGUSR1, SIGUSR1], [SIGINT, SIGINT]].into_iter().enumerate()
    {
        let run = format!("run{i}");
        let child = begin(&place, &format!("{SMALL} --out {run}"));
        wait_until("the first line", || has_lines(&place.path(&run).join("metrics.jsonl"), 1));
        for signal in signals.into_iter().cycle().take(6) {
            killpg(pid(&child), signal).unwrap();
            sleep(Duration::from_millis(1)); // without a pause, the system may merge equal signals
        }
        let report = ended(&format!("{signals:?}"), child).ends_with(130);
        assert!(report.err.contains("stopping: "), "{}", report.err);
        assert!(report.err.contains(&format!("gradamp train --resume {run}")), "{}", report.err);
        assert_eq!(record(&place, &run)["outcome"], "interrupted", "{signals:?}");
        place.run(&format!("train --threads 1 --resume {run}")).succeeds();
        assert_same_run(&place.path("whole"), &place.path(&run));
    }
}

/// `nohup gradamp train &`, or `trap '' INT` in a script.
#[test]
fn signals_that_are_ignored_at_the_start_stay_ignored() {
    let place = Workplace::new();
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGINT, "INT"), (Signal::SIGTERM, "TERM")] {
        let child = begin_under(&place, &format!("trap '' {name}"), &format!("{SMALL} --out {name}"));
        wait_until("the first line", || has_lines(&place.path(name).join("metrics.jsonl"), 1));
        for _ in 0..3 {
            killpg(pid(&child), signal).unwrap();
        }
        ended(name, child).succeeds();
        assert_eq!(record(&place, name)["outcome"], "finished", "{name}");
    }
}

/// The same for a sweep and its runs.
#[test]
fn a_sweep_under_nohup_continues_when_its_terminal_hangs_up() {
    let place = Workplace::new();
    crate::sweep::study(&place, "seeds = 2\nbaseline = false", "");
    let child = begin_under(&place, "trap '' HUP", "sweep s.toml --out d");
    wait_until("the first run", || has_lines(&place.path("d/runs/base_seed-1/metrics.jsonl"), 1));
    for _ in 0..3 {
        killpg(pid(&child), Signal::SIGHUP).unwrap();
    }
    ended("sweep", child).succeeds();
    for seed in [1, 2] {
        assert_eq!(record(&place, &format!("d/runs/base_seed-{seed}"))["outcome"], "finished");
    }
}

/// Two steps, then an evaluation of many batches.
const LONG_EVALUATION: &str = r#"
[model]
name = "resnet18"
width = 2
[data]
source = "shapes"
shapes = { train = 32, test = 4000, seed = 1 }
[train]
batch_size = 16
device = "cpu"
threads = 1
log_interval = 1
gradients_every = 1
[strategy]
lr = 0.05
[[strategy.phase]]
epochs = 1
"#;

#[test]
fn an_evaluation_can_be_interrupted_and_is_repeated_at_the_resume() {
    let place = Workplace::new();
    place.write("long.toml", LONG_EVALUATION);
    place.run("train --config long.toml --out whole").succeeds();
    let child = begin(&place, "train --config long.toml --out run");
    wait_until("the last step", || has_lines(&place.path("run/metrics.jsonl"), 2));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let report = ended("a stop in an evaluation", child).ends_with(130);
    // The lines of the last step are written a moment before the evaluation starts, so either message may be printed.
    let messages = ["stopping: leaving the evaluation", "stopping: finishing this step"];
    assert!(messages.iter().any(|line| report.err.contains(line)), "{}", report.err);
    assert_eq!(record(&place, "run")["outcome"], "interrupted");
    assert_eq!(
        json_lines(&place.path("run/metrics.jsonl")).len(),
        2,
        "an epoch without an evaluation has no line"
    );
    let state = fs::read_to_string(place.path("run/checkpoints/last/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["train"]["epoch"], &state["train"]["batch"]), (&0.into(), &2.into()));
    place.run("train --threads 1 --resume run").succeeds();
    assert_same_run(&place.path("whole"), &place.path("run"));
    assert_eq!(
        json_lines(&place.path("run/evaluations.jsonl")),
        json_lines(&place.path("whole/evaluations.jsonl"))
    );
}

/// Whether the process has installed a handler for SIGTERM; `None` if the system does not tell.
fn is_listening(child: &Child) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
    Some(caught >> (Signal::SIGTERM as u32 - 1) & 1 == 1)
}

#[test]
fn a_run_that_is_still_generating_its_data_stops_at_once_without_saving() {
    let place = Workplace::new();
    let child = begin(&place, &format!("{SMALL} --set data.shapes.train=200000 --out run"));
    wait_until("the handler", || is_listening(&child).unwrap_or(true));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    ended("while data are made", child).fails(1, &["interrupted before the run started"]);
    assert!(!place.path("run").exists());
    // A run that was saved before is unchanged and can be resumed.
    place.run(&format!("{SMALL} --max-steps 3 --out run")).succeeds();
    let child = begin(&place, "train --resume run");
    wait_until("the handler", || is_listening(&child).unwrap_or(true));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let report = ended("while a run is being resumed", child);
    assert!(matches!(report.code, Some(0 | 130)), "{:?} {}", report.code, report.err);
    assert!(report.code == Some(0) || report.err.contains("gradamp train --resume run"), "{}", report.err);
    place.run("train --resume run").succeeds();
}

#[test]
fn a_step_limit_at_the_end_of_an_epoch_includes_its_evaluation() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    place.run(&format!("{SMALL} --max-steps 6 --out part")).succeeds();
    assert_eq!(record(&place, "part")["outcome"], "step_limit");
    assert_eq!(json_lines(&place.path("part/evaluations.jsonl")).len(), 1, "the first epoch is evaluated");
    place.run("train --threads 1 --resume part --max-steps 18").succeeds();
    assert_eq!(record(&place, "part")["outcome"], "finished", "the run has 18 steps");
    let without_limit =
        |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(without_limit("part") == without_limit("whole"));
}

/// A limit on the size of files, similar to a quota; the first checkpoint exceeds it.
#[test]
fn an_error_after_the_start_of_a_run_is_recorded() {
    let place = Workplace::new();
    let child = begin_under(&place, "ulimit -f 40", &format!("{SMALL} --out run"));
    let report = ended("a file too large", child).fails(1, &["checkpoints", "File too large"]);
    let record = record(&place, "run");
    assert_eq!(record["outcome"], "failed", "{}", report.err);
    assert!(record["error"].as_str().unwrap().contains("File too large"), "{record}");
    assert!(record["end"].is_string());
}

/// Collects everything that a terminal shows, until no process has it open any more.
fn listen_to(terminal: fs::File) -> Arc<Mutex<String>> {
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&seen);
    thread::spawn(move || {
        let (mut terminal, mut some) = (terminal, [0; 4096]);
        while let Ok(n @ 1..) = terminal.read(&mut some) {
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..n]));
        }
    });
    seen
}

/// Starts a run with a long first step on a pseudo-terminal, where Ctrl-C arrives as if a person pressed it. Returns
/// the process, the terminal, and the text that it shows. Returns `None`, with a note on stderr, if the program
/// `setsid` is missing.
fn on_a_terminal(place: &Workplace) -> Option<(Child, fs::File, Arc<Mutex<String>>)> {
    if Command::new("setsid").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: setsid, which gives a program a terminal, is missing");
        return None;
    }
    let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let program = place.command(
        "train --device cpu --threads 1 --model resnet18 --width 64 --batch-size 128 --epochs 3 --data shapes \
         --set data.shapes.train=256 --set data.shapes.test=16 --out run",
    );
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(program.get_program());
    let mut command = with_setup_of(command, &program);
    let terminal = fs::File::from(slave);
    command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let child = command.spawn().unwrap();
    drop(command);
    let keys = fs::File::from(master);
    let seen = listen_to(keys.try_clone().unwrap());
    let (shows, run) = (Arc::clone(&seen), place.path("run/checkpoints/last/state.json"));
    wait_until("the first step", || run.exists() && shows.lock().unwrap().contains("run folder: run"));
    Some((child, keys, seen))
}

#[test]
fn a_second_ctrl_c_stops_a_run_at_once_with_a_code_for_failure() {
    let place = Workplace::new();
    let Some((mut child, mut keys, seen)) = on_a_terminal(&place) else { return };
    let shows = |text: &str| seen.lock().unwrap().contains(text);
    keys.write_all(b"\x03").unwrap();
    wait_until("an answer to Ctrl-C", || {
        shows("stopping: finishing this step; Ctrl-C again to stop at once")
    });
    keys.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", seen.lock().unwrap());
    wait_until("the last message", || shows("stopped at once by a second Ctrl-C, without saving"));
    let record = record(&place, "run");
    assert_eq!(record["outcome"], "failed");
    assert_eq!(record["error"], "stopped at once by a second Ctrl-C, without saving");
}
