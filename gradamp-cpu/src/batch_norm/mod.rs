//! Batch norm over rows, alone and fused with ReLU and a residual.

mod backward;
mod blocks;
mod moments;
mod rectified;
#[cfg(test)]
mod tests;

use gradamp_core::geometry::Rows;

use super::Cpu;
use super::elementwise::{row_block, together};
use super::simd::vectorised;

pub(super) use backward::batch_norm_backward;
pub(super) use blocks::{Blocks, Find};
pub(super) use moments::{batch_norm_statistics, join};
pub(super) use rectified::{Rectified, Share};

/// The per-channel operands of a batch norm, as slices; see [`gradamp_core::backend::BatchNormOperands`].
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
    let (c, block) = (g.channels, row_block(g) * g.channels);
    let (x, y) = (&x[..g.len()], &mut y[..g.len()]);
    let [mean, scale, beta] = [p.mean, &p.scale(), p.beta].map(|values| values[..c].repeat(together(c)));
    let (mean, scale, beta) = (&mean[..], &scale[..], &beta[..]);
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
    /// y = (x − mean) · scale + beta; the operands for some rows [`together`].
    fn scale_rows<'a, const RELU: bool>(
        x: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], y: &'a mut [f32],
    ) {
        for (x, y) in x.chunks(mean.len()).zip(y.chunks_mut(mean.len())) {
            let n = x.len();
            let (mean, scale, beta, y) = (&mean[..n], &scale[..n], &beta[..n], &mut y[..n]);
            for i in 0..n {
                y[i] = rectify::<RELU>((x[i] - mean[i]) * scale[i] + beta[i]);
            }
        }
    }
}

vectorised! {
    /// y = (x − mean) · scale + beta + residual; the operands for some rows [`together`].
    fn scale_and_add_rows<'a, const RELU: bool>(
        x: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], residual: &'a [f32], y: &'a mut [f32],
    ) {
        let wide = mean.len();
        for ((x, residual), y) in x.chunks(wide).zip(residual.chunks(wide)).zip(y.chunks_mut(wide)) {
            let n = x.len();
            let (mean, scale, beta) = (&mean[..n], &scale[..n], &beta[..n]);
            let (residual, y) = (&residual[..n], &mut y[..n]);
            for i in 0..n {
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
