//! How a backend breaks a law.

use crate::Error;

/// A broken law: on which case, and how.
#[derive(Debug, thiserror::Error)]
#[error("{case}{}{broken}", if case.is_empty() { "" } else { ": " })]
pub struct Violation {
    /// The geometry and settings of the case; empty where the law has only one.
    pub case: String,
    /// What went wrong there.
    pub broken: Broken,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// An element too far from its twin. It is the worst one of its output, by error over tolerance.
    #[error(
        "{output}{index:?} is {found}, expected {expected} (error {:.2e}, tolerance {tolerance:.2e}; \
         {wrong} of {elements} elements are wrong)",
        (f64::from(*found) - expected).abs()
    )]
    Value {
        /// The output's name, as in the formula.
        output: &'static str,
        /// Where the element is.
        index: Vec<usize>,
        /// What the backend gave.
        found: f32,
        /// What it should be.
        expected: f64,
        /// The largest permitted difference.
        tolerance: f64,
        /// How many elements exceed their tolerance.
        wrong: usize,
        /// How many there are.
        elements: usize,
    },
    /// An element outside an output's part of its buffer was written.
    #[error("{output} fills {part:?} of its buffer, but element {place} was overwritten with {found}")]
    Overrun {
        /// The output's name.
        output: &'static str,
        /// The output's part of the buffer.
        part: std::ops::Range<usize>,
        /// The element outside of it.
        place: usize,
        /// What stands there now.
        found: f32,
    },
    /// Two runs differ.
    #[error("{output}[{place}] is {first} in one run and {second} in the next")]
    Repeat {
        /// The output's name.
        output: &'static str,
        /// The first element that differs.
        place: usize,
        /// Its value in the first run.
        first: f32,
        /// Its value in the second run.
        second: f32,
    },
    /// Steady state took buffers from the system.
    #[error("{count} fresh allocations in steady state, expected none")]
    Allocation {
        /// How many.
        count: u64,
    },
    /// The backend reported an error.
    #[error("the backend failed: {0}")]
    Failed(Error),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl Violation {
    /// The violation within a wider case.
    #[must_use]
    pub(super) fn within(self, wider: String) -> Self {
        let case = if self.case.is_empty() { wider } else { format!("{wider}: {}", self.case) };
        Self { case, ..self }
    }
}

impl From<Broken> for Violation {
    fn from(broken: Broken) -> Self {
        Self { case: String::new(), broken }
    }
}

impl From<Error> for Violation {
    fn from(error: Error) -> Self {
        Broken::Failed(error).into()
    }
}
