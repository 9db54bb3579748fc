//! Why the program ends without success, and with which exit code.

use std::error::Error;
use std::fmt;

use crate::config::KeyError;

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// Something failed: data, files, memory, a run that diverged.
pub const FAILED: u8 = 1;
/// The command line or a setting is wrong; nothing was begun.
pub const USAGE: u8 = 2;
/// Ctrl-C: the run was saved and can be resumed.
pub const INTERRUPTED: u8 = 130;

/// An error and the exit code it ends the program with.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    error: Box<dyn Error + Send + Sync>,
}

/// `Result` with a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A wrong command line or setting.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// Anything else that failed.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: FAILED, error: error.into() }
    }
}

impl fmt::Display for Failure {
    /// The error, and those causes that its own message does not already tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.error.to_string();
        write!(f, "error: {told}")?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !told.contains(&message) {
                write!(f, "\n  because: {message}")?;
            }
            told.push_str(&message);
            cause = error.source();
        }
        Ok(())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Failure::usage(error)
    }
}

impl From<gradamp_core::Error> for Failure {
    fn from(error: gradamp_core::Error) -> Self {
        match error {
            gradamp_core::Error::Setting { .. } => Failure::usage(error),
            _ => Failure::failed(error),
        }
    }
}

impl From<gradamp_data::Error> for Failure {
    fn from(error: gradamp_data::Error) -> Self {
        Failure::failed(error)
    }
}

impl From<gradamp_models::Error> for Failure {
    fn from(error: gradamp_models::Error) -> Self {
        Failure::failed(error)
    }
}

impl From<crate::run_folder::Error> for Failure {
    fn from(error: crate::run_folder::Error) -> Self {
        Failure::failed(error)
    }
}
