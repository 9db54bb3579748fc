//! The options of a comparison.

use derive_setters::Setters;

use crate::statistics::{Method, quantile};
use crate::sweep::Plan;

/// The options of a comparison.
#[derive(Clone, Debug, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Options {
    /// The accuracies whose arrival is timed.
    pub targets: Targets,
    /// The smallest difference that matters, as a fraction: the groups are tested for equivalence up to it.
    pub smallest_difference: Option<f64>,
    /// The difference for which the number of seeds is estimated, as a fraction. The difference that was found says nothing about
    /// this number, so that there is no default.
    pub difference: Option<f64>,
    /// The probability with which that number of seeds detects the difference.
    pub power: f64,
    /// The settings in which A and B are meant to differ.
    pub expected: ExpectedDifferences,
    /// The number of bootstrap samples of the test examples.
    pub resamples: usize,
}

/// The test accuracies whose arrival is timed.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// The lower of the two groups' mean last accuracies. For a sweep: the targets of the study's contrasts, or, if there are none,
    /// the baseline's mean last accuracy.
    Default,
    /// The mean of A's last accuracies.
    MeanOfA,
    /// Quantiles of A's last accuracies over the seeds, as fractions, interpolated between neighbours.
    QuantilesOfA(Vec<f64>),
    /// These accuracies, and how they were chosen.
    Fixed(Vec<f64>, String),
}

impl Targets {
    /// The accuracies, each with how it was chosen. `name_of_a` is A's name in the genitive: "A's" or "the baseline's".
    pub fn resolve(&self, a: &[f64], b: &[f64], name_of_a: &str) -> Vec<(f64, String)> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut sorted = a.to_vec();
        sorted.sort_by(f64::total_cmp);
        match self {
            Targets::Fixed(accuracies, chosen) => accuracies.iter().map(|it| (*it, chosen.clone())).collect(),
            _ if a.is_empty() || b.is_empty() => Vec::new(),
            Targets::Default if mean(a) <= mean(b) => {
                vec![(mean(a), "A's mean last accuracy, the lower of the two".into())]
            }
            Targets::Default => vec![(mean(b), "B's mean last accuracy, the lower of the two".into())],
            Targets::MeanOfA => vec![(mean(a), format!("{name_of_a} mean last accuracy"))],
            Targets::QuantilesOfA(shares) => {
                let target = |share: &f64| {
                    let chosen = format!("the {} % quantile of {name_of_a} last accuracies", 100.0 * share);
                    (quantile(&sorted, *share), chosen)
                };
                shares.iter().map(target).collect()
            }
        }
    }
}

impl Options {
    /// The options for the cells of a sweep with this plan: by default the targets are those of the study's contrasts, or the mean
    /// of each baseline.
    #[must_use]
    pub fn for_sweep(&self, plan: &Plan) -> Self {
        let mut declared: Vec<f64> = plan.contrasts.iter().filter_map(|contrast| contrast.target).collect();
        declared.sort_by(f64::total_cmp);
        declared.dedup();
        let targets = match &self.targets {
            Targets::Default if declared.is_empty() => Targets::MeanOfA,
            Targets::Default => Targets::Fixed(declared, "of the study's contrasts".into()),
            asked => asked.clone(),
        };
        // The study names the settings that differ.
        Self { targets, expected: ExpectedDifferences::All, ..self.clone() }
    }
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
            targets: Targets::Default,
            smallest_difference: None,
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
