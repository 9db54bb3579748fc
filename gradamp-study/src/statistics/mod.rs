//! Means with intervals, tests of differences, effect sizes, and the number of seeds that detects a difference.
//!
//! The first group is always A and the second B. A difference is **B − A**. Intervals cover 95 %. If there are too few values
//! for a result, or if all values are equal, the result is `None`.
//!
//! | question | answer |
//! |---|---|
//! | how good is a setting? | [`Summary`] |
//! | do two settings differ, over seeds? | [`paired`] where the seeds are the same, else [`welch`]; with few seeds also [`sign_flips`], else [`permutation`] |
//! | are two settings equal up to a difference that does not matter? | [`equivalence`] |
//! | how long do runs take to reach a target, if some never reach it? | [`KaplanMeier`], [`RestrictedMean`], [`log_rank`], [`rank_sum`] |
//! | by how much, in units of the standard deviation? | [`hedges_g`], [`cohens_dz`] |
//! | do two models differ, over test examples? | [`mcnemar`], [`bootstrap`], [`bootstrap_each`] |
//! | is a model better than chance? | [`is_above_chance`] |
//! | how are the p-values of several comparisons corrected? | [`holm`], [`benjamini_hochberg`] |
//! | before a study: how many seeds detect a difference, and which difference does a number of seeds detect? | [`seeds_needed`], [`smallest_effect`] |

mod bootstrap;
mod chance;
mod correction;
mod distributions;
mod effect;
mod equivalence;
mod mcnemar;
mod means;
mod permutation;
mod power;
mod ranks;
mod summary;
mod survival;
#[cfg(test)]
mod tests;

pub use bootstrap::{Bootstrap, bootstrap, bootstrap_each, quantile};
pub use chance::is_above_chance;
pub use correction::{Correction, benjamini_hochberg, holm};
pub use effect::{Effect, EffectKind, cohens_dz, hedges_g};
pub use equivalence::{Equivalence, equivalence};
pub use mcnemar::{McNemar, McNemarMethod, mcnemar};
pub use means::{MeanDifference, Method, paired, welch};
pub use permutation::{Permutation, permutation, sign_flips};
pub use power::{Design, MOST_SEEDS, power, seeds_needed, smallest_effect};
pub use ranks::{RankSum, rank_sum};
pub use summary::Summary;
pub use survival::{KaplanMeier, LogRank, Observation, RestrictedMean, SurvivalStep, log_rank};

/// The level of all tests; intervals cover the rest.
pub const ALPHA: f64 = 0.05;
