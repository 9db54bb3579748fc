//! Pooling: the maximum of each window, and the mean over all pixels.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::{MeanPool, Pool2d};

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::row_chunks::{RowChunks, v4, vectors};
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `pool.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    chunks: RowChunks,
    h_in: u32,
    w_in: u32,
    h_out: u32,
    w_out: u32,
    size: u32,
    stride: u32,
}

impl Params {
    fn max(g: &Pool2d, chunks: RowChunks) -> Self {
        let [h_in, w_in, h_out, w_out, size, stride] =
            [g.h_in, g.w_in, g.h_out, g.w_out, g.size, g.stride].map(|number| number as u32);
        Self { chunks, h_in, w_in, h_out, w_out, size, stride }
    }

    /// A chunk is an image.
    fn mean(g: &MeanPool) -> Self {
        let chunks = RowChunks::new(g.n * g.pixels, vectors(g.c), g.pixels);
        Self { chunks, h_in: 0, w_in: 0, h_out: 0, w_out: 0, size: 0, stride: 0 }
    }
}

static OPTIONS: Combinations<1, 2> = combinations(["V4"]);

/// All kernels of `pool.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("max_pool2d", 0),
    kernel("max_pool2d", 1),
    kernel("max_pool2d_backward", 0),
    kernel("max_pool2d_backward", 1),
    kernel("mean_pool", 0),
    kernel("mean_pool", 1),
    kernel("mean_pool_backward", 0),
    kernel("mean_pool_backward", 1),
];

const fn kernel(entry: &'static str, v4: usize) -> Kernel<'static> {
    Kernel { shader: Shader::Pool, entry, parameters: &OPTIONS[v4] }
}

impl Wgpu {
    pub(crate) fn max_pool2d_kernel(&self, g: &Pool2d, x: &Buffer, y: &Buffer, index: &Buffer) -> Result<()> {
        let chunks = RowChunks::for_elements(g.n * g.h_out * g.w_out, g.c);
        self.run(kernel("max_pool2d", v4(g.c)), &[x, y, index], &Params::max(g, chunks), chunks.groups())
    }

    pub(crate) fn max_pool2d_backward_kernel(
        &self,
        g: &Pool2d,
        index: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let chunks = RowChunks::for_elements(g.n * g.h_in * g.w_in, g.c);
        let params = Params::max(g, chunks);
        self.run(kernel("max_pool2d_backward", v4(g.c)), &[index, dy, dx], &params, chunks.groups())
    }

    pub(crate) fn mean_pool_kernel(&self, g: &MeanPool, x: &Buffer, y: &Buffer) -> Result<()> {
        let params = Params::mean(g);
        self.run(kernel("mean_pool", v4(g.c)), &[x, y], &params, params.chunks.groups())
    }

    pub(crate) fn mean_pool_backward_kernel(&self, g: &MeanPool, dy: &Buffer, dx: &Buffer) -> Result<()> {
        let params = Params::mean(g);
        self.run(kernel("mean_pool_backward", v4(g.c)), &[dy, dx], &params, params.chunks.groups())
    }
}
