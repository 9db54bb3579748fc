//! The comparison of one quantity, such as the last accuracy, in two groups.

use serde::{Deserialize, Serialize};

use super::options::Options;
use crate::statistics::{
    ALPHA, Design, Effect, MeanDifference, Method, Summary, cohens_dz, hedges_g, paired, seeds_needed, welch,
};

/// The comparison of one quantity in two groups of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Of A.
    pub a: Summary,
    /// Of B.
    pub b: Summary,
    /// The mean of B minus the mean of A.
    pub difference: f64,
    /// The test of the difference; `None` if a group has fewer than two runs, or if the values have no spread.
    pub test: Option<MeanDifference>,
    /// The p-value of the test, corrected for all comparisons of the sweep.
    pub corrected_p: Option<f64>,
    /// The difference in units of the spread within the groups.
    pub hedges_g: Option<Effect>,
    /// For pairs: the difference in units of the spread of the pairs' differences.
    pub cohens_dz: Option<Effect>,
    /// The number of seeds needed to detect the difference in the options, or else this difference.
    pub seeds: Option<SeedsNeeded>,
}

/// The number of seeds needed to detect a difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedsNeeded {
    /// Whether both groups have the same seeds.
    pub design: Design,
    /// The difference.
    pub difference: f64,
    /// The difference in units of the spread that was found.
    pub effect: f64,
    /// The probability with which the difference is detected.
    pub power: f64,
    /// The number of seeds in each group; `None` if ten thousand seeds are not enough.
    pub seeds: Option<usize>,
}

impl Contrast {
    /// Compares the values of two groups. With [`Method::Paired`], `a[i]` and `b[i]` have the same seed. Returns `None` if a
    /// group is empty.
    pub fn between(a: &[f64], b: &[f64], method: Method, options: &Options) -> Option<Self> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let test = match method {
            Method::Paired => paired(a, b),
            Method::Welch => welch(a, b),
        };
        let is_paired = method == Method::Paired;
        let summaries = (Summary::of_values(a), Summary::of_values(b));
        let difference = summaries.1.mean - summaries.0.mean;
        Some(Self {
            a: summaries.0,
            b: summaries.1,
            difference,
            test,
            corrected_p: test.map(|test| test.p),
            hedges_g: hedges_g(a, b),
            cohens_dz: is_paired.then(|| cohens_dz(a, b)).flatten(),
            seeds: SeedsNeeded::estimate(a, b, method, options),
        })
    }
}

impl SeedsNeeded {
    fn estimate(a: &[f64], b: &[f64], method: Method, options: &Options) -> Option<Self> {
        let (design, sd) = match method {
            Method::Paired => {
                let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
                (Design::Paired, Summary::of_values(&differences).sd?)
            }
            Method::Welch => {
                let (a, b) = (Summary::of_values(a).sd?, Summary::of_values(b).sd?);
                (Design::Independent, (0.5 * (a * a + b * b)).sqrt())
            }
        };
        let found = Summary::of_values(b).mean - Summary::of_values(a).mean;
        let difference = options.difference.unwrap_or(found.abs());
        let effect = difference / sd;
        let seeds = seeds_needed(design, effect, options.power, ALPHA);
        effect.is_finite().then_some(Self { design, difference, effect, power: options.power, seeds })
    }
}
