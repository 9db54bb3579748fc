//! A run's folder: how it is made, opened and locked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::checkpoint::{self, Checkpoint};
use super::disk::{CHECKPOINTS, CONFIG, RECORD, partial_files, write_file, write_json};
use super::error::{Error, Result};
use super::held_folder::HeldFolder;
use super::logs::Log;
use super::owned::check_not_owned;
use super::record::RunRecord;
use super::seal::FileSeal;
use crate::config::{Layers, Resolved};

/// A run's folder, held by this process alone.
#[derive(Debug)]
pub struct RunFolder {
    held: HeldFolder,
    /// Locked for as long as the folder is open, so that no second process writes to it.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a new run, with the folders above it.
    ///
    /// **Errors:** a folder that already holds a run, or cannot be written.
    pub fn create(root: &Path) -> Result<Self> {
        Self::check_free(root)?;
        fs::create_dir_all(root).map_err(Error::io(root, "make this folder"))?;
        let folder = Self::lock(root)?;
        // Another run may have begun and ended there between the first check and the lock.
        Self::check_free(root)?;
        folder.remove_leftovers()?; // a run that was killed before it wrote its settings left nothing to keep
        Ok(folder)
    }

    /// Makes the folder of a new run below `parent`. It is called `name`, or `name-2`, `name-3` and so on if folders of these names
    /// exist. Runs that begin at the same time get different folders.
    ///
    /// **Errors:** a folder that cannot be made.
    pub fn create_named(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::io(parent, "make this folder"))?;
        let mut number = 1;
        loop {
            let root = if number == 1 { parent.join(name) } else { parent.join(format!("{name}-{number}")) };
            match fs::create_dir(&root) {
                Ok(()) => return Self::lock(&root),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io(&root, "make this folder")(error)),
            }
        }
    }

    /// Checks that a new run can be made in `root`.
    ///
    /// **Errors:** a folder that already holds a run; a path of something else than a folder; a folder that belongs to a sweep's
    /// run or to a checkpoint.
    pub fn check_free(root: &Path) -> Result<()> {
        if fs::symlink_metadata(root).is_ok() && !root.is_dir() {
            return Err(Error::broken(root, "expected the path of a folder to make, found something else"));
        }
        check_not_owned(root)?;
        for file in [CONFIG, RECORD].into_iter().chain(Log::ALL.map(Log::name)).chain([CHECKPOINTS]) {
            if root.join(file).exists() {
                return Err(Error::Taken { path: root.to_owned(), found: file });
            }
        }
        Ok(())
    }

    /// Opens the folder of a run.
    ///
    /// **Errors:** a folder that holds no run, or is in use by another process.
    pub fn open(root: &Path) -> Result<Self> {
        Self::config_of(root)?;
        Self::lock(root)
    }

    /// The settings of the run in `root`. Does not lock the folder.
    ///
    /// **Errors:** a folder that holds no run; settings that were changed since the run began, or that are not valid.
    pub fn settings_of(root: &Path) -> crate::Result<Resolved> {
        let path = Self::config_of(root)?;
        if let Some(seal) = RunRecord::read(root)?.and_then(|record| record.config) {
            seal.check(&path, &FileSeal::read(&path)?)?;
        }
        Ok(Layers { file: Some(path), is_stored: true, ..Layers::default() }.resolve()?)
    }

    /// The seal of the settings' file.
    ///
    /// **Errors:** a file that cannot be read.
    pub fn config_seal(&self) -> Result<FileSeal> {
        FileSeal::read(&self.config_path())
    }

    /// Whether a process is known to be writing to the run in `root`.
    pub fn is_in_use(root: &Path) -> bool {
        Self::is_held(root) == Some(true)
    }

    /// Whether a process is writing to the run in `root`; `None` if that cannot be known, as on network drives without locks.
    pub fn is_held(root: &Path) -> Option<bool> {
        let lock = files::open(&root.join(".lock")).ok()?;
        match lock.try_lock_shared() {
            Ok(()) => Some(false),
            Err(fs::TryLockError::WouldBlock) => Some(true),
            Err(fs::TryLockError::Error(_)) => None,
        }
    }

    /// The settings' file of the run in `root`. Does not lock the folder.
    ///
    /// **Errors:** a folder that holds no run.
    pub fn config_of(root: &Path) -> Result<PathBuf> {
        if !root.is_dir() {
            return Err(Error::broken(root, "expected the folder of a run, found no such folder"));
        }
        if !root.join(CONFIG).is_file() {
            return Err(Error::broken(
                root,
                format!("expected the folder of a run, found no {CONFIG} in it"),
            ));
        }
        Ok(root.join(CONFIG))
    }

    fn lock(root: &Path) -> Result<Self> {
        gradamp_models::sync_above(root)?; // a checkpoint counts on the folders that lead to it
        let path = root.join(".lock");
        let options = || File::options().create(true).truncate(false).write(true).open(&path);
        let lock = options().map_err(Error::io(&path, "create this file"))?;
        let mut locked = lock.try_lock();
        for _ in 0..5 {
            if !matches!(locked, Err(fs::TryLockError::WouldBlock)) {
                break;
            }
            // Another process may hold the lock for a moment, only to find out whether the folder is in use.
            std::thread::sleep(std::time::Duration::from_millis(10));
            locked = lock.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::broken(root, "another process is writing to this run"));
            }
            // Some network drives have no locks. Runs are allowed there without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        Ok(Self { held: HeldFolder::hold(root)?, _lock: lock })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.held.path()
    }

    /// Checks that the folder is still at its path.
    ///
    /// **Errors:** the folder was removed or renamed since it was opened.
    pub fn check_still_there(&self) -> Result<()> {
        self.held.check()
    }

    /// The file with the settings.
    pub fn config_path(&self) -> PathBuf {
        self.root().join(CONFIG)
    }

    /// Writes the settings.
    pub fn write_config(&self, text: &str) -> Result<()> {
        write_file(&self.config_path(), text.as_bytes())
    }

    /// The last checkpoint.
    pub fn last(&self) -> Checkpoint {
        Self::last_of(self.root())
    }

    /// The best checkpoint.
    pub fn best(&self) -> Checkpoint {
        Self::best_of(self.root())
    }

    /// The last checkpoint of the run in `root`. Does not lock the folder.
    pub fn last_of(root: &Path) -> Checkpoint {
        Checkpoint::new(root.join(CHECKPOINTS).join(checkpoint::LAST))
    }

    /// The best checkpoint of the run in `root`. Does not lock the folder.
    pub fn best_of(root: &Path) -> Checkpoint {
        Checkpoint::new(root.join(CHECKPOINTS).join(checkpoint::BEST))
    }

    /// Makes the folder of the checkpoints. A process does this once, when it begins: if the folder is missing later, the run's folder
    /// was replaced, and the run must not write into another folder.
    ///
    /// **Errors:** a folder that was removed or renamed, or cannot be written.
    pub fn make_checkpoints(&self) -> Result<()> {
        self.check_still_there()?;
        let folder = self.root().join(CHECKPOINTS);
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(Error::io(&folder, "make this folder"))?;
            gradamp_models::sync_folder(self.root())?;
        }
        Ok(())
    }

    /// Removes files that an earlier process left half-written, and what interrupted savings left beside complete checkpoints.
    ///
    /// **Errors:** a file or folder that cannot be removed.
    pub fn remove_leftovers(&self) -> Result<()> {
        let (last, best) = (self.last(), self.best());
        last.remove_leftovers()?;
        best.remove_leftovers()?;
        let checkpoints = self.root().join(CHECKPOINTS);
        for path in partial_files(&[self.root(), &checkpoints, last.path(), best.path()])? {
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
        Ok(())
    }

    /// Reads `run.json`; `None` if the run was killed before the file was written.
    ///
    /// **Errors:** a file that is changed.
    pub fn read_record(&self) -> Result<Option<RunRecord>> {
        Self::record_of(self.root())
    }

    /// Reads `run.json` of the run in `root`; `None` if the run was killed before the file was written.
    ///
    /// **Errors:** a file that is changed.
    pub fn record_of(root: &Path) -> Result<Option<RunRecord>> {
        RunRecord::read(root)
    }

    /// Writes `run.json`.
    ///
    /// **Errors:** a folder that was removed or renamed; a file that cannot be written.
    pub fn write_record(&self, record: &RunRecord) -> Result<()> {
        self.check_still_there()?;
        write_json(&self.root().join(RECORD), record)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_of_one_name_that_begin_at_once_are_each_in_a_folder_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let create = || RunFolder::create_named(parent.path(), "run").map(|folder| folder.root().to_owned());
        let roots: BTreeSet<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        let expected = (2..=16).map(|number| parent.path().join(format!("run-{number}")));
        assert_eq!(roots, expected.chain([parent.path().join("run")]).collect());
    }
}
