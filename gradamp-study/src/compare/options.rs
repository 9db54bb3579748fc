//! How two groups of runs are compared.

use crate::statistics::Method;

/// How groups are compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The target accuracy whose time is measured, and how it was chosen; by default the mean last accuracy of the group that ends worse.
    pub target: Option<(f64, String)>,
    /// The difference that seeds are counted for; by default the one that was found.
    pub difference: Option<f64>,
    /// The chance with which so many seeds show it.
    pub power: f64,
    /// The settings in which A and B are meant to differ.
    pub expected: ExpectedDifferences,
    /// How often the test examples are drawn again.
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

/// How groups are compared, by their sorted seeds: pair by pair if both have the same seeds, each once.
pub fn method(a: &[u64], b: &[u64]) -> Method {
    let is_once = a.windows(2).all(|pair| pair[0] != pair[1]);
    if is_once && a == b { Method::Paired } else { Method::Welch }
}
