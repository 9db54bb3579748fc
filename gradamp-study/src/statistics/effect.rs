//! Differences in units of the spread between seeds.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use super::distributions::{NoncentralStudent, solve_falling};
use super::means::pair_differences;
use super::{ALPHA, Summary};

/// The standard deviation by which a difference is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// The pooled standard deviation within the groups, with the correction for small groups.
    HedgesG,
    /// The standard deviation of the differences of pairs.
    CohensDz,
}

/// A difference in units of the spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The unit.
    pub kind: EffectKind,
    /// The effect.
    pub value: f64,
    /// The 95 % interval of the effect, by the noncentral t distribution.
    pub ci: Option<(f64, f64)>,
}

/// The largest t with an interval. For a larger t, the deviation is almost 0, and an interval would be meaningless.
const LARGEST_T: f64 = 100.0;

/// Hedges' g: J(m) (mean of B − mean of A) / s, with the pooled deviation s, m = n_A + n_B − 2 and
/// J(m) = Γ(m/2) / (√(m/2) Γ((m − 1)/2)). The interval assumes that the true deviations of the groups are equal.
///
/// **Source:** L. V. Hedges, "Distribution theory for Glass's estimator of effect size and related estimators", Journal
/// of Educational Statistics 6(2), 1981, equations 6 and 7.
pub fn hedges_g(a: &[f64], b: &[f64]) -> Option<Effect> {
    let (a, b) = (Summary::of_values(a), Summary::of_values(b));
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let df = n_a + n_b - 2.0;
    let squares = (n_a - 1.0) * a.sd?.powi(2) + (n_b - 1.0) * b.sd?.powi(2);
    let unit = (1.0 / n_a + 1.0 / n_b).sqrt(); // the effect at t = 1
    let correction = (ln_gamma(0.5 * df) - ln_gamma(0.5 * (df - 1.0))).exp() / (0.5 * df).sqrt();
    let d = (b.mean - a.mean) / (squares / df).sqrt();
    Effect::new(EffectKind::HedgesG, d, df, unit, correction)
}

/// Cohen's d_z: the mean of the differences of pairs, divided by their standard deviation. d_z measures how clearly the pairs
/// differ. The more both runs of a seed have in common, the larger d_z is.
///
/// **Source:** D. Lakens, "Calculating and reporting effect sizes", Frontiers in Psychology 4:863, 2013, equation 6.
pub fn cohens_dz(a: &[f64], b: &[f64]) -> Option<Effect> {
    let differences = Summary::of_values(&pair_differences(a, b)?);
    let n = differences.n as f64;
    Effect::new(EffectKind::CohensDz, differences.mean / differences.sd?, n - 1.0, 1.0 / n.sqrt(), 1.0)
}

impl Effect {
    fn new(kind: EffectKind, d: f64, df: f64, unit: f64, correction: f64) -> Option<Self> {
        if !d.is_finite() {
            return None;
        }
        let t = d / unit;
        // The interval holds the effects for which the observed t is not in the outer 2.5 % on either side.
        let mut distribution = NoncentralStudent::new(t, df);
        let mut bound = |level| {
            let reach = 10.0 + 3.0 * t.abs() * (1.0 + (4.0 / df).sqrt());
            solve_falling(level, (t - reach, t + reach), |delta| distribution.probability(delta))
        };
        let ci = (t.abs() <= LARGEST_T)
            .then(|| (correction * unit * bound(1.0 - 0.5 * ALPHA), correction * unit * bound(0.5 * ALPHA)));
        Some(Self { kind, value: correction * d, ci })
    }
}
