//! How a run stands, as `run.json` tells: "running" until one thing ends it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::run_folder::{RunFolder, RunRecord, timestamp};
use crate::{failure, interrupt, shell};

/// The folder and the record of a run that goes on. Whatever ends it first is written down: its own end, an error on the way, a panic,
/// or a second Ctrl-C.
#[derive(Debug)]
pub struct Standing(Arc<Open>);

#[derive(Debug)]
struct Open {
    folder: RunFolder,
    /// `None` once the end is written.
    record: Mutex<Option<RunRecord>>,
}

impl Standing {
    /// Writes that the run goes on.
    ///
    /// **Errors:** a folder that cannot be written.
    pub fn begin(folder: RunFolder, record: RunRecord) -> crate::run_folder::Result<Self> {
        folder.write_record(&record)?;
        let open = Arc::new(Open { folder, record: Mutex::new(Some(record)) });
        let (noted, root) = (Arc::downgrade(&open), open.folder.root().to_owned());
        interrupt::at_once(move || {
            let reason = "stopped at once by a second Ctrl-C, without saving";
            if let Some(open) = noted.upgrade() {
                let _ = open.end("failed", Some(reason.into())); // where it cannot be written, the message tells
            }
            let again = format!("gradamp train --resume {}", shell::path(&root));
            format!("error: {reason}; to go on from the last checkpoint: {again}")
        });
        Ok(Self(open))
    }

    /// The run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.0.folder
    }

    /// Writes how the run ended, unless an end is written already.
    ///
    /// **Errors:** a folder that cannot be written.
    pub fn end(&self, outcome: &str, error: Option<String>) -> crate::run_folder::Result<()> {
        self.0.end(outcome, error)
    }
}

impl Open {
    fn end(&self, outcome: &str, error: Option<String>) -> crate::run_folder::Result<()> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(going) = record.take() else { return Ok(()) };
        let end = Some(timestamp().rfc3339());
        self.folder.write_record(&RunRecord { end, outcome: outcome.into(), error, ..going })
    }
}

/// Reached without an end only by a panic, whose message was kept.
impl Drop for Standing {
    fn drop(&mut self) {
        let reason = failure::last_panic().unwrap_or_else(|| "ended before it was done".into());
        let _ = self.end("failed", Some(reason)); // nobody is left to be told
    }
}
