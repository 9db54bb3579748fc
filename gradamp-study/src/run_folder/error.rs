//! What can go wrong with a run folder.

use std::path::{Path, PathBuf};

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
