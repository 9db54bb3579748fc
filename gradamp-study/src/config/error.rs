//! Errors about settings, with the place where the setting was written.

use std::fmt;

use gradamp_core::error::nearest;

use super::origin::Origin;

/// A setting that cannot be used: its place, its key, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// The key's path, such as `train.batch_size`; empty if the error is about a whole document.
    pub path: String,
    /// Where the setting was written; `None` until that is known.
    pub origin: Option<Origin>,
    /// What was found and what was expected.
    pub message: String,
    /// The expected keys, if the error is about an unknown key whose name is not known yet.
    expected: Option<&'static [&'static str]>,
}

impl KeyError {
    /// An error whose place is to be added.
    pub fn new(message: String) -> Self {
        Self { path: String::new(), origin: None, message, expected: None }
    }

    /// The same error about the key at `path`, whose place is to be added.
    #[must_use]
    pub fn about(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The error of a key that is not among `expected`.
    pub(crate) fn unknown_key(expected: &'static [&'static str]) -> Self {
        Self { expected: Some(expected), ..Self::new("unknown key".into()) }
    }

    /// Adds the name of the unknown key to the message, and the nearest expected key.
    pub(crate) fn naming(mut self, key: &str) -> Self {
        if let Some(expected) = self.expected.take() {
            self.message = match nearest(key, expected.iter().copied()) {
                Some(name) => format!("unknown key `{key}`; did you mean `{name}`?"),
                None => format!("unknown key `{key}`; expected one of {}", quoted(expected)),
            };
        }
        self
    }

    /// Sets the error's place, unless the error already has a place closer to the cause.
    #[must_use]
    pub fn at(mut self, path: &str, origin: &Origin) -> Self {
        if self.origin.is_none() {
            self.path = path.to_owned();
            self.origin = Some(origin.clone());
        }
        self
    }

    /// The same error with `key` in front of its path.
    #[must_use]
    pub fn below(mut self, key: &str) -> Self {
        self.path = if self.path.is_empty() { key.to_owned() } else { format!("{key}.{}", self.path) };
        self
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin::Default) | None => {}
            Some(origin) => write!(f, "{origin}: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for KeyError {}

/// The names in quotes, with commas.
pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
