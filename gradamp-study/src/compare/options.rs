//! The options of a comparison.

use crate::statistics::Method;

/// The options of a comparison.
#[derive(Clone, Debug)]
pub struct Options {
    /// The target accuracy and a description of how it was chosen. By default it is the lower of the groups' mean last accuracies.
    pub target: Option<(f64, String)>,
    /// The difference for which the number of seeds is estimated; by default the difference that was found.
    pub difference: Option<f64>,
    /// The probability with which that number of seeds detects the difference.
    pub power: f64,
    /// The settings in which A and B are meant to differ.
    pub expected: ExpectedDifferences,
    /// The number of bootstrap samples of the test examples.
    pub resamples: usize,
}

/// The settings in which two groups are meant to differ. A difference in another setting is a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedDifferences {
    /// What is amplified, by how much, and in which phases.
    Amplification,
    /// These keys, and all keys below these tables.
    Keys(Vec<String>),
    /// All settings.
    All,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            difference: None,
            power: 0.8,
            expected: ExpectedDifferences::Amplification,
            resamples: 2000,
        }
    }
}

/// The method for two groups with these sorted seeds: pair by pair if both groups have the same seeds, each once.
pub fn method(a: &[u64], b: &[u64]) -> Method {
    let is_once = a.windows(2).all(|pair| pair[0] != pair[1]);
    if is_once && a == b { Method::Paired } else { Method::Welch }
}
