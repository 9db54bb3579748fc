//! Mean and variance of each channel: block by block, each around its own mean, then joined.

use crate::Cpu;
use crate::columns::{add_columns, add_rows};
use crate::elementwise::together;
use crate::simd::vectorised;
use gradamp_core::geometry::Rows;

use super::blocks::Blocks;

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
pub(crate) fn batch_norm_statistics(cpu: &Cpu, g: &Rows, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    join(&Blocks::moments(cpu, g, x), g, mean, variance);
}

/// The moments of all rows, in f64 (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979).
pub(crate) fn join(blocks: &Blocks<'_>, g: &Rows, mean: &mut [f32], variance: &mut [f32]) {
    let c = g.channels;
    for (channel, (mean, variance)) in mean[..c].iter_mut().zip(&mut variance[..c]).enumerate() {
        let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
        for (rows, moments) in blocks.each(g) {
            let rows = rows as f64;
            let delta = moments[channel] - centre;
            squares += moments[c + channel] + delta * delta * count * rows / (count + rows);
            count += rows;
            centre += delta * rows / count;
        }
        *mean = centre as f32;
        *variance = (squares / count).max(0.0) as f32;
        if squares.is_nan() {
            *variance = f32::NAN; // max above would hide it
        }
    }
}

/// `[mean | Σ (x − mean)²]` of a block of rows, in two passes, the second one in cache: its mean, then the squares around that mean.
pub(super) fn add_block(cpu: &Cpu, x: &[f32], moments: &mut [f64]) {
    let c = moments.len() / 2;
    let rows = (x.len() / c) as f64;
    add_rows::<false>(cpu, x, &mut moments[..c]);
    let centre: Vec<f32> = moments[..c].iter().map(|sum| (sum / rows) as f32).collect();
    // The second pass also finds by how much the first one's mean is off.
    moments[..c].fill(0.0);
    add_deviations(cpu, x, &centre.repeat(together(c)), moments);
    let (means, squares) = moments.split_at_mut(c);
    for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
        let rest = *mean / rows;
        *square -= rest * rest * rows;
        *mean = f64::from(centre) + rest;
    }
}

vectorised! {
    /// sums[c] += Σ_r (x[r, c] − centre[c]); squares[c] += Σ_r (x[r, c] − centre[c])²; centre for some rows [`together`].
    fn add_deviations<'a>(x: &'a [f32], centre: &'a [f32], sums: &'a mut [f64]) {
        let found = |[x]: [V; 1], [centre]: [V; 1]| {
            let deviation = x - centre;
            [deviation, deviation * deviation]
        };
        // SAFETY: the machine has V's instructions: a job's promise.
        unsafe { add_columns(sums.len() / 2, [x], [centre], sums, found) };
    }
}
