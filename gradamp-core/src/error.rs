//! The one error type of the core.

use std::fmt::{Debug, Display, LowerExp};

/// What can go wrong in the core; every message names the operation or site and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit an operation. The message names both.
    #[error("{operation}: {message}")]
    Shape {
        /// The operation's name, such as `conv2d`.
        operation: &'static str,
        /// What was found and what was expected.
        message: String,
    },
    /// A setting out of its range, or a selection that matches nothing. `key` is where it was set.
    #[error("{key}: {message}")]
    Setting {
        /// The setting, as the user would write it, such as `amplification.ratio`.
        key: String,
        /// What was found and what was expected.
        message: String,
    },
    /// A backward hook failed; the step was stopped.
    #[error("hook at site {site}: {source}")]
    Hook {
        /// The path of the site whose hook failed.
        site: String,
        /// The hook's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A parameter that is missing, unexpected or of another shape.
    #[error("parameter {path}: {message}")]
    Parameter {
        /// The parameter's path, such as `layer1.0.conv1.weight`.
        path: String,
        /// What was found and what was expected.
        message: String,
    },
    /// The backend could not do what was asked of it (memory, device, limits).
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
        /// What it was for.
        what: String,
        /// How much it was.
        bytes: usize,
    },
    /// The loss or a parameter is not finite.
    #[error("training diverged at epoch {epoch}, step {step}: {message}")]
    Diverged {
        /// The epoch, from 0.
        epoch: usize,
        /// The global step, from 0.
        step: u64,
        /// The first bad site or parameter.
        message: String,
    },
    /// An error of a batch source, an observer or another part the caller supplied.
    #[error(transparent)]
    External(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// `Result` with the core's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A number for a message: as few digits as tell it from its neighbours, very large and very small ones as `1e30`.
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

    /// An [`Error::Setting`] at `key`.
    pub fn setting(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Setting { key: key.into(), message: message.into() }
    }

    /// Wraps any other error.
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::External(error.into())
    }
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
