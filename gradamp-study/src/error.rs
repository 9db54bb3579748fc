//! What can go wrong in this crate.

use crate::config::KeyError;
use crate::run_folder;

/// What can go wrong in this crate; every message names the file, folder, key or group it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] KeyError),
    /// A run folder cannot be read or written, or is damaged.
    #[error(transparent)]
    RunFolder(#[from] run_folder::Error),
    /// What the core reports.
    #[error(transparent)]
    Core(#[from] gradamp_core::Error),
    /// What the readers of data sets report.
    #[error(transparent)]
    Data(#[from] gradamp_data::Error),
    /// What the readers and writers of models report.
    #[error(transparent)]
    Model(#[from] gradamp_models::Error),
    /// The request cannot be met whatever the files hold: the caller has to ask for something else.
    #[error("{0}")]
    Request(String),
    /// The files do not hold what the request needs.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Error::Request(message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Error::Failed(message.into())
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
