//! Whether two models differ on the same test examples.

use serde::{Deserialize, Serialize};

use super::distributions::{chi_square_tail, fair_binomial};

/// How the chance was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McNemarMethod {
    /// By the binomial distribution, with few discordant examples.
    Exact,
    /// By the chi-square distribution, with correction for continuity.
    ChiSquare,
}

/// McNemar's test of two models.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Examples that only A had right.
    pub only_a: u64,
    /// Examples that only B had right.
    pub only_b: u64,
    /// How the chance was computed.
    pub method: McNemarMethod,
    /// The chance of counts so far apart where both are equally likely to be the one that is right.
    pub p: f64,
}

/// With fewer discordant examples the exact test is taken.
const FEW: u64 = 25;

/// McNemar's test by the numbers of examples that only one of two models had right.
///
/// Exact: 2 P(X ≤ min) of the fair binomial distribution. Else χ² = (|b − c| − 1)² / (b + c) with one degree of freedom.
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
    /// The test of two models by which examples each had right; `None` where the sets are not of the same size.
    pub fn of_hits(a: &[bool], b: &[bool]) -> Option<Self> {
        let count = |a_is: bool| a.iter().zip(b).filter(|&(&a, &b)| a != b && a == a_is).count() as u64;
        (a.len() == b.len()).then(|| mcnemar(count(true), count(false)))
    }
}
