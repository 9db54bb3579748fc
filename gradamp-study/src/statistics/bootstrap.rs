//! The bootstrap interval of a mean over test examples.

use gradamp_core::random::{Purpose, Stream};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ALPHA;
use super::distributions::{normal, normal_quantile};

/// A mean over examples, and intervals of the mean over other examples of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The mean.
    pub difference: f64,
    /// The number of examples.
    pub examples: usize,
    /// The number of resamples. Each has as many examples, drawn with replacement.
    pub resamples: usize,
    /// The interval of the middle 95 % of the means of the resamples.
    pub percentile: (f64, f64),
    /// The interval corrected for bias and skewness (BCa); `None` if all values are equal.
    pub bca: Option<(f64, f64)>,
}

/// The interval of the mean of `values`, which holds one value for each example. To compare two models, the value is B's hit
/// (1 or 0) minus A's hit, or the mean of these differences over seeds. The interval is a function of `values` and `seed`.
/// `None` without examples.
///
/// **Source:** B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82,
/// 1987.
pub fn bootstrap(values: &[f64], resamples: usize, seed: u64) -> Option<Bootstrap> {
    if values.is_empty() || resamples == 0 {
        return None;
    }
    let stream = Stream::new(seed, Purpose::Resample);
    let mean_of = |i: usize| resampled_mean(values, stream.at(i as u64));
    // If the system starts no threads, this thread does all the work.
    let mut means: Vec<f64> = match ThreadPoolBuilder::new().build() {
        Ok(pool) => pool.install(|| (0..resamples).into_par_iter().map(mean_of).collect()),
        Err(_) => (0..resamples).map(mean_of).collect(),
    };
    means.sort_by(f64::total_cmp);
    Some(Bootstrap {
        difference: mean(values),
        examples: values.len(),
        resamples,
        percentile: (quantile(&means, 0.5 * ALPHA), quantile(&means, 1.0 - 0.5 * ALPHA)),
        bca: bca(&means, values),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of as many values, drawn with replacement.
fn resampled_mean(values: &[f64], stream: Stream) -> f64 {
    let n = values.len();
    // Makes two draws from each 64 random bits. The bias of a draw from 32 bits is below n / 2³².
    let pick = |bits: u32| values[((u64::from(bits) * n as u64) >> 32) as usize];
    let sum: f64 = (0..n as u64)
        .map(|i| {
            let bits = stream.bits(i / 2);
            pick(if i % 2 == 0 { bits as u32 } else { (bits >> 32) as u32 })
        })
        .sum();
    sum / n as f64
}

/// The interval corrected for bias and skewness, from the sorted means of the resamples.
pub(super) fn bca(means: &[f64], values: &[f64]) -> Option<(f64, f64)> {
    let centre = mean(values);
    // The correction uses the skewness of the mean with one example left out. For a mean, this is the skewness of the values.
    let moment = |power| values.iter().map(|value| (value - centre).powi(power)).sum::<f64>();
    let acceleration = moment(3) / (6.0 * moment(2).powf(1.5));
    let (below, up_to) = (means.partition_point(|&m| m < centre), means.partition_point(|&m| m <= centre));
    let bias = normal_quantile(0.5 * (below + up_to) as f64 / means.len() as f64);
    let bound = |p| {
        let z = bias + normal_quantile(p);
        quantile(means, normal(bias + z / (1.0 - acceleration * z)))
    };
    let ci = (bound(0.5 * ALPHA), bound(1.0 - 0.5 * ALPHA));
    (acceleration.is_finite() && bias.is_finite()).then_some(ci)
}

/// The value below which a share of `p` of the sorted values lies, interpolated between neighbours. Expects at least one value.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, share) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + share * (sorted[high] - sorted[low])
}
