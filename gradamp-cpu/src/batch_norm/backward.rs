//! The gradients of a batch norm, with or without a rectifier behind it.

use crate::channel_sums::{add_channels, joined_rows};
use crate::device::Cpu;
use crate::elementwise::{block_sums, mask as mask_all, row_block};
use crate::simd::vectorised;
use gradamp_core::geometry::Rows;

use super::operands::Operands;

/// The gradients of a batch norm. With the rectifier's output `y`, dz is dy where y > 0, and 0 elsewhere; without it, dz is dy.
///
/// With x̂ = (x − mean) / sqrt(variance + epsilon):
/// dbeta = Σ_r dz; dgamma = Σ_r dz · x̂; dx = gamma / sqrt(variance + epsilon) · (dz − dbeta/rows − x̂ · dgamma/rows)
///
/// If there is a buffer `dz`, it receives dz.
pub(crate) fn batch_norm_backward(
    cpu: &Cpu,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    y: Option<&[f32]>,
    dy: &[f32],
    dz: Option<&mut [f32]>,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = g.channels;
    let (x, dy, dx) = (&x[..g.len()], &dy[..g.len()], &mut dx[..g.len()]);
    let mean = &p.mean[..c].repeat(joined_rows(c))[..];
    // sums: [dbeta | Σ_r dz · (x − mean)]. Once dz is stored, the second pass reads dz instead of dy and its mask y.
    let (sums, y, dy) = match (y, dz) {
        (Some(y), Some(dz)) => {
            let dz = &mut dz[..g.len()];
            let parts = dz.chunks_mut(row_block(g) * c);
            let sums = block_sums(cpu.threads(), g, 2, parts, |rows, dz, sums| {
                let part = rows.start * c..rows.end * c;
                mask_all(cpu, &y[part.clone()], &dy[part.clone()], dz);
                add_products::<false>(cpu, &x[part], dz, dz, mean, sums);
            });
            (sums, None, &*dz)
        }
        (Some(y), None) => (products::<true>(cpu, g, mean, x, y, dy), Some(y), dy),
        (None, _) => (products::<false>(cpu, g, mean, x, dy, dy), None, dy),
    };
    let rows = g.rows as f64;
    let inverse = p.inverse_deviation();
    // dx = scale · (dz − shift − (x − mean) · slope)
    let [mut scale, mut shift, mut slope] = [(); 3].map(|()| vec![0.0f32; c]);
    for i in 0..c {
        let inverse_wide = f64::from(inverse[i]);
        dbeta[i] = sums[i] as f32;
        dgamma[i] = (sums[c + i] * inverse_wide) as f32;
        scale[i] = inverse[i] * p.gamma[i];
        shift[i] = (sums[i] / rows) as f32;
        slope[i] = (sums[c + i] * inverse_wide * inverse_wide / rows) as f32;
    }
    let [scale, shift, slope] = [scale, shift, slope].map(|values| values.repeat(joined_rows(c)));
    let block = row_block(g) * c;
    let parts = x.chunks(block).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
    match y {
        Some(y) => cpu.threads().each(parts.zip(y.chunks(block)), |(((x, dy), dx), y)| {
            centre_rows::<true>(cpu, x, y, dy, mean, &scale, &shift, &slope, dx);
        }),
        None => cpu.threads().each(parts, |((x, dy), dx)| {
            centre_rows::<false>(cpu, x, dy, dy, mean, &scale, &shift, &slope, dx);
        }),
    }
}

/// [Σ_r dz | Σ_r dz · (x − mean)]
fn products<const MASKED: bool>(
    cpu: &Cpu,
    g: &Rows,
    mean: &[f32],
    x: &[f32],
    y: &[f32],
    dy: &[f32],
) -> Vec<f64> {
    block_sums(cpu.threads(), g, 2, std::iter::repeat(()), |rows, (), sums| {
        let part = rows.start * g.channels..rows.end * g.channels;
        add_products::<MASKED>(cpu, &x[part.clone()], &y[part.clone()], &dy[part], mean, sums);
    })
}

/// If MASKED, dy where y > 0, and 0 elsewhere. Otherwise dy.
#[inline(always)]
fn mask<const MASKED: bool>(dy: f32, y: f32) -> f32 {
    if !MASKED || y > 0.0 { dy } else { 0.0 }
}

vectorised! {
    /// sums += [Σ_r dz | Σ_r dz · (x − mean)], with dz = mask(dy, y). The mean is repeated for [`joined_rows`] rows.
    pub(super) fn add_products<'a, const MASKED: bool>(
        x: &'a [f32], y: &'a [f32], dy: &'a [f32], mean: &'a [f32], sums: &'a mut [f64],
    ) {
        let terms = |[x, y, dy]: [V; 3], [mean]: [V; 1]| {
            let dz = if MASKED { dy.where_positive(y) } else { dy };
            [dz, dz * (x - mean)]
        };
        // SAFETY: the machine has V's instructions, as the caller of `Job::run` promises.
        unsafe { add_channels(sums.len() / 2, [x, y, dy], [mean], sums, terms) };
    }
}

vectorised! {
    /// dx = scale · (dz − shift − (x − mean) · slope), with dz = mask(dy, y). The operands are repeated for [`joined_rows`] rows.
    fn centre_rows<'a, const MASKED: bool>(
        x: &'a [f32], y: &'a [f32], dy: &'a [f32], mean: &'a [f32], scale: &'a [f32], shift: &'a [f32],
        slope: &'a [f32], dx: &'a mut [f32],
    ) {
        let wide = mean.len();
        let rows = x.chunks(wide).zip(y.chunks(wide)).zip(dy.chunks(wide)).zip(dx.chunks_mut(wide));
        for (((x, y), dy), dx) in rows {
            let n = x.len();
            let (y, dy, dx, mean) = (&y[..n], &dy[..n], &mut dx[..n], &mean[..n]);
            let (scale, shift, slope) = (&scale[..n], &shift[..n], &slope[..n]);
            for i in 0..n {
                dx[i] = scale[i] * (mask::<MASKED>(dy[i], y[i]) - shift[i] - (x[i] - mean[i]) * slope[i]);
            }
        }
    }
}
