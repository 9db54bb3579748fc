//! One number of two groups, compared.

use serde::{Deserialize, Serialize};

use super::options::Options;
use crate::statistics::{
    ALPHA, Design, Effect, MeanDifference, Method, Summary, cohens_dz, hedges_g, paired, seeds_needed, welch,
};

/// One number of all runs of two groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Of A.
    pub a: Summary,
    /// Of B.
    pub b: Summary,
    /// Mean of B − mean of A.
    pub difference: f64,
    /// The test of the difference; `None` with fewer than two runs in a group, or without any spread.
    pub test: Option<MeanDifference>,
    /// The p-value, corrected for all comparisons that were made side by side.
    pub corrected_p: Option<f64>,
    /// The difference in units of the spread within the groups.
    pub hedges_g: Option<Effect>,
    /// Of pairs, the difference in units of the spread of differences.
    pub cohens_dz: Option<Effect>,
    /// The number of seeds that would show the difference of the options, or this difference.
    pub seeds: Option<SeedsNeeded>,
}

/// How many seeds show a difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedsNeeded {
    /// With the same seeds in both groups, or seeds of their own.
    pub design: Design,
    /// The difference.
    pub difference: f64,
    /// The same in units of the spread that was found.
    pub effect: f64,
    /// With what chance it is to be seen.
    pub power: f64,
    /// In each group; `None` where ten thousand are not enough.
    pub seeds: Option<usize>,
}

impl Contrast {
    /// Compares the numbers of two groups; for [`Method::Paired`], `a[i]` and `b[i]` have the same seed. `None` where a
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
