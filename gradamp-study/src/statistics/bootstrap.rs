//! The bootstrap interval of a mean over test examples.

use std::collections::BTreeMap;

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
    bootstrap_each(std::slice::from_ref(&values), resamples, seed).pop().flatten()
}

/// The number of sets whose sums are computed together. The values of one example fill a cache line.
const TOGETHER: usize = 8;

/// The interval of the mean of each set of values, as [`bootstrap`] computes it, bit for bit. Sets of equally many values share the
/// drawing of their resamples, which takes most of the time.
pub fn bootstrap_each<T: AsRef<[f64]>>(sets: &[T], resamples: usize, seed: u64) -> Vec<Option<Bootstrap>> {
    let mut by_size: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, values) in sets.iter().enumerate() {
        by_size.entry(values.as_ref().len()).or_default().push(i);
    }
    let mut all = vec![None; sets.len()];
    if resamples == 0 {
        return all;
    }
    by_size.remove(&0);
    let stream = Stream::new(seed, Purpose::Resample);
    for (examples, members) in by_size {
        let of_member = |member: &usize| sets[*member].as_ref();
        let blocks: Vec<Vec<[f64; TOGETHER]>> = members
            .chunks(TOGETHER)
            .map(|chunk| interleaved(&chunk.iter().map(of_member).collect::<Vec<_>>()))
            .collect();
        let means_of = |i: usize| resampled_means(&blocks, draws(examples, stream.at(i as u64)));
        // If the system starts no threads, this thread does all the work.
        let resampled: Vec<Vec<f64>> = match ThreadPoolBuilder::new().build() {
            Ok(pool) => pool.install(|| (0..resamples).into_par_iter().map(means_of).collect()),
            Err(_) => (0..resamples).map(means_of).collect(),
        };
        for (place, member) in members.iter().enumerate() {
            let values = of_member(member);
            let mut means: Vec<f64> = resampled.iter().map(|means| means[place]).collect();
            means.sort_by(f64::total_cmp);
            all[*member] = Some(Bootstrap {
                difference: mean(values),
                examples,
                resamples,
                percentile: (quantile(&means, 0.5 * ALPHA), quantile(&means, 1.0 - 0.5 * ALPHA)),
                bca: bca(&means, values),
            });
        }
    }
    all
}

/// The values of up to [`TOGETHER`] sets, example by example; zeros where there are fewer sets.
fn interleaved(sets: &[&[f64]]) -> Vec<[f64; TOGETHER]> {
    let examples = sets.first().map_or(0, |values| values.len());
    let row = |i: usize| std::array::from_fn(|set| sets.get(set).map_or(0.0, |values: &&[f64]| values[i]));
    (0..examples).map(row).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Draws `n` of `n` examples with replacement.
fn draws(n: usize, stream: Stream) -> Vec<usize> {
    // Makes two draws from each 64 random bits. The bias of a draw from 32 bits is below n / 2³².
    let pick = |bits: u64| ((bits * n as u64) >> 32) as usize;
    let pairs = (0..n.div_ceil(2) as u64).map(|pair| stream.bits(pair));
    pairs.flat_map(|bits| [pick(bits & 0xFFFF_FFFF), pick(bits >> 32)]).take(n).collect()
}

/// The mean of each set over these examples: first those of the first block.
fn resampled_means(blocks: &[Vec<[f64; TOGETHER]>], draws: Vec<usize>) -> Vec<f64> {
    let mut means = Vec::with_capacity(TOGETHER * blocks.len());
    for block in blocks {
        // Eight sums in registers: in an inner loop over the sets they take several times as long without optimisation.
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = [0.0; TOGETHER];
        for &example in &draws {
            let row = &block[example];
            a += row[0];
            b += row[1];
            c += row[2];
            d += row[3];
            e += row[4];
            f += row[5];
            g += row[6];
            h += row[7];
        }
        means.extend([a, b, c, d, e, f, g, h].map(|sum| sum / draws.len() as f64));
    }
    means
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
