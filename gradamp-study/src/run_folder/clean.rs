//! What of a run's folder can be spared, and its removal.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint::{BEST, LAST};
use super::disk::{CHECKPOINTS, partial_files};
use super::summary::size;
use super::{Error, Result, RunFolder};

/// A checkpoint by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckpointName {
    /// The checkpoint of the best epoch.
    Best,
    /// The newest checkpoint, from which a run goes on.
    Last,
}

impl CheckpointName {
    /// All checkpoints.
    pub const ALL: [Self; 2] = [CheckpointName::Best, CheckpointName::Last];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            CheckpointName::Best => BEST,
            CheckpointName::Last => LAST,
        }
    }
}

/// A file or folder that a run can spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    /// The file or folder.
    pub path: PathBuf,
    /// The bytes that its removal frees.
    pub bytes: u64,
    /// What it is.
    pub what: &'static str,
    /// The checkpoint that it is, if it is one.
    checkpoint: Option<CheckpointName>,
}

/// What the run in `root` can spare: what interrupted writes left, and of a finished run the checkpoints `unwanted`. Empty if a
/// process may be writing to the run. Changes nothing.
///
/// **Errors:** a folder that cannot be read; a record that is changed.
pub fn spares(root: &Path, unwanted: &[CheckpointName]) -> Result<Vec<Spare>> {
    match RunFolder::is_held(root) {
        Some(true) => Ok(Vec::new()),
        _ => list(root, unwanted),
    }
}

fn list(root: &Path, unwanted: &[CheckpointName]) -> Result<Vec<Spare>> {
    let checkpoints = root.join(CHECKPOINTS);
    let spare = |path: PathBuf, what, checkpoint| Spare { bytes: size(&path), path, what, checkpoint };
    let left = "left by an interrupted write";
    let (last, best) = (RunFolder::last_of(root), RunFolder::best_of(root));
    let mut all = Vec::new();
    for path in partial_files(&[root, &checkpoints, last.path(), best.path()])? {
        all.push(spare(path, left, None));
    }
    for path in [&last, &best].into_iter().flat_map(|checkpoint| checkpoint.leftovers()) {
        all.push(spare(path, left, None));
    }
    let is_finished = RunFolder::record_of(root)?.is_some_and(|record| record.is_finished());
    for &name in CheckpointName::ALL.iter().filter(|name| is_finished && unwanted.contains(name)) {
        let path = checkpoints.join(name.name());
        if path.is_dir() {
            all.push(spare(path, "checkpoint of a finished run", Some(name)));
        }
    }
    Ok(all)
}

/// Removes what [`spares`] lists, and returns it. `run.json` notes which checkpoints were removed, so that their absence is no
/// damage.
///
/// **Errors:** a run that a process is writing to; a file or folder that cannot be removed.
pub fn remove_spares(root: &Path, unwanted: &[CheckpointName]) -> Result<Vec<Spare>> {
    let folder = RunFolder::open(root)?; // holds the run's lock until the end
    let all = list(root, unwanted)?;
    let names = all.iter().filter_map(|spare| spare.checkpoint);
    let names: Vec<String> = names.map(|name| name.name().to_owned()).collect();
    if let (false, Some(mut record)) = (names.is_empty(), folder.read_record()?) {
        record.removed.extend(names);
        record.removed.sort();
        record.removed.dedup();
        folder.write_record(&record)?;
    }
    for Spare { path, .. } in &all {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.map_err(Error::io(path, "remove"))?;
    }
    Ok(all)
}
