//! The one error type of this crate.

use std::fmt;
use std::path::{Path, PathBuf};

/// What can go wrong with data; every message names the file or key, the place, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read a file or folder.
    #[error("{}: cannot be read: {source}{}", file.display(), looked_up(file, source))]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that its data set needs is not there.
    #[error("{file}: missing; {expected}")]
    Missing {
        /// The file, behind its folder or archive.
        file: String,
        /// The data set and all files it needs.
        expected: String,
    },
    /// A file is truncated, too long, corrupt, or holds what it must not.
    #[error("{file}, {place}: expected {expected}, found {found}")]
    Format {
        /// The file, behind its folder or archive.
        file: String,
        /// Where in the file.
        place: Place,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A path that holds none of the data sets asked for.
    #[error("{}: expected {expected}, found {found}", path.display())]
    NoDataset {
        /// Where it was looked for.
        path: PathBuf,
        /// The data sets and forms that would have been read.
        expected: String,
        /// What lies there instead.
        found: String,
    },
    /// What is wrong with the data that `$GRADAMP_DATA` names.
    #[error("{error}; the environment variable GRADAMP_DATA names {}", path.display())]
    Variable {
        /// What the variable holds.
        path: PathBuf,
        /// What is wrong there.
        error: Box<Error>,
    },
    /// Images, labels, class names or constants that do not fit each other.
    #[error("data set {name}: {message}")]
    Dataset {
        /// The data set's name.
        name: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A setting out of its range.
    #[error("{key}: {message}")]
    Setting {
        /// The setting, as the user would write it, such as `data.crop_padding`.
        key: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The host has no memory left.
    #[error("out of memory: {what} take {:.1} MiB; {advice}", *bytes as f64 / 1_048_576.0)]
    Memory {
        /// What it was for.
        what: String,
        /// How much it was.
        bytes: usize,
        /// What would fit.
        advice: String,
    },
    /// A thread that prepares batches stopped before its work was done.
    #[error("loader: batch {batch} was not prepared: {message}")]
    Worker {
        /// The batch, counted from 0 in its epoch.
        batch: usize,
        /// What stopped the thread.
        message: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many bytes from the file's beginning.
    Byte(u64),
    /// A record (an image and its labels), counted from 0, and where it begins.
    Record {
        /// The record, from 0.
        record: usize,
        /// Bytes from the file's beginning.
        byte: u64,
    },
    /// An element of a list in a pickle, counted from 0.
    Element(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Byte(byte) => write!(f, "byte {byte}"),
            Place::Record { record, byte } => write!(f, "record {record} (byte {byte})"),
            Place::Element(element) => write!(f, "label {element}"),
        }
    }
}

/// Where a relative path was looked up, for one that leads nowhere: it may belong to another folder.
fn looked_up(file: &Path, error: &std::io::Error) -> String {
    match std::env::current_dir() {
        Ok(folder) if file.is_relative() && error.kind() == std::io::ErrorKind::NotFound => {
            format!("; it was looked up from {}", folder.display())
        }
        _ => String::new(),
    }
}

impl Error {
    /// The error, with the variable's name where its content led to it.
    pub(crate) fn by_variable(self, variable: Option<&Path>) -> Self {
        match variable {
            Some(path) => Error::Variable { path: path.to_owned(), error: Box::new(self) },
            None => self,
        }
    }

    pub(crate) fn read(file: &Path, source: std::io::Error) -> Self {
        Error::Read { file: file.to_owned(), source }
    }

    pub(crate) fn format(
        file: &str,
        place: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Error::Format { file: file.to_owned(), place, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn setting(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Setting { key: key.into(), message: message.into() }
    }
}

impl From<Error> for gradamp_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Setting { key, message } => gradamp_core::Error::setting(key, message),
            other => gradamp_core::Error::external(other),
        }
    }
}
