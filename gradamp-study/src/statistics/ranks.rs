//! Which group arrives first, where some runs never arrive.

use serde::{Deserialize, Serialize};

use super::distributions::normal;

/// The test of two groups by ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankSum {
    /// Of all pairs of a run of A and one of B, how many have the larger value in B; ties count half.
    pub u: f64,
    /// The chance of ranks so far apart where the groups do not differ.
    pub p: f64,
    /// Whether all ways to deal the ranks were counted, rather than approximated by the normal distribution.
    pub exact: bool,
}

/// Up to so many values all ways are counted.
const FEW: usize = 40;

/// The rank-sum test of Wilcoxon, Mann and Whitney. It asks for the order of the values only: those that are infinite
/// (a target never reached) are the last, alike among themselves.
///
/// Exact over all ways to deal the ranks, ties included, as long as there are few; else normal, corrected for ties and
/// continuity. `None` where a group is empty.
///
/// **Source:** H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18, 1947.
pub fn rank_sum(a: &[f64], b: &[f64]) -> Option<RankSum> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut values: Vec<(f64, bool)> =
        a.iter().map(|&a| (a, false)).chain(b.iter().map(|&b| (b, true))).collect();
    values.sort_by(|x, y| x.0.total_cmp(&y.0));
    // Ranks doubled, so that those shared by ties are whole: ties at i..j have i + j + 1.
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

/// The share of the choices of `count` ranks whose sum is at least as far from the middle as `sum`.
fn chance_of(ranks: &[usize], count: usize, sum: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // ways[k][s]: choices of k of the ranks so far with the sum s.
    let mut ways = vec![vec![0.0_f64; total + 1]; count + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        for k in (1..=count).rev() {
            for s in (rank..=total).rev() {
                ways[k][s] += ways[k - 1][s - rank];
            }
        }
    }
    // The middle is count/n of the total; times n, so that all is whole.
    let distance = |s: usize| (s * ranks.len()).abs_diff(count * total);
    let far = |(s, ways): (usize, &f64)| if distance(s) >= distance(sum) { *ways } else { 0.0 };
    ways[count].iter().enumerate().map(far).sum::<f64>() / ways[count].iter().sum::<f64>()
}
