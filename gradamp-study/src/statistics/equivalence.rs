//! Whether two means are equal up to the smallest difference that matters.

use serde::{Deserialize, Serialize};

use super::ALPHA;
use super::distributions::{student_critical, student_upper_tail};
use super::means::{MeanDifference, Method, paired, welch};

/// Two one-sided tests (TOST) against the smallest difference that matters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// How the groups are compared.
    pub method: Method,
    /// The smallest difference that matters, in the unit of the values.
    pub smallest_difference: f64,
    /// The p-value of the test that the difference is above −`smallest_difference`.
    pub p_lower: f64,
    /// The p-value of the test that the difference is below `smallest_difference`.
    pub p_upper: f64,
    /// The larger of the two: if it is below the level, the means are equivalent.
    pub p: f64,
    /// The 90 % interval of the difference, B − A. It lies within ±`smallest_difference` exactly if `p` is below 0.05.
    pub ci90: (f64, f64),
}

/// Tests whether the means of two groups differ by less than `smallest_difference`, by pairs or by Welch's test.
///
/// t = (difference ± `smallest_difference`) / standard error, each against one tail of Student's distribution. `None` where the
/// test of the difference is `None`, or if `smallest_difference` is not positive.
///
/// **Source:** D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing the
/// equivalence of average bioavailability", Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.
pub fn equivalence(a: &[f64], b: &[f64], method: Method, smallest_difference: f64) -> Option<Equivalence> {
    let test = match method {
        Method::Paired => paired(a, b),
        Method::Welch => welch(a, b),
    }?;
    Equivalence::new(&test, smallest_difference)
}

impl Equivalence {
    /// The two one-sided tests that belong to a test of a difference; `None` if `smallest_difference` is not positive.
    pub fn new(test: &MeanDifference, smallest_difference: f64) -> Option<Self> {
        if smallest_difference.is_nan() || smallest_difference <= 0.0 {
            return None;
        }
        let MeanDifference { method, difference, df, standard_error: error, .. } = *test;
        let p_lower = student_upper_tail((difference + smallest_difference) / error, df);
        let p_upper = student_upper_tail((smallest_difference - difference) / error, df);
        let half = student_critical(2.0 * ALPHA, df) * error;
        Some(Self {
            method,
            smallest_difference,
            p_lower,
            p_upper,
            p: p_lower.max(p_upper),
            ci90: (difference - half, difference + half),
        })
    }

    /// Whether the means are equivalent at the level of all tests.
    pub fn is_equivalent(&self) -> bool {
        self.p < ALPHA
    }
}
