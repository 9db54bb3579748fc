//! Times of events of which some are not known because the observation ended first: Kaplan and Meier's estimate, the restricted
//! mean, and the log-rank test.

use serde::{Deserialize, Serialize};

use super::distributions::{chi_square_tail, normal_quantile, student_critical};
use super::means::MeanDifference;
use super::{ALPHA, Summary};

/// When an event happened, or until when it had not happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The time of the event, or else of the end of the observation. Finite and not negative.
    pub time: f64,
    /// Whether the event happened at `time`. If not, the time of the event is right-censored: it is later than `time`.
    pub happened: bool,
}

/// Kaplan and Meier's estimate: the share for which the event has not happened yet, over time.
///
/// S(t) = Π over the times tᵢ ≤ t of (1 − dᵢ/nᵢ), with dᵢ events at tᵢ among the nᵢ that were still observed. An observation
/// that is censored at tᵢ is among them.
///
/// **Source:** E. L. Kaplan, P. Meier, "Nonparametric estimation from incomplete observations", Journal of the American
/// Statistical Association 53, 1958.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KaplanMeier {
    /// The number of observations.
    pub n: usize,
    /// The distinct times of events and of censoring, ascending.
    pub steps: Vec<SurvivalStep>,
}

/// The estimate from one time until the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SurvivalStep {
    /// The time.
    pub time: f64,
    /// How many were observed until this time.
    pub at_risk: usize,
    /// How many events happened at this time.
    pub events: usize,
    /// How many observations ended at this time without the event.
    pub censored: usize,
    /// The share for which the event has not happened up to this time: S.
    pub share: f64,
    /// The standard error of the share, by Greenwood's formula: S √(Σ dᵢ / (nᵢ (nᵢ − dᵢ))); 0 where S is 0.
    pub standard_error: f64,
    /// The 95 % interval of the share at this time alone (pointwise): exp(−exp(θ ± z √(Σ dᵢ / (nᵢ (nᵢ − dᵢ))) / ln S)), where
    /// θ = ln(−ln S) and z is the 97.5 % quantile of the normal distribution. It lies between 0 and 1. `None` where S is 0 or 1,
    /// because θ is not finite.
    ///
    /// **Source:** J. D. Kalbfleisch, R. L. Prentice, "The Statistical Analysis of Failure Time Data", Wiley, 1980, section 1.4:
    /// the interval of Greenwood's variance, transformed by log(−log).
    pub ci: Option<(f64, f64)>,
}

/// The mean of the times, where the time between the horizon and a later event does not count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestrictedMean {
    /// The horizon.
    pub horizon: f64,
    /// The restricted mean: ∫ S(t) dt from 0 to the horizon.
    pub mean: f64,
    /// The mean's standard error; `None` for fewer than two observations.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the mean, by Student's distribution.
    pub ci: Option<(f64, f64)>,
    /// The number of observations.
    pub n: usize,
}

/// The log-rank test of two groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRank {
    /// The events in group B.
    pub observed_b: f64,
    /// The events in group B that are expected if the groups do not differ.
    pub expected_b: f64,
    /// (observed − expected)² / variance.
    pub chi_square: f64,
    /// The probability of so large a chi-square if the groups do not differ.
    pub p: f64,
}

impl KaplanMeier {
    /// The estimate from `observations`, in any order.
    pub fn new(observations: &[Observation]) -> Self {
        let mut sorted = observations.to_vec();
        sorted.sort_by(|x, y| x.time.total_cmp(&y.time));
        let (mut at_risk, mut share, mut greenwood) = (sorted.len(), 1.0, 0.0);
        let mut steps = Vec::new();
        for tied in sorted.chunk_by(|x, y| x.time == y.time) {
            let events = tied.iter().filter(|observation| observation.happened).count();
            let (n, d) = (at_risk as f64, events as f64);
            share *= (n - d) / n;
            greenwood += if events < at_risk { d / (n * (n - d)) } else { 0.0 };
            steps.push(SurvivalStep {
                time: tied[0].time,
                at_risk,
                events,
                censored: tied.len() - events,
                share,
                standard_error: share * greenwood.sqrt(),
                ci: log_log_interval(share, greenwood),
            });
            at_risk -= tied.len();
        }
        Self { n: sorted.len(), steps }
    }

    /// The share for which the event has not happened up to `time`: S(t).
    pub fn share(&self, time: f64) -> f64 {
        let passed = self.steps.partition_point(|step| step.time <= time);
        passed.checked_sub(1).map_or(1.0, |last| self.steps[last].share)
    }

    /// The first time at which the event has happened for at least half; `None` if it is not reached.
    pub fn median(&self) -> Option<f64> {
        // The products that make a share of one half may be a rounding error above it.
        self.steps.iter().find(|step| step.share <= 0.5 + 1e-12).map(|step| step.time)
    }

    /// The restricted mean up to `horizon`. No observation should be censored before the horizon without need: after the last
    /// observation the curve is taken to be level.
    ///
    /// The squared standard error is n/(n − 1) Σ Aᵢ² dᵢ / (nᵢ (nᵢ − dᵢ)) over the events before the horizon, with
    /// Aᵢ = ∫ S(t) dt from tᵢ to the horizon. The factor n/(n − 1) makes it the usual error of a mean where nothing is
    /// censored before the horizon. `None` without observations, or if the horizon is not positive.
    ///
    /// **Source:** Kaplan and Meier, 1958, section 6.
    pub fn restricted_mean(&self, horizon: f64) -> Option<RestrictedMean> {
        if self.n == 0 || horizon.is_nan() || horizon <= 0.0 {
            return None;
        }
        let before = &self.steps[..self.steps.partition_point(|step| step.time < horizon)];
        let (mut area, mut variance, mut end) = (0.0, 0.0, horizon);
        for step in before.iter().rev() {
            area += step.share * (end - step.time); // from the step's time to the horizon
            end = step.time;
            let (n, d) = (step.at_risk as f64, step.events as f64);
            if step.events < step.at_risk {
                variance += area * area * d / (n * (n - d));
            }
        }
        let (n, mean) = (self.n, area + end);
        let error = (n > 1).then(|| (variance * n as f64 / (n as f64 - 1.0)).sqrt());
        let half = error.map(|error| student_critical(ALPHA, n as f64 - 1.0) * error);
        let ci = half.map(|half| (mean - half, mean + half));
        Some(RestrictedMean { horizon, mean, standard_error: error, ci, n })
    }
}

/// The 95 % interval of a share, from Greenwood's sum; see [`SurvivalStep::ci`].
fn log_log_interval(share: f64, greenwood: f64) -> Option<(f64, f64)> {
    let (theta, half) =
        ((-share.ln()).ln(), normal_quantile(1.0 - 0.5 * ALPHA) * greenwood.sqrt() / -share.ln());
    let bound = |theta: f64| (-theta.exp()).exp();
    (theta.is_finite() && share < 1.0).then(|| (bound(theta + half), bound(theta - half)))
}

impl RestrictedMean {
    /// The difference of two restricted means, B − A, with Welch's degrees of freedom. `None` where a group has fewer than two
    /// observations, or neither group has any spread.
    pub fn difference(a: &Self, b: &Self) -> Option<MeanDifference> {
        let summary = |mean: &Self| {
            let sd = mean.standard_error? * (mean.n as f64).sqrt();
            Some(Summary { n: mean.n, mean: mean.mean, sd: Some(sd), ci: None })
        };
        MeanDifference::of_summaries(&summary(a)?, &summary(b)?)
    }
}

/// The log-rank test of two groups: whether events happen at the same rate in A and B.
///
/// At each time with d events among n of both groups, n_B of them in B, d n_B/n events are expected in B with the variance
/// d (n_B/n) (1 − n_B/n) (n − d)/(n − 1). The p-value is that of the chi-square distribution with one degree of freedom; it is
/// approximate for few events. `None` if there is no event while both groups are observed.
///
/// **Source:** N. Mantel, "Evaluation of survival data and two new rank order statistics arising in its consideration", Cancer
/// Chemotherapy Reports 50, 1966.
pub fn log_rank(a: &[Observation], b: &[Observation]) -> Option<LogRank> {
    let all: Vec<Observation> = a.iter().chain(b).copied().collect();
    let at_risk_in =
        |group: &[Observation], time: f64| group.iter().filter(|it| it.time >= time).count() as f64;
    let (mut observed_b, mut expected_b, mut variance) = (0.0, 0.0, 0.0);
    for step in KaplanMeier::new(&all).steps {
        let (n, d, n_b) = (step.at_risk as f64, step.events as f64, at_risk_in(b, step.time));
        observed_b += b.iter().filter(|it| it.happened && it.time == step.time).count() as f64;
        expected_b += d * n_b / n;
        if step.at_risk > 1 {
            variance += d * (n_b / n) * (1.0 - n_b / n) * (n - d) / (n - 1.0);
        }
    }
    let chi_square = (observed_b - expected_b).powi(2) / variance;
    (variance > 0.0).then(|| LogRank { observed_b, expected_b, chi_square, p: chi_square_tail(chi_square) })
}
