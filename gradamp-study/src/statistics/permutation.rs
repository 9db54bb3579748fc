//! Tests that assume no distribution: sign flips of pairs, and exchanges between two groups.

use gradamp_core::random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

use super::means::pair_differences;

/// A test by rearranging the values: how often chance alone makes a difference as large as the one found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permutation {
    /// The share of the arrangements whose difference is at least as large as the one found, in either direction.
    pub p: f64,
    /// The number of arrangements that were counted or drawn.
    pub arrangements: u64,
    /// Whether all arrangements were counted. If not, `p` is (1 + hits) / (1 + draws).
    pub exact: bool,
    /// The smallest p-value that so many values can give: with 5 pairs 2/2⁵ = 0.0625.
    pub smallest_p: f64,
}

/// Up to this many pairs all sign flips are counted.
const MOST_PAIRS: usize = 20;
/// Up to this many ways of dealing the values to two groups all are counted: those of two groups of ten.
const MOST_DEALS: u64 = 184_756;
/// The number of draws where not all arrangements are counted.
const DRAWS: u64 = 100_000;

/// The sign-flip test of the differences of pairs: `a[i]` and `b[i]` have the same seed. If A and B do not differ, each
/// difference is as likely to have the other sign.
///
/// Counts all 2ⁿ sign patterns of up to 20 pairs, otherwise draws patterns with a fixed seed. `None` without pairs, or for groups
/// of different sizes.
///
/// **Source:** R. A. Fisher, "The Design of Experiments", 1935, section 21.
pub fn sign_flips(a: &[f64], b: &[f64]) -> Option<Permutation> {
    let differences = pair_differences(a, b).filter(|differences| !differences.is_empty())?;
    let n = differences.len();
    let found = differences.iter().sum::<f64>().abs();
    let is_hit = is_at_least(found, differences.iter().map(|it| it.abs()).sum());
    if n > MOST_PAIRS {
        let stream = Stream::new(0, Purpose::Resample);
        let sum = |i: u64| {
            let stream = stream.at(i);
            let sign = |j: usize| 1.0 - 2.0 * ((stream.bits(j as u64 / 64) >> (j % 64)) & 1) as f64;
            differences.iter().enumerate().map(|(j, it)| sign(j) * it).sum::<f64>()
        };
        let hits = (0..DRAWS).filter(|&i| is_hit(sum(i))).count() as u64;
        return Some(Permutation::drawn(hits, 2.0 * 0.5_f64.powi(n.min(1000) as i32)));
    }
    // Each pattern of all signs is a pattern of the first half and one of the second: few additions, and little rounding.
    let sums = |part: &[f64]| {
        part.iter()
            .fold(vec![0.0], |sums: Vec<f64>, it| sums.iter().flat_map(|sum| [sum + it, sum - it]).collect())
    };
    let (first, second) = differences.split_at(n / 2);
    let (first, second) = (sums(first), sums(second));
    let hits = first.iter().map(|x| second.iter().filter(|y| is_hit(x + *y)).count() as u64).sum();
    Some(Permutation::counted(hits, 1 << n, if n == 1 { 1.0 } else { 2.0 * 0.5_f64.powi(n as i32) }))
}

/// The permutation test of two groups by the difference of their means. If A and B do not differ, each way of dealing the values to
/// two groups of these sizes is equally likely.
///
/// Counts all ways where there are at most 184,756 of them, those of two groups of ten; otherwise draws with a fixed seed. `None`
/// where a group is empty.
///
/// **Source:** E. J. G. Pitman, "Significance tests which may be applied to samples from any populations", Supplement to the
/// Journal of the Royal Statistical Society 4, 1937.
pub fn permutation(a: &[f64], b: &[f64]) -> Option<Permutation> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    // Less their mean, so that the sum over B alone is the difference of the means, times a constant.
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let centred: Vec<f64> = all.iter().map(|value| value - mean).collect();
    let found = centred[a.len()..].iter().sum::<f64>().abs();
    let is_hit = is_at_least(found, centred.iter().map(|it| it.abs()).sum());
    let ways = ways(all.len(), b.len());
    // Two groups of one size can change sides.
    let smallest = (if a.len() == b.len() { 2.0 } else { 1.0 } / ways).min(1.0);
    if ways <= MOST_DEALS as f64 {
        return Some(Permutation::counted(
            hits_of_deals(&centred, b.len(), 0.0, &is_hit),
            ways as u64,
            smallest,
        ));
    }
    let stream = Stream::new(0, Purpose::Resample);
    let mut order: Vec<usize> = (0..centred.len()).collect();
    let hits = (0..DRAWS).filter(|&i| {
        let stream = stream.at(i);
        let sum: f64 = (0..b.len())
            .map(|j| {
                let left = (order.len() - j) as u64;
                order.swap(j, j + (((stream.bits(j as u64) >> 32) * left) >> 32) as usize);
                centred[order[j]]
            })
            .sum();
        is_hit(sum)
    });
    Some(Permutation::drawn(hits.count() as u64, smallest))
}

impl Permutation {
    fn counted(hits: u64, arrangements: u64, smallest_p: f64) -> Self {
        Self { p: hits as f64 / arrangements as f64, arrangements, exact: true, smallest_p }
    }

    fn drawn(hits: u64, smallest_p: f64) -> Self {
        let p = (1 + hits) as f64 / (1 + DRAWS) as f64;
        Self { p, arrangements: DRAWS, exact: false, smallest_p: smallest_p.max(1.0 / (1 + DRAWS) as f64) }
    }
}

/// Whether a sum is as far from 0 as `found`. Sums that differ by rounding alone are equal.
fn is_at_least(found: f64, magnitude: f64) -> impl Fn(f64) -> bool {
    let least = found - 1e-12 * magnitude;
    move |sum: f64| sum.abs() >= least
}

/// The number of ways to choose `k` of `n`.
fn ways(n: usize, k: usize) -> f64 {
    (1..=k.min(n - k)).fold(1.0, |ways, i| ways * (n + 1 - i) as f64 / i as f64).round()
}

/// How many choices of `count` of the values have a sum, added to `sum`, that is a hit.
fn hits_of_deals(values: &[f64], count: usize, sum: f64, is_hit: &impl Fn(f64) -> bool) -> u64 {
    if count == 0 {
        return u64::from(is_hit(sum));
    }
    match values {
        [first, rest @ ..] if values.len() >= count => {
            hits_of_deals(rest, count - 1, sum + first, is_hit) + hits_of_deals(rest, count, sum, is_hit)
        }
        _ => 0,
    }
}
