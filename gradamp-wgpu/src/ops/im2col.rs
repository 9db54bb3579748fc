//! im2col, which copies the windows of images into the rows of a matrix, and its transpose col2im.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::row_chunks::{RowChunks, v4, vectors};
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `im2col.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    chunks: RowChunks,
    image: u32,
    h_in: u32,
    w_in: u32,
    depth: u32,
    kh: u32,
    kw: u32,
    h_out: u32,
    w_out: u32,
    stride: u32,
    padding: u32,
}

impl Params {
    fn new(g: &Conv2d, image: usize, chunks: RowChunks) -> Self {
        let depth = vectors(g.c_in);
        let [image, h_in, w_in, depth, kh, kw, h_out, w_out, stride, padding] =
            [image, g.h_in, g.w_in, depth, g.kh, g.kw, g.h_out, g.w_out, g.stride, g.padding]
                .map(|number| number as u32);
        Self { chunks, image, h_in, w_in, depth, kh, kw, h_out, w_out, stride, padding }
    }
}

static OPTIONS: Combinations<1, 2> = combinations(["V4"]);

/// All kernels of `im2col.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] =
    &[kernel("im2col", 0), kernel("im2col", 1), kernel("col2im", 0), kernel("col2im", 1)];

const fn kernel(entry: &'static str, v4: usize) -> Kernel<'static> {
    Kernel { shader: Shader::Im2col, entry, parameters: &OPTIONS[v4] }
}

impl Wgpu {
    pub(crate) fn im2col_kernel(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        x: &Buffer,
        columns: &Buffer,
    ) -> Result<()> {
        self.im2col_rows(g, images, g.patch(), x, columns)
    }

    /// Like im2col, with rows of `row` elements, at least as many as a window has. The elements after the window become 0.
    pub(crate) fn im2col_rows(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        row: usize,
        x: &Buffer,
        columns: &Buffer,
    ) -> Result<()> {
        let width = if v4(g.c_in) == 1 { row / 4 } else { row };
        let chunks = RowChunks::for_vectors(images.len() * g.pixels(), width);
        let params = Params::new(g, images.start, chunks);
        self.run(kernel("im2col", v4(g.c_in)), &[x, columns], &params, chunks.groups())
    }

    pub(crate) fn col2im_kernel(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        columns: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let chunks = RowChunks::for_elements(images.len() * g.h_in * g.w_in, g.c_in);
        let params = Params::new(g, images.start, chunks);
        self.run(kernel("col2im", v4(g.c_in)), &[columns, dx], &params, chunks.groups())
    }
}
