//! Adds a bias to every row; sums all rows.

use gradamp_core::Result;
use gradamp_core::geometry::Rows;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::row_chunks::{RowChunks, v4};
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `rows.wgsl`.
pub(crate) type Params = RowChunks;

/// All kernels of `rows.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("add_bias", 0),
    kernel("add_bias", 1),
    kernel("sum_chunks", 0),
    kernel("sum_chunks", 1),
    kernel("combine", 0),
    kernel("combine", 1),
];

static OPTIONS: Combinations<1, 2> = combinations(["V4"]);

const fn kernel(entry: &'static str, v4: usize) -> Kernel<'static> {
    Kernel { shader: Shader::Rows, entry, parameters: &OPTIONS[v4] }
}

impl Wgpu {
    pub(crate) fn add_bias_kernel(&self, g: &Rows, bias: &Buffer, y: &Buffer) -> Result<()> {
        let params: Params = RowChunks::for_elements(g.rows, g.channels);
        self.run(kernel("add_bias", v4(g.channels)), &[bias, y], &params, params.groups())
    }

    pub(crate) fn sum_rows_kernel(&self, g: &Rows, x: &Buffer, out: &Buffer) -> Result<()> {
        let (v4, params): (usize, Params) =
            (v4(g.channels), RowChunks::for_sums(g.rows, g.channels, !self.runs_tiled()));
        let partials = self.new_buffer(params.count as usize * g.channels)?;
        self.run(kernel("sum_chunks", v4), &[x, &partials], &params, params.groups())?;
        self.run(kernel("combine", v4), &[&partials, out], &params, params.joining_groups())
    }
}
