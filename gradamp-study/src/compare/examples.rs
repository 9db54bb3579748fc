//! The same test examples before two models.

use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::statistics::{Bootstrap, McNemar, bootstrap};

/// What the test examples say: whether these models would differ on other examples of their kind. It says nothing of models
/// that other seeds would give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    /// The difference of accuracies, drawn again over the test examples; with several seeds, of the means over them.
    pub bootstrap: Option<Bootstrap>,
    /// Pairs of runs of one seed, or the only pair there is.
    pub pairs: Vec<PairOfRuns>,
}

/// A run of A and one of B.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairOfRuns {
    /// The run of A.
    pub a: String,
    /// The run of B.
    pub b: String,
    /// A's seed.
    pub seed: u64,
    /// Whether one of them is right more often where only one is.
    pub mcnemar: McNemar,
}

/// A run and which examples it had right.
type Judged<'a> = (&'a Member, &'a [bool]);

impl Examples {
    /// Compares the last evaluations of two groups. `None` where the test examples are not the same.
    ///
    /// Test examples are chosen by the seed where `data.test_limit` leaves any out: then only runs of one seed share them.
    pub fn of(a: &[Member], b: &[Member], is_paired: bool, resamples: usize) -> Option<Self> {
        let (a, b) = (judged(a)?, judged(b)?);
        let is_limited = a.iter().chain(&b).any(has_limit);
        let (first, hits) = a.first()?;
        let is_like_first = |judged: &Judged<'_>| {
            let (member, other) = judged;
            checksum(member) == checksum(first)
                && has_limit(judged) == is_limited
                && other.len() == hits.len()
        };
        if !a.iter().chain(&b).all(is_like_first) || is_limited && !is_paired {
            return None;
        }
        let pairs = || a.iter().zip(&b);
        let differences: Vec<f64> = if is_limited {
            pairs().flat_map(|(a, b)| a.1.iter().zip(b.1).map(|(&a, &b)| value(b) - value(a))).collect()
        } else {
            let mean = |group: &[Judged<'_>], i: usize| {
                group.iter().map(|(_, hits)| value(hits[i])).sum::<f64>() / group.len() as f64
            };
            (0..hits.len()).map(|i| mean(&b, i) - mean(&a, i)).collect()
        };
        let is_pair = is_paired || a.len() == 1 && b.len() == 1;
        let pairs = pairs().filter(|_| is_pair).filter_map(|(a, b)| PairOfRuns::of(a, b)).collect();
        Some(Self { bootstrap: bootstrap(&differences, resamples, 0), pairs })
    }
}

impl PairOfRuns {
    fn of((a, hits_a): &Judged<'_>, (b, hits_b): &Judged<'_>) -> Option<Self> {
        let mcnemar = McNemar::of(hits_a, hits_b)?;
        let (a, b) = (&a.numbers, &b.numbers);
        Some(Self { a: a.run.clone(), b: b.run.clone(), seed: a.seed, mcnemar })
    }
}

/// The runs with their last evaluations; `None` where one has none.
fn judged(group: &[Member]) -> Option<Vec<Judged<'_>>> {
    group.iter().map(|member| Some((member, member.last_evaluation()?.hits.as_slice()))).collect()
}

/// Whether fewer than all test examples were judged, as far as can be known.
fn has_limit((member, hits): &Judged<'_>) -> bool {
    let limit = member.data.as_ref().map_or(0, |data| data.settings.config.data.test_limit);
    limit > 0 && hits.len() >= limit
}

fn checksum(member: &Member) -> Option<&str> {
    member.data.as_ref().map(|data| data.record.dataset_checksum.as_str())
}

fn value(hit: bool) -> f64 {
    f64::from(u8::from(hit))
}
