//! A batch norm followed by a rectifier, as fused kernels compute it: a convolution that reads its output, and the kernels that
//! write its gradient.

use std::ops::Range;

use crate::channel_sums::{add_channels, joined_rows};
use crate::device::Cpu;
use crate::elementwise::{row_block, scale_and_add};
use crate::simd::{Vector, WIDEST, vectorised};
use gradamp_core::geometry::Rows;

use super::backward::add_products as add_masked_products;
use super::operands::Operands;

/// z = relu((x − mean) · scale + beta + residual). The operands are padded to whole vectors. Without a residual, z is computed
/// from x wherever it is read. With a residual, the field `z` holds its values.
pub(crate) struct RectifiedBatchNorm<'a> {
    pub(crate) x: &'a [f32],
    z: Option<&'a [f32]>,
    channels: usize,
    mean: Vec<f32>,
    scale: Vec<f32>,
    beta: Vec<f32>,
    pub(super) inverse_deviation: Vec<f32>,
}

impl<'a> RectifiedBatchNorm<'a> {
    pub(crate) fn new(g: &Rows, p: Operands<'_>, x: &'a [f32], z: Option<&'a [f32]>) -> Self {
        let c = g.channels;
        let padded = |values: &[f32]| {
            let mut padded = values[..c].to_vec();
            padded.resize(c.next_multiple_of(WIDEST), 0.0);
            padded
        };
        let [mean, scale, beta] = [p.mean, &p.scale(), p.beta].map(padded);
        let mut inverse_deviation = p.inverse_deviation();
        inverse_deviation.truncate(c);
        Self {
            x: &x[..g.len()],
            z: z.map(|z| &z[..g.len()]),
            channels: c,
            mean,
            scale,
            beta,
            inverse_deviation,
        }
    }

    /// Mean, scale and beta of one vector of channels, from `channel` on.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions; `channel` is a multiple of its lanes.
    #[inline(always)]
    pub(crate) unsafe fn operands<V: Vector>(&self, channel: usize) -> [V; 3] {
        // SAFETY: the padding reaches to the end of the vector: the caller's promise.
        [&self.mean, &self.scale, &self.beta].map(|values| unsafe { V::load(values[channel..].as_ptr()) })
    }

    /// Mean, scale and beta, repeated for [`joined_rows`] rows.
    pub(crate) fn repeated_operands(&self) -> [Vec<f32>; 3] {
        let (c, rows) = (self.channels, joined_rows(self.channels));
        [&self.mean, &self.scale, &self.beta].map(|values| values[..c].repeat(rows))
    }

    /// sums += [Σ_r dz | Σ_r dz · (x − mean)] over `rows`. dz is `gradient` where z > 0, and 0 elsewhere.
    pub(super) fn add_sums(&self, cpu: &Cpu, rows: Range<usize>, gradient: &[f32], sums: &mut [f64]) {
        let part = rows.start * self.channels..rows.end * self.channels;
        let x = &self.x[part.clone()];
        let [mean, scale, beta] = &self.repeated_operands();
        match self.z {
            Some(z) => add_masked_products::<true>(cpu, x, &z[part], gradient, mean, sums),
            None => add_products(cpu, x, gradient, mean, scale, beta, sums),
        }
    }

    /// Computes the gradient of x from `gradient`, the gradient of z: dx = scale · (dz − dbeta/rows − x̂ · dgamma/rows).
    ///
    /// Without a residual, dx overwrites `gradient`. With a residual (z, and a buffer for dx), dx goes to this buffer, and
    /// `gradient` becomes dz, which is the residual's gradient too.
    pub(crate) fn backward(
        &self,
        cpu: &Cpu,
        g: &Rows,
        dgamma: &[f32],
        dbeta: &[f32],
        gradient: &mut [f32],
        residual: Option<(&[f32], &mut [f32])>,
    ) {
        let rows = g.rows as f64;
        let per_row = |sum: f32, factor: f32| (f64::from(sum) * f64::from(factor) / rows) as f32;
        let shift: Vec<f32> = dbeta[..g.channels].iter().map(|&sum| per_row(sum, 1.0)).collect();
        let slope: Vec<f32> =
            dgamma.iter().zip(&self.inverse_deviation).map(|(&sum, &d)| per_row(sum, d)).collect();
        let [shift, slope] = [shift, slope].map(|values| values.repeat(joined_rows(g.channels)));
        let [mean, scale, beta] = &self.repeated_operands();
        let block = row_block(g) * g.channels;
        let parts = self.x.chunks(block).zip(gradient[..g.len()].chunks_mut(block));
        match residual {
            None => cpu.threads().each(parts, |(x, gradient)| {
                centre_rows(cpu, x, mean, scale, beta, &shift, &slope, gradient);
            }),
            Some((z, dx)) => {
                let parts = parts.zip(z[..g.len()].chunks(block).zip(dx[..g.len()].chunks_mut(block)));
                cpu.threads().each(parts, |((x, gradient), (z, dx))| {
                    mask_and_centre_rows(cpu, x, z, mean, scale, &shift, &slope, gradient, dx);
                });
            }
        }
    }
}

/// The gradient that the other readers of z give: `scale` · `values`. `own` is the factor of the gradient to which it is added.
#[derive(Clone, Copy)]
pub(crate) struct AddedGradient<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) scale: f32,
    pub(crate) own: f32,
}

impl AddedGradient<'_> {
    /// gradient = own · gradient + scale · values. `gradient` begins at the element `first` of `values`.
    pub(super) fn add_to(&self, cpu: &Cpu, first: usize, gradient: &mut [f32]) {
        let values = &self.values[first..first + gradient.len()];
        scale_and_add(cpu, self.scale, values, self.own, gradient);
    }
}

/// dz where z > 0, and 0 elsewhere, with d = x − mean. Computes z in the same steps as forward does, so that both round alike.
#[inline(always)]
fn mask(d: f32, scale: f32, beta: f32, dz: f32) -> f32 {
    if d * scale + beta > 0.0 { dz } else { 0.0 }
}

vectorised! {
    /// sums += [Σ_r dz | Σ_r dz · (x − mean)], with dz set to 0 where z is not above 0.
    fn add_products<'a>(
        x: &'a [f32], dz: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], sums: &'a mut [f64],
    ) {
        let terms = |[x, dz]: [V; 2], [mean, scale, beta]: [V; 3]| {
            let dz = dz.where_positive(x.normalised(mean, scale, beta));
            [dz, dz * (x - mean)]
        };
        // SAFETY: the machine has V's instructions, as the caller of `Job::run` promises.
        unsafe { add_channels(sums.len() / 2, [x, dz], [mean, scale, beta], sums, terms) };
    }
}

vectorised! {
    /// dz = scale · (mask(dz) − shift − (x − mean) · slope): the gradient of x takes the place of dz.
    fn centre_rows<'a>(
        x: &'a [f32], mean: &'a [f32], scale: &'a [f32], beta: &'a [f32], shift: &'a [f32], slope: &'a [f32],
        dz: &'a mut [f32],
    ) {
        let wide = mean.len();
        for (x, dz) in x.chunks(wide).zip(dz.chunks_mut(wide)) {
            let n = x.len();
            let (dz, mean, scale, beta) = (&mut dz[..n], &mean[..n], &scale[..n], &beta[..n]);
            let (shift, slope) = (&shift[..n], &slope[..n]);
            for i in 0..n {
                let d = x[i] - mean[i];
                dz[i] = scale[i] * (mask(d, scale[i], beta[i], dz[i]) - shift[i] - d * slope[i]);
            }
        }
    }
}

vectorised! {
    /// dz = dz where z > 0, else 0; dx = scale · (dz − shift − (x − mean) · slope)
    fn mask_and_centre_rows<'a>(
        x: &'a [f32], z: &'a [f32], mean: &'a [f32], scale: &'a [f32], shift: &'a [f32], slope: &'a [f32],
        dz: &'a mut [f32], dx: &'a mut [f32],
    ) {
        let wide = mean.len();
        for (((x, z), dz), dx) in x.chunks(wide).zip(z.chunks(wide)).zip(dz.chunks_mut(wide)).zip(dx.chunks_mut(wide)) {
            let n = x.len();
            let (z, dz, dx, mean) = (&z[..n], &mut dz[..n], &mut dx[..n], &mean[..n]);
            let (scale, shift, slope) = (&scale[..n], &shift[..n], &slope[..n]);
            for i in 0..n {
                dz[i] = if z[i] > 0.0 { dz[i] } else { 0.0 };
                dx[i] = scale[i] * (dz[i] - shift[i] - (x[i] - mean[i]) * slope[i]);
            }
        }
    }
}
