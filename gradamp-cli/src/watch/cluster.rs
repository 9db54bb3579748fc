//! The tasks of a sweep on Slurm: asked for again and again while the sweep is watched, and cancelled.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::failure::{Failure, Result, SUCCESS};
use crate::output;
use crate::slurm::{self, Tasks};

/// The time between two questions. The controller of a cluster answers everybody, so that it is asked seldom.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long one frame waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Slurm last said about a sweep's tasks.
#[derive(Debug)]
pub struct Cluster {
    answers: Receiver<Result<Tasks, String>>,
    tasks: Tasks,
    note: Option<String>,
}

impl Cluster {
    /// The tasks of the sweep in `root`; `None` if it was not submitted to Slurm.
    pub fn of(root: &Path) -> Option<Self> {
        if !slurm::is_submitted(root) {
            return None;
        }
        let (sender, answers) = sync_channel(0);
        let own = root.to_owned();
        let spawned = thread::Builder::new().name("slurm".into()).spawn(move || ask(&own, &sender));
        let note = spawned.err().map(|error| format!("no thread can be started to ask Slurm: {error}"));
        Some(Self { answers, tasks: Tasks::default(), note })
    }

    /// Takes an answer if there is one. Returns whether there is.
    pub fn poll(&mut self) -> bool {
        self.answers.try_recv().is_ok_and(|answer| self.take(answer))
    }

    /// Waits for an answer.
    pub fn wait(&mut self) {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => {
                self.take(answer);
            }
            Err(RecvTimeoutError::Timeout) => self.note = Some("squeue does not answer".into()),
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }

    fn take(&mut self, answer: Result<Tasks, String>) -> bool {
        self.note = answer.as_ref().err().cloned();
        if let Ok(tasks) = answer {
            let workers: Vec<String> = tasks.workers.iter().map(ToString::to_string).collect();
            self.note =
                if workers.is_empty() { None } else { Some(format!("tasks: {}", workers.join(", "))) };
            self.tasks = tasks;
        }
        true
    }

    /// What Slurm says about the task of a run.
    pub fn task(&self, run: &str) -> Option<String> {
        self.tasks.of_runs.get(run).map(ToString::to_string)
    }

    /// Why there is no answer, or the tasks that belong to no single run.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Asks until nobody listens.
fn ask(root: &Path, sender: &SyncSender<Result<Tasks, String>>) {
    while sender.send(slurm::tasks(root, true).map_err(|failure| failure.reason())).is_ok() {
        thread::sleep(INTERVAL);
    }
}

/// `gradamp watch DIR --cancel`; returns the exit code.
///
/// **Errors:** not the folder of a sweep; `squeue` or `scancel` fails.
pub fn cancel(root: &Path, is_sweep: bool) -> Result<u8> {
    if !is_sweep || !slurm::is_submitted(root) {
        let message = format!("--cancel: {}: expected the folder of a sweep on Slurm", root.display());
        return Err(Failure::usage(message));
    }
    let active = slurm::tasks(root, false)?.active;
    if active.is_empty() {
        output::result("nothing to cancel: no task is queued or running");
        return Ok(SUCCESS);
    }
    slurm::cancel(&active)?;
    let jobs = active.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    output::result(format_args!("cancelled job {jobs}; runs that are being trained save first"));
    Ok(SUCCESS)
}
