//! Claims on runs: of all processes and machines that share a sweep, one trains a run.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::lease::Lease;
use crate::run_folder::{Error, Result};

/// A claim on a run. While a process holds the claim, no other process of the sweep trains the run.
///
/// A claim is a lock, which excludes the processes of this machine and ends with its process, and a lease, which excludes other machines
/// whether or not the file system has locks.
#[derive(Debug)]
pub struct Claim {
    lease: Lease,
    _lock: File,
}

impl Claim {
    /// Claims the run called `name`. Returns `None` if another process holds the claim.
    pub fn acquire(root: &Path, name: &str) -> Result<Option<Self>> {
        let lock = open_lock(root, name)?;
        let excludes = match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Ok(()) => true,
            Err(TryLockError::Error(_)) => false, // a file system without locks
        };
        let path = lease_path(root, name);
        let lease = Lease::take(&path, excludes).map_err(Error::io(&path, "create this file"))?;
        Ok(lease.map(|lease| Self { lease, _lock: lock }))
    }

    /// Whether some process holds a claim on the run.
    pub fn is_held(root: &Path, name: &str) -> bool {
        let file = File::options().write(true).open(lock_path(root, name));
        let is_locked = file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        is_locked || Lease::is_held(&lease_path(root, name))
    }

    /// A flag that is set when another machine took the claim over, because this one could not write for minutes.
    pub fn lost(&self) -> Arc<AtomicBool> {
        self.lease.lost()
    }
}

fn lock_path(root: &Path, name: &str) -> PathBuf {
    root.join(".claims").join(name)
}

fn lease_path(root: &Path, name: &str) -> PathBuf {
    root.join(".claims").join(format!("{name}.lease"))
}

/// Opens the lock called `name`, and makes it if there is none.
pub(super) fn open_lock(root: &Path, name: &str) -> Result<File> {
    let path = lock_path(root, name);
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.map_err(Error::io(&path, "create this file"))
}

/// Creates a folder inside the sweep's folder. If the sweep's folder was removed or renamed, this is an error: the sweep's folder
/// is not created again.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        created => created.map_err(Error::io(path, "make this folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_claimed_once() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Claim::is_held(root.path(), "a"), "nobody has claimed the run yet");
        let claim = Claim::acquire(root.path(), "a").unwrap();
        assert!(claim.is_some() && Claim::is_held(root.path(), "a"));
        assert!(Claim::acquire(root.path(), "a").unwrap().is_none());
        assert!(Claim::acquire(root.path(), "b").unwrap().is_some(), "another run");
        drop(claim);
        assert!(!Claim::is_held(root.path(), "a") && Claim::acquire(root.path(), "a").unwrap().is_some());
    }

    /// A process that was killed leaves its lease, and its lock ends with it.
    #[test]
    fn the_claim_of_a_killed_process_of_this_machine_is_free_at_once() {
        let root = tempfile::tempdir().unwrap();
        let claim = Claim::acquire(root.path(), "a").unwrap().unwrap();
        let path = lease_path(root.path(), "a");
        let text = fs::read(&path).unwrap();
        drop(claim);
        fs::write(&path, text).unwrap();
        assert!(Claim::acquire(root.path(), "a").unwrap().is_some());
    }
}
