//! The time that runs take to reach a target accuracy.

use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::statistics::{MeanDifference, Method, RankSum, Summary, paired, rank_sum, welch};

/// The test accuracy whose arrival is timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The accuracy.
    pub accuracy: f64,
    /// How it was chosen, in words.
    pub chosen: String,
    /// Epochs until it is reached.
    pub epochs: Contest,
    /// Seconds of training steps until it is reached.
    pub seconds: Contest,
}

/// When the runs of two groups arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// Of A.
    pub a: Arrivals,
    /// Of B.
    pub b: Arrivals,
    /// The difference of the means, where all runs arrive.
    pub test: Option<MeanDifference>,
    /// Which group is earlier by ranks; runs that never arrive are the last.
    pub ranks: Option<RankSum>,
    /// Its p-value, corrected for all comparisons that were made side by side.
    pub corrected_p: Option<f64>,
}

/// When the runs of a group arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// How many runs there are.
    pub runs: usize,
    /// Of each run, in the group's order; `None` where it never arrives.
    pub values: Vec<Option<f64>>,
    /// Of those that arrive.
    pub arrived: Summary,
    /// Of all; `None` where half of them never arrive.
    pub median: Option<f64>,
}

impl Target {
    /// Times the arrival at `accuracy`; `None` where a run's epochs are gone.
    pub fn timed(accuracy: f64, chosen: String, a: &[Member], b: &[Member], method: Method) -> Option<Self> {
        if a.iter().chain(b).any(|member| member.data.is_none()) {
            return None;
        }
        let contest = |time: fn((usize, f64)) -> f64| {
            let times =
                |group: &[Member]| group.iter().map(|member| member.reach(accuracy).map(time)).collect();
            Contest::between(times(a), times(b), method)
        };
        Some(Self {
            accuracy,
            chosen,
            epochs: contest(|(epochs, _)| epochs as f64),
            seconds: contest(|(_, s)| s),
        })
    }
}

impl Contest {
    /// Compares the times of two groups; `None` is a run that never arrives.
    pub fn between(a: Vec<Option<f64>>, b: Vec<Option<f64>>, method: Method) -> Self {
        let all = |values: &[Option<f64>]| values.iter().copied().collect::<Option<Vec<f64>>>();
        let test = match (all(&a), all(&b)) {
            (Some(a), Some(b)) if method == Method::Paired => paired(&a, &b),
            (Some(a), Some(b)) => welch(&a, &b),
            _ => None,
        };
        let last = |values: &[Option<f64>]| {
            values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect::<Vec<_>>()
        };
        // With single runs there is nothing to rank.
        let ranks = (a.len() > 1 && b.len() > 1).then(|| rank_sum(&last(&a), &last(&b))).flatten();
        Self {
            a: Arrivals::new(a),
            b: Arrivals::new(b),
            test,
            ranks,
            corrected_p: ranks.map(|ranks| ranks.p),
        }
    }
}

impl Arrivals {
    fn new(values: Vec<Option<f64>>) -> Self {
        let arrived: Vec<f64> = values.iter().copied().flatten().collect();
        let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).map(|&high| 0.5 * (high + sorted[(sorted.len() - 1) / 2]));
        Self {
            runs: values.len(),
            values,
            arrived: Summary::of_values(&arrived),
            median: median.filter(|median| median.is_finite()),
        }
    }
}
