//! Whether two means differ: Welch's test, and the paired test over common seeds.

use serde::{Deserialize, Serialize};

use super::distributions::{student_critical, student_two_sided};
use super::{ALPHA, Summary};

/// The test by which two groups are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By the differences of runs with the same seed. What a seed does to both runs (initial values, order of the data) cancels.
    Paired,
    /// Welch's test of two groups, whose sizes and deviations may differ.
    Welch,
}

/// The difference of two means, and a test of whether the true means differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanDifference {
    /// The test.
    pub method: Method,
    /// The mean of B minus the mean of A.
    pub difference: f64,
    /// The 95 % interval of the difference.
    pub ci: (f64, f64),
    /// The difference in units of its standard error.
    pub t: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// The chance of so large a |t| where the means do not differ.
    pub p: f64,
    /// The difference's standard error.
    #[serde(default)]
    pub standard_error: f64,
}

/// Student's t-test of two groups without the assumption of equal spreads.
///
/// `None` with fewer than two values in a group, or without any spread.
///
/// **Source:** B. L. Welch, "The generalization of Student's problem when several different population variances are
/// involved", Biometrika 34, 1947.
pub fn welch(a: &[f64], b: &[f64]) -> Option<MeanDifference> {
    MeanDifference::of_summaries(&Summary::of_values(a), &Summary::of_values(b))
}

/// Student's t-test of the differences of pairs: `a[i]` and `b[i]` have the same seed.
///
/// `None` with fewer than two pairs, groups of different sizes, or where all differences are equal.
pub fn paired(a: &[f64], b: &[f64]) -> Option<MeanDifference> {
    let differences = Summary::of_values(&pair_differences(a, b)?);
    let error = differences.squared_error()?.sqrt();
    MeanDifference::new(Method::Paired, differences.mean, error, differences.n as f64 - 1.0)
}

/// b − a, pair by pair.
pub(super) fn pair_differences(a: &[f64], b: &[f64]) -> Option<Vec<f64>> {
    (a.len() == b.len()).then(|| a.iter().zip(b).map(|(a, b)| b - a).collect())
}

impl MeanDifference {
    /// Welch's test by the means and deviations of two groups.
    pub(super) fn of_summaries(a: &Summary, b: &Summary) -> Option<Self> {
        let (error_a, error_b) = (a.squared_error()?, b.squared_error()?);
        let error = error_a + error_b;
        let df =
            error.powi(2) / (error_a.powi(2) / (a.n as f64 - 1.0) + error_b.powi(2) / (b.n as f64 - 1.0));
        Self::new(Method::Welch, b.mean - a.mean, error.sqrt(), df)
    }

    fn new(method: Method, difference: f64, error: f64, df: f64) -> Option<Self> {
        let t = difference / error;
        if error <= 0.0 || !t.is_finite() || !df.is_finite() {
            return None;
        }
        let half = student_critical(ALPHA, df) * error;
        let ci = (difference - half, difference + half);
        Some(Self { method, difference, ci, t, df, p: student_two_sided(t, df), standard_error: error })
    }
}
