//! The time that runs take to reach a target accuracy.

use serde::{Deserialize, Serialize};

use super::member::Member;
use crate::statistics::{MeanDifference, Method, RankSum, Summary, paired, rank_sum, welch};

/// The test accuracy whose arrival is timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The target accuracy.
    pub accuracy: f64,
    /// Describes how the target was chosen.
    pub chosen: String,
    /// The epochs until the target is reached.
    pub epochs: Contest,
    /// The seconds of training steps until the target is reached.
    pub seconds: Contest,
}

/// The times at which the runs of two groups reach the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// Of A.
    pub a: Arrivals,
    /// Of B.
    pub b: Arrivals,
    /// The test of the difference of the means; `None` if some run never reaches the target.
    pub test: Option<MeanDifference>,
    /// The rank-sum test of the times. Runs that never reach the target rank last.
    pub ranks: Option<RankSum>,
    /// The p-value of the rank-sum test, corrected for all comparisons of the sweep.
    pub corrected_p: Option<f64>,
}

/// The times at which the runs of a group reach the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The number of runs.
    pub runs: usize,
    /// The time of each run, in the group's order; `None` if the run never reaches the target.
    pub values: Vec<Option<f64>>,
    /// The summary of the runs that reach the target.
    pub arrived: Summary,
    /// The median of all runs; `None` if half of the runs never reach the target.
    pub median: Option<f64>,
}

impl Target {
    /// Measures the times at which the runs reach `accuracy`; `None` if the folder of a run was removed.
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
    /// Compares the times of two groups. `None` stands for a run that never reaches the target.
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
        // The ranks of two single runs carry no information.
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
