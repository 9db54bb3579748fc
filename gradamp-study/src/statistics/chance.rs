//! Whether a classifier is better than chance.

use super::distributions::beta;

/// How unlikely as many hits must be by chance.
const LEVEL: f64 = 0.001;

/// Whether `hits` of `examples` are more than chance explains, where each is a hit by chance with probability 1/`classes`: whether
/// P(X ≥ hits) of the binomial distribution is below 0.001. `false` without examples, or for fewer than two classes.
pub fn is_above_chance(hits: u64, examples: u64, classes: usize) -> bool {
    if classes < 2 || hits > examples {
        return false;
    }
    hits > 0 && binomial_tail(hits, examples, 1.0 / classes as f64) < LEVEL
}

/// P(X ≥ k) of the binomial distribution with `n` draws of probability `p`, for 0 < k ≤ n.
pub(super) fn binomial_tail(k: u64, n: u64, p: f64) -> f64 {
    beta(k as f64, (n - k) as f64 + 1.0, p)
}
