//! Elementwise operations: axpby and ReLU.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `elementwise.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    alpha: f32,
    beta: f32,
}

/// All kernels of `elementwise.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] =
    &[kernel("scale"), kernel("axpby"), kernel("relu"), kernel("relu_backward")];

const fn kernel(entry: &'static str) -> Kernel<'static> {
    Kernel { shader: Shader::Elementwise, entry, parameters: &[] }
}

/// The elements that a workgroup computes.
const GROUP: usize = 1024;

impl Wgpu {
    pub(crate) fn axpby_kernel(
        &self,
        len: usize,
        alpha: f32,
        x: &Buffer,
        beta: f32,
        y: &Buffer,
    ) -> Result<()> {
        let entry = if beta == 0.0 { "scale" } else { "axpby" };
        let params = Params { len: len as u32, alpha, beta };
        self.run(kernel(entry), &[x, y], &params, len.div_ceil(GROUP))
    }

    pub(crate) fn relu_kernel(&self, len: usize, x: &Buffer, y: &Buffer) -> Result<()> {
        let params = Params { len: len as u32, alpha: 0.0, beta: 0.0 };
        self.run(kernel("relu"), &[x, y], &params, len.div_ceil(GROUP))
    }

    pub(crate) fn relu_backward_kernel(
        &self,
        len: usize,
        y: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let params = Params { len: len as u32, alpha: 0.0, beta: 0.0 };
        self.run(kernel("relu_backward"), &[dy, y, dx], &params, len.div_ceil(GROUP))
    }
}
