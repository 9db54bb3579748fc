//! Trains a run in its own process, so that a failure of the run does not end the sweep.

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, INTERRUPTED, SUCCESS};
use crate::stderr;
use gradamp_study::config::Device;
use gradamp_study::run_folder::StudySeal;

/// A run to start or to continue.
#[derive(Clone, Debug)]
pub struct Task {
    /// The program.
    pub program: PathBuf,
    /// The run's settings.
    pub config: PathBuf,
    /// The run's folder.
    pub folder: PathBuf,
    /// Whether the folder already holds the run, so that the run must be resumed.
    pub resumes: bool,
    /// The seal of the study, which a new run records.
    pub study: Option<StudySeal>,
    /// The number of threads, if the study does not set one.
    pub threads: Option<usize>,
    /// The device that replaces the study's device.
    pub device: Option<Device>,
    /// The step at which the run stops; `None` for the end of the run.
    pub max_steps: Option<u64>,
}

/// How the process of a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process ended with success.
    Success,
    /// The process stopped because the sweep or another process asked it to. The run can be resumed.
    Interrupted,
    /// The process ended with this error.
    Failed(String),
    /// The process was not started, because the sweep is stopping.
    NotStarted,
}

/// The running processes, which can be asked to stop.
#[derive(Debug, Default)]
pub struct Children(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    is_stopping: bool,
    runs: Vec<Run>,
}

/// A process that is running.
#[derive(Debug)]
struct Run {
    folder: PathBuf,
    id: u32,
    /// The only writing end of the pipe that the process reads as stdin. It is closed by the sweep, or by the system
    /// if the sweep is killed. The process then saves and ends.
    _leash: Option<ChildStdin>,
}

impl Children {
    /// Starts a run and waits for its end.
    pub fn run(&self, task: &Task) -> Ended {
        let mut command = task.command();
        let child = {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if running.is_stopping {
                return Ended::NotStarted;
            }
            match command.spawn() {
                Ok(mut child) => {
                    let _leash = child.stdin.take();
                    running.runs.push(Run { folder: task.folder.clone(), id: child.id(), _leash });
                    child
                }
                Err(error) => return Ended::Failed(format!("cannot be started: {error}")),
            }
        };
        let id = child.id();
        let output = child.wait_with_output();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.runs.retain(|run| run.id != id);
        let is_stopping = running.is_stopping;
        drop(running);
        match output {
            Ok(output) => ended(output.status, &String::from_utf8_lossy(&output.stdout), is_stopping),
            Err(error) => Ended::Failed(format!("cannot be waited for: {error}")),
        }
    }

    /// Asks every process to save and end. Starts no more processes.
    pub fn stop(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.is_stopping = true;
        running.runs.iter_mut().for_each(|run| run._leash = None);
    }

    /// Asks the process of the run in `folder` to end.
    pub fn end(&self, folder: &Path) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.runs.iter_mut().filter(|run| run.folder == folder).for_each(|run| run._leash = None);
    }

    /// Ends the process of the run in `folder` at once, without saving.
    pub fn kill(&self, folder: &Path) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, kill};
            let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for id in running.runs.iter().filter(|run| run.folder == folder).map(|run| run.id) {
                let id = i32::try_from(id).unwrap_or_default();
                if id > 0 {
                    let _ = kill(nix::unistd::Pid::from_raw(id), Signal::SIGKILL); // it may just have ended
                }
            }
        }
        #[cfg(not(unix))]
        self.end(folder);
    }
}

impl Task {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["train", "--quiet", "--in-sweep"]);
        match self.resumes {
            true => command.arg("--resume").arg(&self.folder),
            false => command.arg("--config").arg(&self.config).arg("--out").arg(&self.folder),
        };
        if let Some(study) = &self.study {
            command.args(["--study", &study.to_string()]);
        }
        if let Some(threads) = self.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if let Some(device) = &self.device {
            command.args(["--device", &device.to_string()]);
        }
        if let Some(steps) = self.max_steps {
            command.args(["--max-steps", &steps.to_string()]);
        }
        // On stderr, messages of runs and drivers would mix with the sweep's own lines. The run reports a failure on
        // stdout.
        let messages = if stderr::shows_driver_messages() { Stdio::inherit() } else { Stdio::null() };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(messages);
        // The run gets its own process group, so that Ctrl-C reaches only the sweep, which passes the request on. A
        // second Ctrl-C, which would end a run without saving, does not reach the runs.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

fn ended(status: ExitStatus, reported: &str, is_stopping: bool) -> Ended {
    match status.code() {
        Some(code) if code == i32::from(SUCCESS) => Ended::Success,
        Some(code) if code == i32::from(INTERRUPTED) => Ended::Interrupted,
        // The signal ended the process before its handlers were installed.
        None if is_stopping || was_asked_to_stop(status) => Ended::Interrupted,
        _ => Ended::Failed(Failure::reported(reported).unwrap_or_else(|| format!("ended by {status}"))),
    }
}

/// Whether the process was ended by one of the signals that ask a run to stop.
#[cfg(unix)]
fn was_asked_to_stop(status: ExitStatus) -> bool {
    use nix::sys::signal::Signal;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1]
        .iter()
        .any(|it| signal == Some(*it as i32))
}

#[cfg(not(unix))]
fn was_asked_to_stop(_: ExitStatus) -> bool {
    false
}
