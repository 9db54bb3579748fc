//! The time that runs take to reach a target accuracy.

use serde::{Deserialize, Serialize};

use super::course::{Course, TimeUnit};
use super::options::method;
use crate::statistics::{
    KaplanMeier, LogRank, MeanDifference, Method, Observation, RankSum, RestrictedMean, Summary, log_rank,
    paired, rank_sum, welch,
};

/// The test accuracy whose arrival is timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The target accuracy.
    pub accuracy: f64,
    /// Describes how the target was chosen.
    pub chosen: String,
    /// The epochs until the target is reached.
    pub epochs: Contest,
    /// The steps until the target is reached.
    #[serde(default)]
    pub steps: Option<Contest>,
    /// The images that are trained on until the target is reached.
    #[serde(default)]
    pub images: Option<Contest>,
    /// The seconds of training steps until the target is reached; `None` if the runs may have shared a machine, or were made on
    /// several devices.
    pub seconds: Option<Contest>,
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
    /// The p-value of the rank-sum test, corrected over the sweep's cells; for a control, over its controls.
    pub corrected_p: Option<f64>,
    /// The horizon of the restricted means: the time up to which both groups were observed.
    #[serde(default)]
    pub horizon: Option<f64>,
    /// The difference of the restricted means, by pairs if the seeds are the same and no run is censored before the horizon.
    #[serde(default)]
    pub restricted: Option<MeanDifference>,
    /// The log-rank test; `None` if no run reaches the target, or a group has fewer than two runs.
    #[serde(default)]
    pub log_rank: Option<LogRank>,
    /// The p-value of the log-rank test, corrected over the sweep's cells and all targets; for a control, over its controls.
    #[serde(default)]
    pub corrected_log_rank_p: Option<f64>,
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
    /// The time of each run, or until when it had not reached the target.
    #[serde(default)]
    pub observations: Vec<Observation>,
    /// The mean of all runs up to the horizon.
    #[serde(default)]
    pub restricted: Option<RestrictedMean>,
}

impl Target {
    /// Measures the times at which the runs of two groups, each sorted by seed, reach `accuracy`. `with_seconds` says whether seconds
    /// can be compared. `None` if a group is empty, or no run was ever evaluated.
    pub fn timed(
        (accuracy, chosen): (f64, String),
        a: &[&Course],
        b: &[&Course],
        with_seconds: bool,
    ) -> Option<Self> {
        let contest = |unit| Contest::timed(accuracy, unit, a, b);
        Some(Self {
            accuracy,
            chosen,
            epochs: contest(TimeUnit::Epochs)?,
            steps: contest(TimeUnit::Steps),
            images: contest(TimeUnit::Images),
            seconds: if with_seconds { contest(TimeUnit::Seconds) } else { None },
        })
    }

    /// The times in one unit.
    pub fn contest(&self, unit: TimeUnit) -> Option<&Contest> {
        match unit {
            TimeUnit::Epochs => Some(&self.epochs),
            TimeUnit::Steps => self.steps.as_ref(),
            TimeUnit::Images => self.images.as_ref(),
            TimeUnit::Seconds => self.seconds.as_ref(),
        }
    }

    /// The times in each unit that there is.
    pub(super) fn contests_mut(&mut self) -> impl Iterator<Item = (TimeUnit, &mut Contest)> {
        let others = [
            (TimeUnit::Steps, self.steps.as_mut()),
            (TimeUnit::Images, self.images.as_mut()),
            (TimeUnit::Seconds, self.seconds.as_mut()),
        ];
        let others = others.into_iter().filter_map(|(unit, contest)| Some((unit, contest?)));
        std::iter::once((TimeUnit::Epochs, &mut self.epochs)).chain(others)
    }

    /// Whether any run reaches the target.
    pub fn is_reached(&self) -> bool {
        self.epochs.a.arrived.n + self.epochs.b.arrived.n > 0
    }
}

impl Contest {
    /// Compares the times, in one unit, at which the runs of two groups reach `accuracy`. `None` if a group is empty, or no run was
    /// ever evaluated.
    pub fn timed(accuracy: f64, unit: TimeUnit, a: &[&Course], b: &[&Course]) -> Option<Self> {
        let end = a.iter().chain(b).map(|course| course.end(unit)).fold(0.0, f64::max);
        let seeds = |group: &[&Course]| group.iter().map(|course| course.seed).collect::<Vec<_>>();
        let observe = |group: &[&Course]| {
            group.iter().map(|course| course.arrival(accuracy, unit, end)).collect::<Vec<_>>()
        };
        let is_there = !a.is_empty() && !b.is_empty() && end > 0.0;
        is_there.then(|| Self::between(observe(a), observe(b), method(&seeds(a), &seeds(b)), end))
    }

    /// The difference of the restricted means, B − A.
    pub fn difference(&self) -> Option<f64> {
        Some(self.b.restricted?.mean - self.a.restricted?.mean)
    }

    /// Compares the times of two groups, whose longest run ended at `end`. With [`Method::Paired`], `a[i]` and `b[i]` have the same
    /// seed.
    pub fn between(a: Vec<Observation>, b: Vec<Observation>, method: Method, end: f64) -> Self {
        let horizon = horizon(&a, end).min(horizon(&b, end));
        let (a, b) = (Arrivals::new(a, horizon), Arrivals::new(b, horizon));
        let test = |a: &[f64], b: &[f64]| match method {
            Method::Paired => paired(a, b),
            Method::Welch => welch(a, b),
        };
        let all = |arrivals: &Arrivals| arrivals.values.iter().copied().collect::<Option<Vec<f64>>>();
        let last = |arrivals: &Arrivals| {
            arrivals.values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect::<Vec<_>>()
        };
        // The ranks of two single runs carry no information.
        let are_several = a.runs > 1 && b.runs > 1;
        let ranks = are_several.then(|| rank_sum(&last(&a), &last(&b))).flatten();
        let log_rank = are_several.then(|| log_rank(&a.observations, &b.observations)).flatten();
        let restricted = match (a.up_to(horizon), b.up_to(horizon)) {
            (Some(a), Some(b)) => test(&a, &b),
            _ => a
                .restricted
                .as_ref()
                .zip(b.restricted.as_ref())
                .and_then(|(a, b)| RestrictedMean::difference(a, b)),
        };
        Self {
            test: all(&a).zip(all(&b)).and_then(|(a, b)| test(&a, &b)),
            ranks,
            corrected_p: ranks.map(|ranks| ranks.p),
            horizon: (horizon > 0.0).then_some(horizon),
            restricted,
            corrected_log_rank_p: log_rank.map(|test| test.p),
            log_rank,
            a,
            b,
        }
    }
}

/// The time up to which a group is observed: the last censoring if some run never arrives, otherwise `end`.
fn horizon(observations: &[Observation], end: f64) -> f64 {
    let last = observations.iter().max_by(|x, y| {
        x.time.total_cmp(&y.time).then(y.happened.cmp(&x.happened)) // of equal times, the censored one is the later
    });
    last.filter(|last| !last.happened).map_or(end, |last| last.time)
}

impl Arrivals {
    fn new(observations: Vec<Observation>, horizon: f64) -> Self {
        let values: Vec<Option<f64>> =
            observations.iter().map(|observation| observation.happened.then_some(observation.time)).collect();
        let arrived: Vec<f64> = values.iter().copied().flatten().collect();
        let mut sorted: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::INFINITY)).collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).map(|&high| 0.5 * (high + sorted[(sorted.len() - 1) / 2]));
        Self {
            runs: values.len(),
            values,
            arrived: Summary::of_values(&arrived),
            median: median.filter(|median| median.is_finite()),
            restricted: KaplanMeier::new(&observations).restricted_mean(horizon),
            observations,
        }
    }

    /// Each run's time up to the horizon; `None` if a run is censored before the horizon.
    fn up_to(&self, horizon: f64) -> Option<Vec<f64>> {
        let time = |it: &Observation| (it.happened || it.time >= horizon).then_some(it.time.min(horizon));
        self.observations.iter().map(time).collect()
    }

    /// The share of the runs that have not arrived, over time.
    pub fn curve(&self) -> KaplanMeier {
        KaplanMeier::new(&self.observations)
    }
}
