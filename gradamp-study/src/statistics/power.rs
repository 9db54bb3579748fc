//! Planning: the number of seeds that detects a difference, and the difference that a number of seeds detects.

use serde::{Deserialize, Serialize};

use super::distributions::{noncentral_student, solve_falling, student_critical};

/// Whether the groups of a study have the same seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// Both groups have the same seeds. An effect is in units of the standard deviation of the differences of pairs.
    Paired,
    /// Groups of the same size with different seeds. An effect is in units of the standard deviation within a group.
    Independent,
}

/// The largest number of seeds that is considered.
pub const MOST_SEEDS: usize = 10_000;

/// The power: the probability that a two-sided t-test at level `alpha` with `n` seeds in each group detects `effect`.
pub fn power(design: Design, effect: f64, n: usize, alpha: f64) -> f64 {
    let n = n as f64;
    let (df, delta) = match design {
        Design::Paired => (n - 1.0, effect.abs() * n.sqrt()),
        Design::Independent => (2.0 * n - 2.0, effect.abs() * (0.5 * n).sqrt()),
    };
    let critical = student_critical(alpha, df);
    // Z > −8 and χ/√df < 8, apart from a probability too small for f64 to add to 1. Then T exceeds the critical value.
    if delta > 8.0 * critical + 8.0 {
        return 1.0;
    }
    1.0 - noncentral_student(critical, df, delta) + noncentral_student(-critical, df, delta)
}

/// The fewest seeds in each group with which a two-sided t-test at level `alpha` detects `effect` with a probability of at
/// least `wanted`; `None` if [`MOST_SEEDS`] are not enough.
pub fn seeds_needed(design: Design, effect: f64, wanted: f64, alpha: f64) -> Option<usize> {
    let is_enough = |n| power(design, effect, n, alpha) >= wanted;
    if is_enough(2) {
        return Some(2);
    }
    // Power grows with n. Doubles n until the power is enough, then bisects.
    let mut too_few = 2;
    while !is_enough(2 * too_few) {
        too_few *= 2;
        if too_few >= MOST_SEEDS {
            return None;
        }
    }
    let mut enough = 2 * too_few;
    while enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        if is_enough(middle) { enough = middle } else { too_few = middle }
    }
    (enough <= MOST_SEEDS).then_some(enough)
}

/// The smallest effect that a two-sided t-test at level `alpha` with `n` seeds in each group sees with a probability of `wanted`;
/// `None` for fewer than two seeds, where there is no test.
pub fn smallest_effect(design: Design, n: usize, wanted: f64, alpha: f64) -> Option<f64> {
    if n < 2 || !(alpha..1.0).contains(&wanted) {
        return None;
    }
    let missed = |effect: f64| 1.0 - power(design, effect, n, alpha);
    let mut reach = 1.0;
    while missed(reach) > 1.0 - wanted {
        reach *= 2.0;
    }
    Some(solve_falling(1.0 - wanted, (0.0, reach), missed))
}
