//! The record of a run in progress: the outcome in `run.json` is `running` until the run ends.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{failure, interrupt};
use gradamp_study::run_folder::{RunFolder, RunRecord, RunStatus, timestamp};
use gradamp_study::shell;

/// The folder and the record of a run in progress. The first event that ends the run is recorded: its last epoch, an
/// error, a panic, or a second Ctrl-C.
#[derive(Debug)]
pub struct OngoingRun(Arc<Open>);

#[derive(Debug)]
struct Open {
    folder: RunFolder,
    /// `None` after the end of the run was recorded.
    record: Mutex<Option<RunRecord>>,
}

impl OngoingRun {
    /// Records that the run is in progress.
    ///
    /// **Errors:** the folder cannot be written.
    pub fn begin(folder: RunFolder, record: RunRecord) -> gradamp_study::run_folder::Result<Self> {
        folder.write_record(&record)?;
        let open = Arc::new(Open { folder, record: Mutex::new(Some(record)) });
        let (noted, root) = (Arc::downgrade(&open), open.folder.root().to_owned());
        interrupt::before_immediate_end(move || {
            let reason = "stopped at once by a second Ctrl-C, without saving";
            if let Some(open) = noted.upgrade() {
                let _ = open.end(RunStatus::Failed, Some(reason.into())); // the message below names the reason even if this fails
            }
            let again = shell::resume_command(&root);
            format!("error: {reason}; to continue from the last checkpoint: {again}")
        });
        Ok(Self(open))
    }

    /// The run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.0.folder
    }

    /// Records that the run has a checkpoint from which it can be resumed.
    ///
    /// **Errors:** the folder cannot be written.
    pub fn note_saved(&self) -> gradamp_study::run_folder::Result<()> {
        let mut record = self.0.record.lock().unwrap_or_else(PoisonError::into_inner);
        match record.as_mut() {
            Some(record) if !record.saved => {
                record.saved = true;
                self.0.folder.write_record(record)
            }
            _ => Ok(()),
        }
    }

    /// Records how the run ended, unless an end was recorded before.
    ///
    /// **Errors:** the folder cannot be written.
    pub fn end(&self, outcome: RunStatus, error: Option<String>) -> gradamp_study::run_folder::Result<()> {
        self.0.end(outcome, error)
    }
}

impl Open {
    fn end(&self, outcome: RunStatus, error: Option<String>) -> gradamp_study::run_folder::Result<()> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(going) = record.take() else { return Ok(()) };
        let end = Some(timestamp().rfc3339());
        self.folder.write_record(&RunRecord { end, outcome, error, ..going })
    }
}

/// If no end was recorded, a panic is dropping the run. The message of the panic was stored.
impl Drop for OngoingRun {
    fn drop(&mut self) {
        let reason = failure::last_panic().unwrap_or_else(|| "ended before all epochs were done".into());
        let _ = self.end(RunStatus::Failed, Some(reason)); // an error cannot be reported any more
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::{Value, json};

    use super::*;

    fn begin(root: &std::path::Path) -> OngoingRun {
        let record = json!({
            "version": "0", "commit": null, "model": "m", "parameters": 1, "seed": 1, "device": "cpu", "dataset": "d",
            "dataset_checksum": "0", "start": "now", "end": null, "outcome": "running", "error": null, "resumed": [],
            "expected_gains": null
        });
        OngoingRun::begin(RunFolder::create(root).unwrap(), serde_json::from_value(record).unwrap()).unwrap()
    }

    fn written(root: &std::path::Path) -> (String, Value) {
        let text = std::fs::read_to_string(root.join("run.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        (record["outcome"].as_str().unwrap().to_owned(), record["error"].clone())
    }

    #[test]
    fn the_first_recorded_end_of_a_run_counts() {
        let place = tempfile::tempdir().unwrap();
        let ongoing = begin(place.path());
        assert_eq!(written(place.path()).0, "running");
        ongoing.end(RunStatus::Diverged, Some("the loss is NaN".into())).unwrap();
        ongoing.end(RunStatus::Failed, Some("a full disk".into())).unwrap();
        drop(ongoing);
        assert_eq!(written(place.path()), ("diverged".into(), "the loss is NaN".into()));
    }

    #[test]
    fn a_panic_records_the_run_as_failed() {
        let place = tempfile::tempdir().unwrap();
        let ongoing = begin(place.path());
        let panics = move || {
            let _ongoing = ongoing;
            panic!("a panic of the test")
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let (outcome, error) = written(place.path());
        assert!(outcome == "failed" && error.is_string(), "{outcome} {error}");
    }
}
