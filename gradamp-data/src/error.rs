//! The error type of this crate.

use std::fmt;
use std::path::{Path, PathBuf};

/// What can go wrong with data. Every message names the file or the setting, the place in the file, what was expected
/// and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that the system cannot read.
    #[error("{}: cannot be read: {source}{}", file.display(), looked_up(file, source))]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of the data set is missing.
    #[error("{file}: missing; {expected}")]
    Missing {
        /// The file's name, preceded by its folder or archive.
        file: String,
        /// The data set, and all the files that it needs.
        expected: String,
    },
    /// A file that is too short, too long or corrupt, or whose content is not allowed.
    #[error("{file}, {place}: expected {expected}, found {found}")]
    Format {
        /// The file's name, preceded by its folder or archive.
        file: String,
        /// The place in the file.
        place: Place,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A path at which none of the requested data sets was found.
    #[error("{}: expected {expected}, found {found}", path.display())]
    NoDataset {
        /// The path.
        path: PathBuf,
        /// The data sets and file formats that can be read.
        expected: String,
        /// What the path holds.
        found: String,
    },
    /// An error in the data that the environment variable `GRADAMP_DATA` names.
    #[error("{error}; the environment variable GRADAMP_DATA names {}", path.display())]
    Variable {
        /// The value of the variable.
        path: PathBuf,
        /// What went wrong with that data.
        error: Box<Error>,
    },
    /// A file of a published data set that is not the published file, although it can be read.
    #[error("{file}: differs from the published file: expected {sum} {expected}, found {found}")]
    Differs {
        /// The file's name, preceded by its folder or archive.
        file: String,
        /// The name of the checksum.
        sum: &'static str,
        /// The published checksum.
        expected: &'static str,
        /// The file's checksum.
        found: String,
    },
    /// An image file that is damaged, or that does not suit its data set.
    #[error("{file}: {message}")]
    Image {
        /// The file's name.
        file: String,
        /// What was expected and what was found.
        message: String,
    },
    /// Images, labels, class names or constants that do not match each other.
    #[error("data set {name}: {message}")]
    Dataset {
        /// The data set's name.
        name: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A field of the settings that is out of range.
    #[error("{key}: {message}")]
    Setting {
        /// The field's name, such as `crop_padding`.
        key: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The host does not have enough memory.
    #[error("out of memory: {what} take {:.1} MiB; {advice}{}", *bytes as f64 / 1_048_576.0, in_brackets(field))]
    Memory {
        /// What the memory is for.
        what: String,
        /// The number of bytes.
        bytes: usize,
        /// How much would fit, as advice.
        advice: String,
        /// The field of the settings that determines the size, if there is one.
        field: Option<String>,
    },
    /// A thread that prepares batches ended before it finished.
    #[error("loader: batch {batch} was not prepared: {message}")]
    Worker {
        /// The batch, counted from 0 in its epoch.
        batch: usize,
        /// Why the thread ended.
        message: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// An offset from the beginning of the file, in bytes.
    Byte(u64),
    /// A record, which is an image with its labels.
    Record {
        /// The number of the record, counted from 0.
        record: usize,
        /// The offset from the beginning of the file, in bytes.
        byte: u64,
    },
    /// An element of a list in a pickle, counted from 0.
    Element(usize),
    /// A row of a table, counted from 0.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Byte(byte) => write!(f, "byte {byte}"),
            Place::Record { record, byte } => write!(f, "record {record} (byte {byte})"),
            Place::Row(row) => write!(f, "row {row}"),
            Place::Element(element) => write!(f, "label {element}"),
        }
    }
}

/// For a relative path that does not exist: a note that names the folder in which it was looked up, since the user
/// may have meant another folder.
fn looked_up(file: &Path, error: &std::io::Error) -> String {
    match std::env::current_dir() {
        Ok(folder) if file.is_relative() && error.kind() == std::io::ErrorKind::NotFound => {
            format!("; the path was looked up from {}", folder.display())
        }
        _ => String::new(),
    }
}

/// The field of a setting in brackets; an empty text without a field.
fn in_brackets(field: &Option<String>) -> String {
    field.as_ref().map_or(String::new(), |field| format!(" ({field})"))
}

impl Error {
    /// The same error for settings that are the table `table` of a larger configuration: a field's name gets the
    /// prefix `table.`, as in `data.crop_padding`.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        match self {
            Error::Setting { key, message } => Error::Setting { key: format!("{table}.{key}"), message },
            Error::Memory { what, bytes, advice, field } => {
                Error::Memory { what, bytes, advice, field: field.map(|field| format!("{table}.{field}")) }
            }
            Error::Variable { path, error } => Error::Variable { path, error: Box::new(error.within(table)) },
            other => other,
        }
    }

    /// Whether the error says that no data set was found, as opposed to a damaged one.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Error::Setting { key, .. } => key == "source",
            Error::NoDataset { .. } => true,
            Error::Read { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Error::Variable { error, .. } => error.is_missing(),
            _ => false,
        }
    }

    /// The same error, wrapped in [`Error::Variable`] if the path came from the environment variable.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_within_a_table_name_the_full_key() {
        let setting = || Error::setting("workers", "expected 0 to 64, found 65");
        assert_eq!(setting().within("data").to_string(), "data.workers: expected 0 to 64, found 65");
        let nested = Error::Variable { path: "x".into(), error: Box::new(setting()) };
        assert!(nested.within("data").to_string().starts_with("data.workers: "));
        let memory = |field: Option<&str>| {
            let field = field.map(str::to_owned);
            let error =
                Error::Memory { what: "images".into(), bytes: 1 << 20, advice: "few fit".into(), field };
            error.within("shapes").within("data").to_string()
        };
        assert_eq!(memory(Some("train")), "out of memory: images take 1.0 MiB; few fit (data.shapes.train)");
        assert_eq!(memory(None), "out of memory: images take 1.0 MiB; few fit");
    }
}
