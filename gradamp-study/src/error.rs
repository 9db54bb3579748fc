//! The errors of this crate.

use crate::config::KeyError;
use crate::run_folder;

/// An error of this crate. Every message names the file, folder, key or group that it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] KeyError),
    /// A run folder cannot be read or written, or is damaged.
    #[error(transparent)]
    RunFolder(#[from] run_folder::Error),
    /// An error of the core.
    #[error(transparent)]
    Core(#[from] gradamp_core::Error),
    /// An error of reading a data set.
    #[error(transparent)]
    Data(#[from] gradamp_data::Error),
    /// An error of reading or writing a model.
    #[error(transparent)]
    Model(#[from] gradamp_models::Error),
    /// The request is wrong, whatever the files contain.
    #[error("{0}")]
    Request(String),
    /// The files do not contain what the request needs.
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
