//! The rank-sum test: which of two groups has the smaller values, even if some values are infinite.

use serde::{Deserialize, Serialize};

use super::distributions::normal;

/// The test of two groups by ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankSum {
    /// U: the number of pairs of a run of A and a run of B in which B has the larger value. A tie counts as half.
    pub u: f64,
    /// The p-value: the probability of ranks that differ at least as much, if the groups do not differ.
    pub p: f64,
    /// Whether p is exact: all ways to assign the ranks to the groups were counted. Otherwise p is an approximation by the normal
    /// distribution.
    pub exact: bool,
}

/// The most values for which p is exact.
const FEW: usize = 40;

/// The rank-sum test of Wilcoxon, Mann and Whitney. Only the order of the values matters. Infinite values (a target that was
/// never reached) come last and are tied.
///
/// With few values, p is exact: it counts all ways to assign the ranks to the groups, with ties. With more values, p is the
/// normal approximation, corrected for ties and continuity. `None` if a group is empty.
///
/// **Source:** H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18, 1947.
pub fn rank_sum(a: &[f64], b: &[f64]) -> Option<RankSum> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut values: Vec<(f64, bool)> =
        a.iter().map(|&a| (a, false)).chain(b.iter().map(|&b| (b, true))).collect();
    values.sort_by(|x, y| x.0.total_cmp(&y.0));
    // Ranks are doubled, so that the ranks of ties are integers: ties at i..j have the doubled rank i + j + 1.
    let (mut ranks, mut ties) = (Vec::with_capacity(values.len()), 0.0);
    for tied in values.chunk_by(|x, y| x.0 == y.0) {
        ranks.extend(std::iter::repeat_n(2 * ranks.len() + tied.len() + 1, tied.len()));
        ties += (tied.len() as f64).powi(3) - tied.len() as f64;
    }
    let sum: usize = ranks.iter().zip(&values).filter(|(_, (_, is_b))| *is_b).map(|(rank, _)| rank).sum();
    let (n_a, n_b, n) = (a.len() as f64, b.len() as f64, values.len() as f64);
    let u = 0.5 * sum as f64 - 0.5 * n_b * (n_b + 1.0);
    let exact = values.len() <= FEW;
    let p = if exact {
        chance_of(&ranks, b.len(), sum)
    } else {
        let variance = n_a * n_b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
        let distance = ((u - 0.5 * n_a * n_b).abs() - 0.5).max(0.0);
        if variance > 0.0 { 2.0 * normal(-distance / variance.sqrt()) } else { 1.0 }
    };
    Some(RankSum { u, p: p.min(1.0), exact })
}

/// The share of all choices of `count` ranks whose sum is at least as far from the middle as `sum`.
fn chance_of(ranks: &[usize], count: usize, sum: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // ways[k][s] is the number of choices of k of the ranks so far with the sum s.
    let mut ways = vec![vec![0.0_f64; total + 1]; count + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        for k in (1..=count).rev() {
            for s in (rank..=total).rev() {
                ways[k][s] += ways[k - 1][s - rank];
            }
        }
    }
    // The middle is count/n of the total. Everything is multiplied by n, so that all numbers are integers.
    let distance = |s: usize| (s * ranks.len()).abs_diff(count * total);
    let far = |(s, ways): (usize, &f64)| if distance(s) >= distance(sum) { *ways } else { 0.0 };
    ways[count].iter().enumerate().map(far).sum::<f64>() / ways[count].iter().sum::<f64>()
}
