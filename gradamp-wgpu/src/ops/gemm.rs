//! The matrix product.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Gemm;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `gemm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    c_offset: u32,
    alpha: f32,
    beta: f32,
}

const TILED: Kernel<'static> = Kernel { shader: Shader::Gemm, entry: "product", parameters: &[("TILED", 1)] };
const DIRECT: Kernel<'static> =
    Kernel { shader: Shader::Gemm, entry: "product", parameters: &[("TILED", 0)] };

/// All kernels of `gemm.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[TILED, DIRECT];

impl Wgpu {
    pub(crate) fn gemm_kernel(
        &self,
        g: &Gemm,
        alpha: f32,
        a: &Buffer,
        b: &Buffer,
        beta: f32,
        c: &Buffer,
    ) -> Result<()> {
        let steps = |transposed: bool, rows: usize, columns: usize| match transposed {
            true => (1, rows as u32),
            false => (columns as u32, 1),
        };
        let (a_row, a_column) = steps(g.transpose_a, g.m, g.k);
        let (b_row, b_column) = steps(g.transpose_b, g.k, g.n);
        let params = Params {
            m: g.m as u32,
            n: g.n as u32,
            k: g.k as u32,
            a_offset: g.a_offset as u32,
            a_row,
            a_column,
            b_offset: g.b_offset as u32,
            b_row,
            b_column,
            c_offset: g.c_offset as u32,
            alpha,
            beta,
        };
        let (kernel, groups) = match self.runs_tiled() {
            true => (TILED, g.m.div_ceil(64) * g.n.div_ceil(64)),
            false => (DIRECT, (g.m.div_ceil(4) * g.n.div_ceil(4)).div_ceil(64)),
        };
        self.run(kernel, &[a, b, c], &params, groups)
    }
}
