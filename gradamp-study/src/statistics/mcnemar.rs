//! Whether two models differ on the same test examples.

use serde::{Deserialize, Serialize};

use super::distributions::{chi_square_tail, fair_binomial};

/// How the p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McNemarMethod {
    /// By the binomial distribution, because few examples are discordant.
    Exact,
    /// By the chi-square distribution with the correction for continuity.
    ChiSquare,
}

/// McNemar's test of two models.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The number of examples that only A classified correctly.
    pub only_a: u64,
    /// The number of examples that only B classified correctly.
    pub only_b: u64,
    /// How the p-value was computed.
    pub method: McNemarMethod,
    /// The p-value: the probability of counts that differ at least as much, if both models are equally likely to be the one that
    /// is right.
    pub p: f64,
}

/// With fewer discordant examples than this, the test is exact.
const FEW: u64 = 25;

/// McNemar's test, from the numbers of examples that only one of two models classified correctly.
///
/// The exact p-value is 2 P(X ≤ min(b, c)) for the binomial distribution with probability 1/2. The approximate one is that of
/// χ² = (|b − c| − 1)² / (b + c) with one degree of freedom.
///
/// **Source:** Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
/// Psychometrika 12, 1947; A. L. Edwards, Psychometrika 13, 1948, for the correction.
pub fn mcnemar(only_a: u64, only_b: u64) -> McNemar {
    let discordant = only_a + only_b;
    let (method, p) = if discordant < FEW {
        (McNemarMethod::Exact, (2.0 * fair_binomial(only_a.min(only_b), discordant)).min(1.0))
    } else {
        let distance = (only_a.abs_diff(only_b) as f64 - 1.0).max(0.0);
        (McNemarMethod::ChiSquare, chi_square_tail(distance * distance / discordant as f64))
    };
    McNemar { only_a, only_b, method, p }
}

impl McNemar {
    /// The test, from whether each model classified each example correctly; `None` if the numbers of examples differ.
    pub fn of_hits(a: &[bool], b: &[bool]) -> Option<Self> {
        let count = |a_is: bool| a.iter().zip(b).filter(|&(&a, &b)| a != b && a == a_is).count() as u64;
        (a.len() == b.len()).then(|| mcnemar(count(true), count(false)))
    }
}
