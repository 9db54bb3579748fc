//! The ways in which a backend can break a law.

use crate::Error;

/// The error of a law: the case on which a backend breaks the law, and how.
#[derive(Debug, thiserror::Error)]
#[error("{case}{}{broken}", if case.is_empty() { "" } else { ": " })]
pub struct Violation {
    /// The geometry and settings of the case; empty if the law has only one case.
    pub case: String,
    /// What went wrong on this case.
    pub broken: Broken,
}

/// What went wrong on a case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// An element differs too much from the twin's. It is the output's element with the largest ratio of error to tolerance.
    #[error(
        "{output}{index:?} is {found}, expected {expected} (error {:.2e}, tolerance {tolerance:.2e}; \
         {wrong} of {elements} elements are wrong)",
        (f64::from(*found) - expected).abs()
    )]
    Value {
        /// The output's name, as in the formula.
        output: &'static str,
        /// The index of the element.
        index: Vec<usize>,
        /// The backend's value.
        found: f32,
        /// The twin's value.
        expected: f64,
        /// The largest permitted difference.
        tolerance: f64,
        /// The number of elements that exceed their tolerance.
        wrong: usize,
        /// The number of elements of the output.
        elements: usize,
    },
    /// An element outside an output's part of its buffer was written.
    #[error("{output} fills {part:?} of its buffer, but element {place} was overwritten with {found}")]
    Overrun {
        /// The output's name.
        output: &'static str,
        /// The output's part of the buffer.
        part: std::ops::Range<usize>,
        /// The element that was written.
        place: usize,
        /// The value of this element.
        found: f32,
    },
    /// Two runs give different bits.
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
    /// A repeated step took buffers from the system.
    #[error("{count} fresh allocations in steady state, expected none")]
    Allocation {
        /// The number of buffers.
        count: u64,
    },
    /// The backend reported an error.
    #[error("the backend failed: {0}")]
    Failed(Error),
    /// Another violation, in words.
    #[error("{0}")]
    Other(String),
}

impl Violation {
    /// The same violation, with `wider` put before its case.
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
