//! The run folder: all that a run leaves.
//!
//! | file | content |
//! |---|---|
//! | `config.toml` | every setting as resolved, with where it came from |
//! | `run.json` | version, commit, seed, device, data, times, outcome, expected gains, the seal of `config.toml`, its own seal |
//! | `metrics.jsonl` | a line per step interval and per epoch |
//! | `amplification.jsonl` | each draw of amplified sites |
//! | `gradients.jsonl` | per epoch and site: gradients before and after amplification |
//! | `evaluations.jsonl` | per evaluation: which examples were right, and which classes were taken for which |
//! | `checkpoints/last`, `checkpoints/best` | the model, the velocities, where the run stands, the seals of both and of the logs |
//!
//! Epochs, steps and phases are counted from 0.

mod checkpoint;
mod clock;
mod data;
mod findings;
mod follow;
pub mod lines;
mod logs;
mod owned;
mod place;
mod record;
mod recorder;
pub(crate) mod seal;
mod swap;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use gradamp_core::files;

pub use checkpoint::{Checkpoint, LoadedCheckpoint, OpenCheckpoint, read_model};
pub use clock::{Timestamp, timestamp};
pub use data::RunData;
pub use findings::{Finding, Verdict, findings};
pub use follow::{Change, Follower};
pub use logs::{Log, LogSeals, Logs, PerLog};
pub use owned::check_not_owned;
pub use record::{RunRecord, Session, VERSION, commit};
pub use recorder::Recorder;
pub use seal::FileSeal;

use place::Place;

use crate::config::{Layers, Resolved};

/// What can go wrong with a run folder; every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A new run was to begin where there is one already.
    #[error("{}: already holds a run ({found}); choose another --out, or continue it with --resume", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The file that gives it away.
        found: &'static str,
    },
    /// The folder of a run is not where it was when the run began to write to it.
    #[error("{}: this folder was {fate}", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
        /// What became of it, and how to go on.
        fate: String,
    },
    /// A file of a run is not what it should be.
    #[error("{}: {message}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// A checkpoint is not what it should be, and another one is.
    #[error("{error}; {whole} is whole")]
    Damaged {
        /// What is wrong.
        error: Box<Error>,
        /// The checkpoints that can be used instead.
        whole: String,
    },
    /// A model's file cannot be written or read.
    #[error(transparent)]
    Model(#[from] gradamp_models::Error),
    /// The backend could not be read.
    #[error(transparent)]
    Core(#[from] gradamp_core::Error),
}

impl Error {
    /// The system refused to do `action` with the file or folder at `path`.
    pub fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Error::Io { path: path.to_owned(), action, source }
    }

    /// The file or folder at `path` is not what it should be.
    pub fn broken(path: &Path, message: impl Into<String>) -> Self {
        Error::Broken { path: path.to_owned(), message: message.into() }
    }
}

/// A device that failed while it was read for a checkpoint is a device that failed.
impl From<Error> for gradamp_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) | Error::Model(gradamp_models::Error::Core(error)) => error,
            other => gradamp_core::Error::external(other),
        }
    }
}

/// `Result` with the run folder's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

const CONFIG: &str = "config.toml";
const RECORD: &str = "run.json";
const CHECKPOINTS: &str = "checkpoints";

/// A run's folder, held by this process alone.
#[derive(Debug)]
pub struct RunFolder {
    place: Place,
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
        // Another run may have begun there, and ended, since it was looked at.
        Self::check_free(root)?;
        folder.sweep()?; // a run that was killed before it had settings was none, and is begun anew
        Ok(folder)
    }

    /// Makes the folder of a new run below `parent`, called `name`, with a number behind it where that is taken. It is the
    /// making that finds out: of several runs that begin at once each gets a folder of its own.
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

    /// **Errors:** a folder that already holds a run; a path at which a run cannot be.
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

    /// The settings of the run in `root`, which is only to be read.
    ///
    /// **Errors:** a folder that holds no run; settings that were changed since the run began, or that are none.
    pub fn settings_of(root: &Path) -> crate::Result<Resolved> {
        let path = Self::config_of(root)?;
        if let Some(seal) = RunRecord::read(root)?.and_then(|record| record.config) {
            seal.check(&path, &FileSeal::of(&path)?)?;
        }
        Ok(Layers { file: Some(path), ..Layers::default() }.resolve()?)
    }

    /// The seal of the settings' file.
    ///
    /// **Errors:** a file that cannot be read.
    pub fn config_seal(&self) -> Result<FileSeal> {
        FileSeal::of(&self.config_path())
    }

    /// Whether a process is writing to the run in `root`, as far as that is known.
    pub fn is_in_use(root: &Path) -> bool {
        Self::is_held(root) == Some(true)
    }

    /// The same; `None` where it cannot be known, as on network drives without locks.
    pub fn is_held(root: &Path) -> Option<bool> {
        let lock = files::open(&root.join(".lock")).ok()?;
        match lock.try_lock_shared() {
            Ok(()) => Some(false),
            Err(fs::TryLockError::WouldBlock) => Some(true),
            Err(fs::TryLockError::Error(_)) => None,
        }
    }

    /// The settings' file of the run in `root`, which is only to be read.
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
            // Who only asked whether it is held lets go of it at once.
            std::thread::sleep(std::time::Duration::from_millis(10));
            locked = lock.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::broken(root, "another gradamp is writing to this run"));
            }
            // Some network drives know no locks; a run there is as good as one elsewhere.
            Err(fs::TryLockError::Error(_)) => {}
        }
        Ok(Self { place: Place::hold(root)?, _lock: lock })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.place.path()
    }

    /// **Errors:** the folder was removed or renamed since it was opened.
    pub fn check_place(&self) -> Result<()> {
        self.place.check()
    }

    /// The file with the settings.
    pub fn config_path(&self) -> PathBuf {
        self.root().join(CONFIG)
    }

    /// Writes the settings.
    pub fn write_config(&self, text: &str) -> Result<()> {
        write_file(&self.config_path(), text.as_bytes())
    }

    /// Where the last checkpoint is.
    pub fn last(&self) -> Checkpoint {
        Self::last_of(self.root())
    }

    /// Where the best checkpoint is.
    pub fn best(&self) -> Checkpoint {
        Self::best_of(self.root())
    }

    /// The last checkpoint of the run in `root`, which is only to be read.
    pub fn last_of(root: &Path) -> Checkpoint {
        Checkpoint::new(root.join(CHECKPOINTS).join(checkpoint::LAST))
    }

    /// The best checkpoint of the run in `root`, which is only to be read.
    pub fn best_of(root: &Path) -> Checkpoint {
        Checkpoint::new(root.join(CHECKPOINTS).join(checkpoint::BEST))
    }

    /// Makes the folder of the checkpoints, once when a process begins: were it made whenever it is missing, a run would write
    /// into whatever stands in its own folder's place.
    ///
    /// **Errors:** a folder that was removed or renamed, or cannot be written.
    pub fn make_checkpoints(&self) -> Result<()> {
        self.check_place()?;
        let folder = self.root().join(CHECKPOINTS);
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(Error::io(&folder, "make this folder"))?;
            gradamp_models::sync_folder(self.root())?;
        }
        Ok(())
    }

    /// Removes what an earlier process left half-written, beside checkpoints that are whole.
    ///
    /// **Errors:** a file or folder that cannot be removed.
    pub fn sweep(&self) -> Result<()> {
        let (last, best) = (self.last(), self.best());
        last.sweep()?;
        best.sweep()?;
        let checkpoints = self.root().join(CHECKPOINTS);
        for path in partial_files(&[self.root(), &checkpoints, last.path(), best.path()])? {
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
        Ok(())
    }

    /// Reads `run.json`; `None` where the run was killed before it was written.
    ///
    /// **Errors:** a file that is changed.
    pub fn read_record(&self) -> Result<Option<RunRecord>> {
        Self::record_of(self.root())
    }

    /// The same, of the run in `root`.
    ///
    /// **Errors:** a file that is changed.
    pub fn record_of(root: &Path) -> Result<Option<RunRecord>> {
        RunRecord::read(root)
    }

    /// Writes `run.json`.
    ///
    /// **Errors:** a folder that was removed or renamed; a file that cannot be written.
    pub fn write_record(&self, record: &RunRecord) -> Result<()> {
        self.check_place()?;
        write_json(&self.root().join(RECORD), record)
    }
}

/// The files in `folders` that a process was writing when it was killed.
fn partial_files(folders: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
            let path = entry.map_err(Error::io(folder, "read"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') && name.ends_with(".partial") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Writes a small file: whole or not at all.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = |out: &mut dyn std::io::Write| {
        out.write_all(bytes).map_err(|source| gradamp_models::Error::Io {
            file: path.display().to_string(),
            action: "write",
            source,
        })
    };
    Ok(gradamp_models::write_atomically(path, write)?)
}

/// Writes a value as JSON with a seal.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::broken(path, format!("cannot be put as JSON: {error}")))?;
    text.push('\n');
    write_file(path, seal::FILE.seal(&text).as_bytes())
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(read_sealed_json(path)?.0)
}

/// Reads what [`write_json`] wrote, and says whether it has a seal: earlier versions of the program wrote none.
///
/// **Errors:** a file that is missing, changed or of another version.
pub(crate) fn read_sealed_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(T, bool)> {
    let bytes = files::read(path).map_err(Error::io(path, "read"))?;
    parse_sealed_json(path, bytes)
}

fn parse_sealed_json<T: serde::de::DeserializeOwned>(path: &Path, bytes: Vec<u8>) -> Result<(T, bool)> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::broken(path, format!("is damaged or of another version: {error}"))
    };
    let text = String::from_utf8(bytes).map_err(|error| damaged(&error))?;
    let sealed = seal::FILE.unseal(&text).map_err(|message| Error::broken(path, message))?;
    let is_sealed = sealed.is_some();
    let value = serde_json::from_str(&sealed.unwrap_or(text)).map_err(|error| damaged(&error))?;
    Ok((value, is_sealed))
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
