//! The error type of the core.

use std::fmt::{Debug, Display, LowerExp};

/// An error of the core. Each message names the operation, site or setting, and says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shapes do not fit the operation. The message names both shapes.
    #[error("{operation}: {message}")]
    Shape {
        /// The operation's name, such as `conv2d`.
        operation: &'static str,
        /// What was found and what was expected.
        message: String,
    },
    /// A setting is out of its range, or selects nothing.
    #[error("{field}: {message}")]
    Setting {
        /// The path of the field, such as `ratio`, `layer_rates[0].paths` or `strategy.phases[1].lr`: within the structure that was
        /// checked or, for errors of a [`Trainer`](crate::train::Trainer), within its [`TrainSettings`](crate::train::TrainSettings).
        field: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A backward hook returned an error, which ends the step.
    #[error("hook at site {site}: {source}")]
    Hook {
        /// The path of the site whose hook failed.
        site: String,
        /// The hook's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A parameter is missing, unexpected or of another shape.
    #[error("parameter {path}: {message}")]
    Parameter {
        /// The parameter's path, such as `layer1.0.conv1.weight`.
        path: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The backend failed: its memory, its device or one of its limits.
    #[error("backend {backend}: {message}")]
    Backend {
        /// The backend's name.
        backend: String,
        /// What happened.
        message: String,
    },
    /// The host has no memory left.
    #[error("out of memory: cannot allocate {:.1} MiB for {what}", *bytes as f64 / 1_048_576.0)]
    Memory {
        /// What the memory was for.
        what: String,
        /// The size that could not be allocated.
        bytes: usize,
    },
    /// The loss or a parameter is not finite.
    #[error("training diverged at epoch {epoch}, step {step}: {message}")]
    Diverged {
        /// The epoch, from 0.
        epoch: usize,
        /// The global step, from 0.
        step: u64,
        /// The first site or parameter that is not finite.
        message: String,
    },
    /// An error of a batch source, an observer or another part that the caller supplied.
    #[error(transparent)]
    External(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// `Result` with the core's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The most similar of `names`, if one is similar enough to be what was meant: the first of equals. Capitals and the
/// difference between `-` and `_` do not count.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lowered = name.to_lowercase().replace('-', "_");
    let similarity = |candidate: &str| {
        let by_edits = strsim::normalized_damerau_levenshtein(&lowered, candidate);
        by_edits.max(strsim::jaro_winkler(&lowered, candidate) - 0.25) // a common beginning
    };
    let mut best = (0.5, None);
    for candidate in names {
        let found = similarity(candidate);
        if found > best.0 {
            best = (found, Some(candidate));
        }
    }
    best.1
}

/// Formats a number for a message, with as few digits as distinguish it from its neighbours. Very large and very small numbers are
/// written as `1e30`.
pub fn number<N: Copy + Into<f64> + Display + LowerExp>(number: N) -> String {
    let magnitude: f64 = number.into().abs();
    match magnitude == 0.0 || !magnitude.is_finite() || (1e-5..1e16).contains(&magnitude) {
        true => number.to_string(),
        false => format!("{number:e}"),
    }
}

impl Error {
    /// An [`Error::Shape`] of `operation`.
    pub fn shape(operation: &'static str, message: impl Into<String>) -> Self {
        Error::Shape { operation, message: message.into() }
    }

    /// An [`Error::Setting`] of `field`.
    pub fn setting(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Setting { field: field.into(), message: message.into() }
    }

    /// The same error, seen from the structure whose field `parent` was checked: a setting's `ratio` becomes `parent.ratio`. Other
    /// errors stay as they are.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        match self {
            Error::Setting { field, message } => {
                Error::Setting { field: format!("{parent}.{field}"), message }
            }
            other => other,
        }
    }

    /// Wraps any other error.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::External(error.into())
    }
}

/// **Errors:** a value that is not finite, or not above 0.
pub(crate) fn above_zero(field: &str, value: f32) -> Result<()> {
    check_range(field, value, value > 0.0, "a number above 0")
}

/// **Errors:** a value that is not finite, or below 0.
pub(crate) fn at_least_zero(field: &str, value: f32) -> Result<()> {
    check_range(field, value, value >= 0.0, "a number of at least 0")
}

fn check_range(field: &str, found: f32, is_in_range: bool, expected: &str) -> Result<()> {
    if is_in_range && found.is_finite() {
        return Ok(());
    }
    Err(Error::setting(field, format!("expected {expected}, found {}", number(found))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (1e-5, "0.00001"),
            (-1.25e-6, "-1.25e-6"),
            (123456.5, "123456.5"),
            (1e30, "1e30"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!([number(0.1_f32), number(1e30_f32), number(f32::MAX)], ["0.1", "1e30", "3.4028235e38"]);
    }
}
