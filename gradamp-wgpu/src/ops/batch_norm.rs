//! Batch norm over rows, alone and fused with ReLU and a residual.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::backend::BatchNormOperands;
use gradamp_core::geometry::Rows;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::row_chunks::{RowChunks, v4};
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `batch_norm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    chunks: RowChunks,
    epsilon: f32,
}

const V4: usize = 1;
const RELU: usize = 2;
const RESIDUAL: usize = 4;
const MASK: usize = 8;

static OPTIONS: Combinations<4, 16> = combinations(["V4", "RELU", "RESIDUAL", "MASK"]);

/// All kernels of `batch_norm.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("chunk_moments", 0),
    kernel("chunk_moments", V4),
    kernel("join_moments", 0),
    kernel("join_moments", V4),
    kernel("forward", 0),
    kernel("forward", V4),
    kernel("forward", RELU),
    kernel("forward", RELU | V4),
    kernel("forward", RELU | RESIDUAL),
    kernel("forward", RELU | RESIDUAL | V4),
    kernel("chunk_gradients", 0),
    kernel("chunk_gradients", V4),
    kernel("chunk_gradients", MASK),
    kernel("chunk_gradients", MASK | V4),
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
        let (v4, chunks) = (v4(g.channels), RowChunks::for_sums(g.rows, g.channels, !self.runs_tiled()));
        let params = Params { chunks, epsilon: 0.0 };
        let partials = self.new_buffer(2 * chunks.count as usize * g.channels)?;
        self.run(kernel("chunk_moments", v4), &[x, &partials], &params, chunks.groups())?;
        self.run(kernel("join_moments", v4), &[&partials, mean, variance], &params, chunks.joining_groups())
    }

    /// Batch norm, plus `residual` if there is one, then a ReLU if `relu`.
    pub(crate) fn batch_norm_kernel(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        residual: Option<&Buffer>,
        relu: bool,
        y: &Buffer,
    ) -> Result<()> {
        let chunks = RowChunks::for_elements(g.rows, g.channels);
        let mut options = v4(g.channels) | if relu { RELU } else { 0 };
        let mut buffers = vec![x, p.mean, p.variance, p.gamma, p.beta, y];
        if let Some(residual) = residual {
            options |= RESIDUAL;
            buffers.push(residual);
        }
        let params = Params { chunks, epsilon: p.epsilon };
        self.run(kernel("forward", options), &buffers, &params, chunks.groups())
    }

    /// The gradients of batch norm. If a ReLU follows the batch norm, `y` is the ReLU's output, and dy counts only where y > 0.
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

        let chunks = RowChunks::for_sums(g.rows, g.channels, !self.runs_tiled());
        let params = Params { chunks, epsilon: p.epsilon };
        let partials = self.new_buffer(2 * chunks.count as usize * g.channels)?;
        let buffers: Vec<&Buffer> = [x, dy, p.mean, &partials].into_iter().chain(y).collect();
        self.run(kernel("chunk_gradients", options), &buffers, &params, chunks.groups())?;

        let factors = self.new_buffer(4 * g.channels)?;
        let buffers = [&partials, p.mean, p.variance, p.gamma, &factors, dgamma, dbeta];
        self.run(kernel("join_gradients", v4), &buffers, &params, chunks.joining_groups())?;

        let chunks = RowChunks::for_elements(g.rows, g.channels);
        let params = Params { chunks, epsilon: p.epsilon };
        let buffers: Vec<&Buffer> = [x, dy, &factors, dx].into_iter().chain(y).collect();
        self.run(kernel("backward", options), &buffers, &params, chunks.groups())
    }
}
