//! The comparison of models on the same test examples.

use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::statistics::{Bootstrap, McNemar, bootstrap, bootstrap_each};

/// Whether these models would differ on other examples of the same kind. The result says nothing about models trained with
/// other seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    /// The bootstrap of the difference of accuracies over the test examples; with several seeds, of the means over the seeds.
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
    /// McNemar's test on the examples on which only one of the two models is right.
    pub mcnemar: McNemar,
}

/// A run, and for each test example whether the run classified the example correctly.
type Evaluated<'a> = (&'a Member, &'a [bool]);

impl Examples {
    /// Compares the last evaluations of two groups. Returns `None` if the test examples are not the same.
    ///
    /// If `data.test_limit` leaves out test examples, the seed chooses them. Only runs with the same seed then have the same
    /// examples.
    pub fn between(a: &[Member], b: &[Member], is_paired: bool, resamples: usize) -> Option<Self> {
        let differences = differences(a, b, is_paired)?;
        let is_pair = is_paired || a.len() == 1 && b.len() == 1;
        let (a, b) = (evaluated(a)?, evaluated(b)?);
        let pairs = a.iter().zip(&b).filter(|_| is_pair);
        let pairs = pairs.filter_map(|(a, b)| PairOfRuns::between(a, b)).collect();
        Some(Self { bootstrap: bootstrap(&differences, resamples, 0), pairs })
    }

    /// Compares several pairs of groups as [`between`](Self::between) does; `is_paired` is part of each item. Together they take much
    /// less time than one by one.
    pub fn between_each(groups: &[(&[Member], &[Member], bool)], resamples: usize) -> Vec<Option<Self>> {
        let differences: Vec<Vec<f64>> = groups
            .iter()
            .map(|(a, b, is_paired)| differences(a, b, *is_paired).unwrap_or_default())
            .collect();
        let bootstraps = bootstrap_each(&differences, resamples, 0);
        let compare = |((a, b, is_paired), bootstrap): (&(&[Member], &[Member], bool), _)| {
            Some(Self { bootstrap, ..Self::between(a, b, *is_paired, 0)? })
        };
        groups.iter().zip(bootstraps).map(compare).collect()
    }
}

/// B's hits minus A's, example by example: means over the seeds if all runs have the same test examples. `None` if the examples of
/// the two groups are not the same.
fn differences(a: &[Member], b: &[Member], is_paired: bool) -> Option<Vec<f64>> {
    let (a, b) = (evaluated(a)?, evaluated(b)?);
    let is_limited = a.iter().chain(&b).any(has_limit);
    let (first, hits) = a.first()?;
    let is_like_first = |evaluated: &Evaluated<'_>| {
        let (member, other) = evaluated;
        checksum(member) == checksum(first) && has_limit(evaluated) == is_limited && other.len() == hits.len()
    };
    if !a.iter().chain(&b).all(is_like_first) || is_limited && !is_paired {
        return None;
    }
    let differences = if is_limited {
        let pairs = a.iter().zip(&b);
        pairs.flat_map(|(a, b)| a.1.iter().zip(b.1).map(|(&a, &b)| value(b) - value(a))).collect()
    } else {
        let mean = |group: &[Evaluated<'_>], i: usize| {
            group.iter().map(|(_, hits)| value(hits[i])).sum::<f64>() / group.len() as f64
        };
        (0..hits.len()).map(|i| mean(&b, i) - mean(&a, i)).collect()
    };
    Some(differences)
}

impl PairOfRuns {
    fn between((a, hits_a): &Evaluated<'_>, (b, hits_b): &Evaluated<'_>) -> Option<Self> {
        let mcnemar = McNemar::of_hits(hits_a, hits_b)?;
        let (a, b) = (&a.numbers, &b.numbers);
        Some(Self { a: a.run.clone(), b: b.run.clone(), seed: a.seed, mcnemar })
    }
}

/// The runs with their last evaluations; `None` if a run has no evaluation.
fn evaluated(group: &[Member]) -> Option<Vec<Evaluated<'_>>> {
    group.iter().map(|member| Some((member, member.last_evaluation()?.hits.as_slice()))).collect()
}

/// Whether `data.test_limit` left out test examples; `false` if the run's folder was removed.
fn has_limit((member, hits): &Evaluated<'_>) -> bool {
    let limit = member.data.as_ref().map_or(0, |data| data.settings.config.data.test_limit);
    limit > 0 && hits.len() >= limit
}

fn checksum(member: &Member) -> Option<&str> {
    member.data.as_ref().map(|data| data.record.dataset_checksum.as_str())
}

fn value(hit: bool) -> f64 {
    f64::from(u8::from(hit))
}
