//! A run in a folder, with its dashboard.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure;
use crate::tui::Dashboard;
use gradamp_study::run_folder::{Change, Error, Follower, RunFolder, RunStatus};
use gradamp_study::shell;

/// How long a folder must be unchanged before the program checks whether a process still holds it.
const SILENCE: Duration = Duration::from_secs(5);

/// A run whose folder is watched for changes.
#[derive(Debug)]
pub struct Watched {
    root: PathBuf,
    follower: Follower,
    /// The state that is shown.
    pub dashboard: Dashboard,
    /// The time of the last change, or of the last check of the lock.
    heard: Instant,
    /// The last error of reading the folder.
    trouble: Option<String>,
}

impl Watched {
    /// Opens the run in `root` and reads all of it.
    ///
    /// **Errors:** the folder holds no run; a file is missing or damaged. The error names the line.
    pub fn open(root: &Path) -> failure::Result<Self> {
        let (follower, settings) = Follower::open(root)?;
        let dashboard = Dashboard::new(root.display().to_string(), settings.config.strategy);
        let heard = Instant::now();
        let mut watched = Self { root: root.to_owned(), follower, dashboard, heard, trouble: None };
        let changes = watched.follower.poll()?;
        changes.into_iter().for_each(|change| watched.dashboard.apply(change));
        watched.check_for_writer();
        Ok(watched)
    }

    /// Whether `run.json` exists.
    pub fn has_begun(&self) -> bool {
        self.dashboard.record.is_some()
    }

    /// Reads changes. Returns whether there are any.
    ///
    /// An error becomes a message, because the folder may become readable again, for example with another run in it.
    pub fn poll(&mut self) -> bool {
        match self.follower.poll() {
            Ok(changes) => self.apply(changes),
            Err(error) => self.apply_error(&error),
        }
    }

    fn apply(&mut self, mut changes: Vec<Change>) -> bool {
        if self.trouble.take().is_some() {
            // After a restart, the follower reports everything again.
            self.dashboard.is_folder_missing = false;
            changes.insert(0, Change::Restarted);
        }
        if changes.is_empty() {
            return self.heard.elapsed() >= SILENCE && self.check_for_writer();
        }
        self.heard = Instant::now();
        if changes.contains(&Change::Restarted) {
            // The folder may hold another run now, with other phases.
            if let Ok((_, settings)) = Follower::open(&self.root) {
                self.dashboard.strategy = settings.config.strategy;
            }
        }
        if self.dashboard.status == RunStatus::Killed {
            self.dashboard.status = RunStatus::Running;
        }
        changes.into_iter().for_each(|change| self.dashboard.apply(change));
        true
    }

    fn apply_error(&mut self, error: &Error) -> bool {
        let trouble = format!("error: {error}");
        let is_new = self.trouble.as_ref() != Some(&trouble);
        if is_new {
            self.dashboard.say(&trouble);
            self.dashboard.is_folder_missing = true;
            self.trouble = Some(trouble);
        }
        is_new
    }

    /// Marks a run as killed if `run.json` says `running` and no process holds the folder. Returns whether the status changed.
    fn check_for_writer(&mut self) -> bool {
        self.heard = Instant::now();
        let is_killed =
            self.dashboard.status == RunStatus::Running && RunFolder::is_held(&self.root) == Some(false);
        if is_killed {
            self.dashboard.status = RunStatus::Killed;
            let again = shell::resume_command(&self.root);
            self.dashboard.say(&format!("no process writes to this run; continue with: {again}"));
        }
        is_killed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tui::view;

    const CONFIG: &str = "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 4\n";

    fn record(outcome: &str, resumed: usize) -> String {
        let session = serde_json::json!({"start": "", "step": 1, "version": "0"});
        serde_json::json!({
            "version": "0", "model": "vgg11", "parameters": 1, "steps_per_epoch": 10, "seed": 0, "device": "cpu",
            "dataset": "shapes", "dataset_checksum": "", "start": "", "outcome": outcome,
            "resumed": vec![session; resumed], "expected_gains": [],
        })
        .to_string()
    }

    fn steps(steps: std::ops::Range<u64>) -> String {
        let line = |step| {
            serde_json::json!({
                "kind": "step", "epoch": step / 10, "step": step, "phase": 0, "lr": 0.1, "amplified": false,
                "amplified_sites": 0, "loss": 1.0, "accuracy": 0.5, "skipped": false, "images_per_second": 1.0,
                "seconds": 1.0,
            })
            .to_string()
        };
        steps.map(|step| line(step) + "\n").collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("config.toml", CONFIG);
        write("run.json", &record("running", 0));
        write("metrics.jsonl", &steps(0..15));
        write("amplification.jsonl", "");
        write("gradients.jsonl", "");
        write(".lock", "");
        folder
    }

    fn said(watched: &Watched) -> String {
        watched.dashboard.log.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_run_that_resumes_from_a_checkpoint_is_read_again() {
        let folder = folder();
        let mut watched = Watched::open(folder.path()).unwrap();
        assert_eq!(watched.dashboard.steps_done(), 15);
        assert!(!watched.poll(), "nothing has changed");
        fs::write(folder.path().join("run.json"), record("running", 1)).unwrap();
        fs::write(folder.path().join("metrics.jsonl"), steps(0..12)).unwrap();
        assert!(watched.poll());
        assert_eq!(watched.dashboard.steps_done(), 12);
        assert!(said(&watched).contains("dashboard starts again"), "{}", said(&watched));
        assert_eq!(watched.dashboard.loss.step.points().count(), 12, "no step may be shown twice");
    }

    #[test]
    fn a_running_run_without_a_writer_was_killed() {
        let folder = folder();
        let held = RunFolder::open(folder.path()).unwrap();
        let watched = Watched::open(folder.path()).unwrap();
        assert_eq!(watched.dashboard.status, RunStatus::Running);
        drop(held);
        let mut watched = Watched::open(folder.path()).unwrap();
        assert_eq!(watched.dashboard.status, RunStatus::Killed);
        assert!(said(&watched).contains("gradamp train --resume"), "{}", said(&watched));
        fs::write(folder.path().join("metrics.jsonl"), steps(0..16)).unwrap();
        assert!(watched.poll());
        assert_eq!(
            watched.dashboard.status,
            RunStatus::Running,
            "a new line shows that the run is in progress"
        );
    }

    #[test]
    fn a_missing_folder_and_damage_are_reported_once_and_may_be_repaired() {
        let folder = folder();
        let mut watched = Watched::open(folder.path()).unwrap();
        let hidden = folder.path().with_extension("hidden");
        fs::rename(folder.path(), &hidden).unwrap();
        assert!(watched.poll());
        assert!(!watched.poll(), "an error is reported only once");
        assert!(said(&watched).contains("no such folder"), "{}", said(&watched));
        let text = view::text((80, 24), |frame| {
            view::draw(frame, &watched.dashboard, &crate::tui::Ui::default());
        });
        assert!(text.lines().next().unwrap().ends_with("folder missing"), "{text}");
        fs::rename(&hidden, folder.path()).unwrap();
        assert!(watched.poll());
        assert_eq!((watched.dashboard.steps_done(), &watched.dashboard.status), (15, &RunStatus::Running));

        fs::write(folder.path().join("metrics.jsonl"), steps(0..15) + "{\"kind\"\n").unwrap();
        assert!(watched.poll());
        assert!(said(&watched).contains("metrics.jsonl: line 16: is damaged"), "{}", said(&watched));
        let error = Watched::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl: line 16"), "{error}");
        fs::write(folder.path().join("metrics.jsonl"), steps(0..17)).unwrap();
        assert!(watched.poll());
        assert_eq!(watched.dashboard.loss.step.points().count(), 17);
    }
}
