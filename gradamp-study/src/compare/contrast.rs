//! The comparison of one quantity, such as the last accuracy, in two groups.

use serde::{Deserialize, Serialize};

use super::options::Options;
use crate::statistics::{
    ALPHA, Design, Effect, Equivalence, MeanDifference, Method, Permutation, Summary, cohens_dz, hedges_g,
    paired, permutation, seeds_needed, sign_flips, welch,
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
    /// The p-value of the test, corrected over the sweep's cells; for a control, over its controls.
    pub corrected_p: Option<f64>,
    /// The difference in units of the spread within the groups.
    pub hedges_g: Option<Effect>,
    /// For pairs: the difference in units of the spread of the pairs' differences.
    pub cohens_dz: Option<Effect>,
    /// The number of seeds needed to detect the difference in the options; `None` if the options have none.
    pub seeds: Option<SeedsNeeded>,
    /// The test by sign flips of the pairs, or by exchanges between the groups, which assumes no distribution.
    #[serde(default)]
    pub permutation: Option<Permutation>,
    /// The p-value of that test, corrected over the sweep's cells; for a control, over its controls.
    #[serde(default)]
    pub corrected_permutation_p: Option<f64>,
    /// The test of equivalence up to the smallest difference in the options; `None` if the options have none.
    #[serde(default)]
    pub equivalence: Option<Equivalence>,
    /// The p-value of that test, corrected over the sweep's cells; for a control, over its controls.
    #[serde(default)]
    pub corrected_equivalence_p: Option<f64>,
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
        // One run in each group has a single arrangement.
        let are_several = a.len() + b.len() > 2;
        let permutation =
            if is_paired { sign_flips(a, b) } else { permutation(a, b) }.filter(|_| are_several);
        let margin = options.smallest_difference;
        let equivalence = test.zip(margin).and_then(|(test, margin)| Equivalence::new(&test, margin));
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
            seeds: options.difference.and_then(|it| SeedsNeeded::estimate(a, b, method, it, options.power)),
            permutation,
            corrected_permutation_p: permutation.map(|test| test.p),
            equivalence,
            corrected_equivalence_p: equivalence.map(|test| test.p),
        })
    }
}

impl Contrast {
    /// The p-values that are corrected for many comparisons: of the test, by rearrangement, and of equivalence.
    pub(super) fn corrected(&mut self) -> [&mut Option<f64>; 3] {
        [&mut self.corrected_p, &mut self.corrected_permutation_p, &mut self.corrected_equivalence_p]
    }

    /// Whether the corrected p-value is below the level of all tests.
    pub fn is_clear(&self) -> bool {
        self.corrected_p.is_some_and(|p| p < ALPHA)
    }
}

impl SeedsNeeded {
    fn estimate(a: &[f64], b: &[f64], method: Method, difference: f64, power: f64) -> Option<Self> {
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
        let effect = difference / sd;
        let seeds = seeds_needed(design, effect, power, ALPHA);
        effect.is_finite().then_some(Self { design, difference, effect, power, seeds })
    }
}
