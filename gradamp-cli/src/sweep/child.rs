//! One run as a process of its own, so that whatever becomes of it, the sweep goes on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::config::Device;
use crate::failure::{INTERRUPTED, SUCCESS};

/// A run to be begun or continued.
#[derive(Clone, Debug)]
pub struct Task {
    /// The program.
    pub program: PathBuf,
    /// The run's settings.
    pub config: PathBuf,
    /// The run's folder.
    pub folder: PathBuf,
    /// Whether the folder holds the run already.
    pub resumes: bool,
    /// Threads, if the study does not say.
    pub threads: Option<usize>,
    /// The device, if it is not the study's.
    pub device: Option<Device>,
    /// Where it is to stop, if not at its end.
    pub max_steps: Option<u64>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Well,
    /// It saved and stopped, as it was asked to.
    Interrupted,
    /// With an error.
    Badly(String),
    /// It did not begin, since the sweep is stopping.
    NotBegun,
}

/// The processes that are running, so that they can be asked to stop.
#[derive(Debug, Default)]
pub struct Children(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    is_stopping: bool,
    ids: Vec<(PathBuf, u32)>,
}

impl Children {
    /// Does a run, and waits for its end.
    pub fn run(&self, task: &Task) -> Ended {
        let mut command = task.command();
        let child = {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if running.is_stopping {
                return Ended::NotBegun;
            }
            match command.spawn() {
                Ok(child) => {
                    running.ids.push((task.folder.clone(), child.id()));
                    child
                }
                Err(error) => return Ended::Badly(format!("cannot be started: {error}")),
            }
        };
        let id = child.id();
        let output = child.wait_with_output();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.ids.retain(|(_, other)| *other != id);
        let is_stopping = running.is_stopping;
        drop(running);
        match output {
            Ok(output) => ended(output.status, &String::from_utf8_lossy(&output.stderr), is_stopping),
            Err(error) => Ended::Badly(format!("cannot be waited for: {error}")),
        }
    }

    /// Asks every process to save and end, once, and lets no other begin.
    pub fn stop(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.is_stopping {
            running.is_stopping = true;
            running.ids.iter().for_each(|(_, id)| interrupt(*id));
        }
    }

    /// Asks the process of the run in `folder` to end.
    pub fn end(&self, folder: &Path) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.ids.iter().filter(|(of, _)| of == folder).for_each(|(_, id)| interrupt(*id));
    }
}

impl Task {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["train", "--quiet"]);
        match self.resumes {
            true => command.arg("--resume").arg(&self.folder),
            false => command.arg("--config").arg(&self.config).arg("--out").arg(&self.folder),
        };
        if let Some(threads) = self.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if let Some(device) = &self.device {
            command.args(["--device", &device.to_string()]);
        }
        if let Some(steps) = self.max_steps {
            command.args(["--max-steps", &steps.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Out of the terminal's reach: Ctrl-C comes to the sweep alone, which asks its runs to save. A run hears SIGTERM also
        // where the sweep was started with Ctrl-C ignored.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

#[cfg(unix)]
fn interrupt(id: u32) {
    use nix::sys::signal::{Signal, kill};
    if let Ok(id) = i32::try_from(id) {
        let _ = kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM); // it may have ended by itself
    }
}

/// A console sends Ctrl-C to all its processes.
#[cfg(not(unix))]
fn interrupt(_: u32) {}

fn ended(status: ExitStatus, messages: &str, is_stopping: bool) -> Ended {
    match status.code() {
        Some(code) if code == i32::from(SUCCESS) => Ended::Well,
        Some(code) if code == i32::from(INTERRUPTED) && is_stopping => Ended::Interrupted,
        // Asked to stop before it could listen.
        None if is_stopping => Ended::Interrupted,
        // Whoever is killed tells nothing; what drivers print is no reason.
        None => Ended::Badly(format!("ended by {status}")),
        Some(_) => Ended::Badly(error_in(messages).unwrap_or_else(|| format!("ended by {status}"))),
    }
}

/// The last error among what a process said, with its causes.
fn error_in(messages: &str) -> Option<String> {
    let lines: Vec<&str> = messages.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("error: "))?;
    let causes = lines[at + 1..].iter().take_while(|line| line.starts_with("  ")).map(|line| line.trim());
    let error = lines[at].trim_start_matches("error: ");
    Some(std::iter::once(error).chain(causes).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_process_is_its_last_with_its_causes() {
        let messages = "a warning\nerror: one\nerror: runs/a: cannot write\n  because: full\nstopping\n";
        assert_eq!(error_in(messages).as_deref(), Some("runs/a: cannot write; because: full"));
        assert_eq!(error_in("nothing to tell"), None);
    }
}
