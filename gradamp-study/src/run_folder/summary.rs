//! How a run stands, at a glance: what a list of runs shows.

use std::fs;
use std::path::{Path, PathBuf};

use super::lines::{self, EpochLine};
use super::{Result, RunData, RunFolder, RunRecord, RunStatus, Timestamp, timestamp};

/// How far below a folder runs are looked for.
const DEPTH: usize = 6;

/// A run at a glance.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The folder.
    pub root: PathBuf,
    /// What became of the run; [`RunStatus::Killed`] if it says that it is running, but no process holds its folder.
    pub status: RunStatus,
    /// The run's record; `None` if the run was killed before the record was written, or the folder is damaged.
    pub record: Option<RunRecord>,
    /// The epochs that are done.
    pub epochs: usize,
    /// The epochs of the strategy; `None` if the settings cannot be read.
    pub planned: Option<usize>,
    /// The accuracy of the best epoch on the test examples.
    pub best: Option<f64>,
    /// The accuracy of the last evaluated epoch on the test examples.
    pub last: Option<f64>,
    /// The bytes of all files in the folder.
    pub bytes: u64,
    /// Seconds since the run began.
    pub age: Option<u64>,
    /// What is wrong with the folder.
    pub trouble: Option<String>,
}

impl RunSummary {
    /// Reads how the run in `root` stands. Damage is part of the result.
    pub fn read(root: &Path) -> Self {
        let mut trouble = None;
        let mut note = |error: String| trouble = trouble.take().or(Some(error));
        let planned = RunFolder::settings_of(root).map_err(|error| note(error.to_string())).ok();
        let (record, epochs): (Option<RunRecord>, Vec<EpochLine>) =
            RunData::outline(root).map_err(|error| note(error.to_string())).unwrap_or_default();
        let is_held = RunFolder::is_held(root);
        let status = match record.as_ref().map(|record| record.outcome) {
            Some(RunStatus::Running) if is_held == Some(false) => RunStatus::Killed,
            None if is_held == Some(true) => RunStatus::Running,
            None => RunStatus::Killed,
            Some(status) => status,
        };
        let start = record.as_ref().and_then(|record| Timestamp::parse(&record.start));
        Self {
            root: root.to_owned(),
            status,
            epochs: epochs.len(),
            planned: planned.map(|settings| settings.config.strategy.epochs()),
            best: lines::best(&epochs).and_then(|epoch| epoch.test_accuracy),
            last: lines::last_evaluated(&epochs).and_then(|epoch| epoch.test_accuracy),
            bytes: size(root),
            age: start.map(|start| timestamp().seconds().saturating_sub(start.seconds())),
            record,
            trouble,
        }
    }
}

/// Finds the folders of all runs in `folder` and in the folders below, sorted by name. Links are not followed.
///
/// **Errors:** a folder that cannot be read.
pub fn find_runs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    search(folder, DEPTH, &mut found)?;
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if RunFolder::config_of(folder).is_ok() {
        found.push(folder.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder).map_err(super::Error::io(folder, "read"))? {
        let entry = entry.map_err(super::Error::io(folder, "read"))?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            inner.push(entry.path());
        }
    }
    inner.sort();
    for path in inner {
        match search(&path, depth - 1, found) {
            Err(super::Error::Io { .. }) | Ok(()) => {} // a folder of another user does not hide the others
            error => return error,
        }
    }
    Ok(())
}

/// The bytes of all files at and below `path`. What cannot be read counts as nothing.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
