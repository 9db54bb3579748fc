//! Batch norm over rows, alone and fused with ReLU and a residual.

mod backward;
mod block_sums;
mod operands;
mod rectified;
#[cfg(test)]
mod tests;

use gradamp_core::geometry::Rows;

use crate::channel_sums::joined_rows;
use crate::device::Cpu;
use crate::elementwise::row_block;
use crate::simd::vectorised;

pub(crate) use backward::batch_norm_backward;
pub(crate) use block_sums::{BlockSums, Quantity, batch_norm_statistics, join_moments};
pub(crate) use operands::Operands;
pub(crate) use rectified::{AddedGradient, RectifiedBatchNorm};

/// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta
pub(crate) fn batch_norm(cpu: &Cpu, g: &Rows, p: Operands<'_>, x: &[f32], y: &mut [f32]) {
    normalise::<false>(cpu, g, p, x, None, y);
}

/// y = relu(batch_norm(x) + residual)
pub(crate) fn batch_norm_relu(
    cpu: &Cpu,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    normalise::<true>(cpu, g, p, x, residual, y);
}

/// y = (x − mean) · scale + beta + residual; if RELU, y is rectified.
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
    let [mean, scale, beta] = [p.mean, &p.scale(), p.beta].map(|values| values[..c].repeat(joined_rows(c)));
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
    /// y = (x − mean) · scale + beta; if RELU, y is rectified. The operands are repeated for [`joined_rows`] rows.
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
    /// y = (x − mean) · scale + beta + residual; if RELU, y is rectified. Mean, scale and beta are repeated for [`joined_rows`]
    /// rows.
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

/// If RELU, max(y, 0), and NaN where y is NaN. Otherwise y.
#[inline(always)]
fn rectify<const RELU: bool>(y: f32) -> f32 {
    if RELU && y <= 0.0 { 0.0 } else { y }
}
