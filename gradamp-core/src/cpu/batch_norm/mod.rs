//! Batch norm over rows, alone and fused with ReLU and a residual.

mod backward;
#[cfg(test)]
mod tests;

use crate::geometry::Rows;

use super::Cpu;
use super::elementwise::{SHORT, add_rows, row_block};
use super::simd::vectorised;

pub(super) use backward::batch_norm_backward;

/// The per-channel operands of a batch norm, as slices; see [`crate::backend::BatchNormOperands`].
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) mean: &'a [f32],
    pub(super) variance: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) epsilon: f32,
}

impl Operands<'_> {
    /// 1 / sqrt(variance + epsilon)
    fn inverse_deviation(&self) -> Vec<f32> {
        self.variance.iter().map(|&v| (1.0 / f64::from(v + self.epsilon).sqrt()) as f32).collect()
    }

    /// gamma / sqrt(variance + epsilon)
    fn scale(&self) -> Vec<f32> {
        self.inverse_deviation().iter().zip(self.gamma).map(|(d, g)| d * g).collect()
    }
}

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
///
/// Two passes over each block of rows, the second one in cache: its mean, then the squares around that mean.
/// The blocks' moments are joined in f64 (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979).
pub(super) fn batch_norm_statistics(cpu: &Cpu, g: &Rows, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let c = g.channels;
    let block = row_block(g);
    // Of each block: [mean | Σ (x − mean)²].
    let mut moments = vec![0.0f64; g.rows.div_ceil(block) * 2 * c];
    cpu.threads().each(moments.chunks_mut(2 * c).zip(x[..g.len()].chunks(block * c)), |(moments, x)| {
        let rows = (x.len() / c) as f64;
        let (means, squares) = moments.split_at_mut(c);
        add_rows_to(cpu, x, means);
        let centre: Vec<f32> = means.iter().map(|sum| (sum / rows) as f32).collect();
        // The second pass also finds by how much the first one's mean is off.
        means.fill(0.0);
        add_deviations(cpu, x, &centre, means, squares);
        for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
            let rest = *mean / rows;
            *square -= rest * rest * rows;
            *mean = f64::from(centre) + rest;
        }
    });
    for (channel, (mean, variance)) in mean[..c].iter_mut().zip(&mut variance[..c]).enumerate() {
        let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
        for (i, moments) in moments.chunks(2 * c).enumerate() {
            let rows = (g.rows - i * block).min(block) as f64;
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

vectorised! {
    /// sums[c] += Σ_r x[r, c]
    fn add_rows_to<'a>(x: &'a [f32], sums: &'a mut [f64]) {
        add_rows(x, sums.len(), sums, |x| x);
    }
}

vectorised! {
    /// sums[c] += Σ_r (x[r, c] − centre[c]); squares[c] += Σ_r (x[r, c] − centre[c])²
    fn add_deviations<'a>(x: &'a [f32], centre: &'a [f32], sums: &'a mut [f64], squares: &'a mut [f64]) {
        let c = sums.len();
        let mut short = vec![0.0f32; 2 * c];
        for x in x.chunks(SHORT * c) {
            short.fill(0.0);
            let (plain, square) = short.split_at_mut(c);
            for x in x.chunks_exact(c) {
                for (((plain, square), x), centre) in plain.iter_mut().zip(&mut *square).zip(x).zip(centre) {
                    let deviation = x - centre;
                    *plain += deviation;
                    *square += deviation * deviation;
                }
            }
            for (sum, short) in sums.iter_mut().chain(&mut *squares).zip(&short) {
                *sum += f64::from(*short);
            }
        }
    }
}

/// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta
pub(super) fn batch_norm(cpu: &Cpu, g: &Rows, p: Operands<'_>, x: &[f32], y: &mut [f32]) {
    normalise::<false>(cpu, g, p, x, None, y);
}

/// y = relu(batch_norm(x) + residual)
pub(super) fn batch_norm_relu(
    cpu: &Cpu,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    normalise::<true>(cpu, g, p, x, residual, y);
}

/// y = (x − mean) · scale + beta + residual, rectified or not
fn normalise<const RELU: bool>(
    cpu: &Cpu,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    let scale = p.scale();
    let (c, block) = (g.channels, row_block(g) * g.channels);
    let (x, y) = (&x[..g.len()], &mut y[..g.len()]);
    let (mean, beta, scale) = (&p.mean[..c], &p.beta[..c], &scale[..c]);
    let parts = x.chunks(block).zip(y.chunks_mut(block));
    match residual {
        None => cpu.threads().each(parts, |(x, y)| scale_rows::<RELU>(cpu, x, mean, scale, beta, y)),
        Some(residual) => {
            let parts = parts.zip(residual[..g.len()].chunks(block));
            cpu.threads().each(parts, |((x, y), residual)| {
                scale_and_add_rows::<RELU>(cpu, x, mean, scale, beta, residual, y);
            });
        }
    }
}

vectorised! {
    fn scale_rows<'a, const RELU: bool>(
        x: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], y: &'a mut [f32],
    ) {
        let c = mean.len();
        let (scale, beta) = (&scale[..c], &beta[..c]);
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            for i in 0..c {
                y[i] = rectify::<RELU>((x[i] - mean[i]) * scale[i] + beta[i]);
            }
        }
    }
}

vectorised! {
    fn scale_and_add_rows<'a, const RELU: bool>(
        x: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], residual: &'a [f32], y: &'a mut [f32],
    ) {
        let c = mean.len();
        let (scale, beta) = (&scale[..c], &beta[..c]);
        for ((x, residual), y) in x.chunks_exact(c).zip(residual.chunks_exact(c)).zip(y.chunks_exact_mut(c)) {
            for i in 0..c {
                y[i] = rectify::<RELU>((x[i] - mean[i]) * scale[i] + beta[i] + residual[i]);
            }
        }
    }
}

/// max(y, 0), NaN where y is NaN; or y.
#[inline(always)]
fn rectify<const RELU: bool>(y: f32) -> f32 {
    if RELU && y <= 0.0 { 0.0 } else { y }
}
