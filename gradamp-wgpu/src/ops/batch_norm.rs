//! Batch norm over rows, alone and fused with ReLU and a residual.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::backend::BatchNormOperands;
use gradamp_core::geometry::Rows;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::row_chunks::{Strips, v4};
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The scalars of `batch_norm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    strips: Strips,
    epsilon: f32,
}

const V4: usize = 1;
const RELU: usize = 2;
const RESIDUAL: usize = 4;
const MASK: usize = 8;

static OPTIONS: Combinations<4, 16> = combinations(["V4", "RELU", "RESIDUAL", "MASK"]);

/// All kernels of the family.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("strip_moments", 0),
    kernel("strip_moments", V4),
    kernel("join_moments", 0),
    kernel("join_moments", V4),
    kernel("forward", 0),
    kernel("forward", V4),
    kernel("forward", RELU),
    kernel("forward", RELU | V4),
    kernel("forward", RELU | RESIDUAL),
    kernel("forward", RELU | RESIDUAL | V4),
    kernel("strip_gradients", 0),
    kernel("strip_gradients", V4),
    kernel("strip_gradients", MASK),
    kernel("strip_gradients", MASK | V4),
    kernel("join_gradients", 0),
    kernel("join_gradients", V4),
    kernel("backward", 0),
    kernel("backward", V4),
    kernel("backward", MASK),
    kernel("backward", MASK | V4),
];

const fn kernel(entry: &'static str, options: usize) -> Kernel<'static> {
    Kernel { shader: Shader::BatchNorm, entry, parameters: &OPTIONS[options] }
}

impl Wgpu {
    pub(crate) fn batch_norm_statistics_kernel(
        &self,
        g: &Rows,
        x: &Buffer,
        mean: &Buffer,
        variance: &Buffer,
    ) -> Result<()> {
        let (v4, strips) = (v4(g.channels), Strips::of_sums(g.rows, g.channels, !self.runs_tiled()));
        let params = Params { strips, epsilon: 0.0 };
        let partials = self.take(2 * strips.chunks as usize * g.channels)?;
        self.run(kernel("strip_moments", v4), &[x, &partials], &params, strips.groups())?;
        self.run(kernel("join_moments", v4), &[&partials, mean, variance], &params, strips.joining_groups())
    }

    /// Rectified where `relu`; a `residual` is added before that.
    pub(crate) fn batch_norm_kernel(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        residual: Option<&Buffer>,
        relu: bool,
        y: &Buffer,
    ) -> Result<()> {
        let strips = Strips::of_elements(g.rows, g.channels);
        let mut options = v4(g.channels) | if relu { RELU } else { 0 };
        let mut buffers = vec![x, p.mean, p.variance, p.gamma, p.beta, y];
        if let Some(residual) = residual {
            options |= RESIDUAL;
            buffers.push(residual);
        }
        let params = Params { strips, epsilon: p.epsilon };
        self.run(kernel("forward", options), &buffers, &params, strips.groups())
    }

    /// Where there is a `y`, of dy only what its rectifier let through.
    pub(crate) fn batch_norm_backward_kernel(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        y: Option<&Buffer>,
        dy: &Buffer,
        dx: &Buffer,
        dgamma: &Buffer,
        dbeta: &Buffer,
    ) -> Result<()> {
        let v4 = v4(g.channels);
        let options = v4 | if y.is_some() { MASK } else { 0 };

        let strips = Strips::of_sums(g.rows, g.channels, !self.runs_tiled());
        let params = Params { strips, epsilon: p.epsilon };
        let partials = self.take(2 * strips.chunks as usize * g.channels)?;
        let buffers: Vec<&Buffer> = [x, dy, p.mean, &partials].into_iter().chain(y).collect();
        self.run(kernel("strip_gradients", options), &buffers, &params, strips.groups())?;

        let factors = self.take(4 * g.channels)?;
        let buffers = [&partials, p.mean, p.variance, p.gamma, &factors, dgamma, dbeta];
        self.run(kernel("join_gradients", v4), &buffers, &params, strips.joining_groups())?;

        let strips = Strips::of_elements(g.rows, g.channels);
        let params = Params { strips, epsilon: p.epsilon };
        let buffers: Vec<&Buffer> = [x, dy, &factors, dx].into_iter().chain(y).collect();
        self.run(kernel("backward", options), &buffers, &params, strips.groups())
    }
}
