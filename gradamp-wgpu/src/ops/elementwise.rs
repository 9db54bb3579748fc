//! Elementwise operations: axpby, products and activations.

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
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("scale"),
    kernel("axpby"),
    kernel("relu"),
    kernel("relu_backward"),
    kernel("tanh_forward"),
    kernel("tanh_backward"),
    kernel("sigmoid"),
    kernel("sigmoid_backward"),
    kernel("multiply"),
];

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

    /// The kernel `entry` of `len` elements. The last of the buffers is written.
    pub(crate) fn elementwise_kernel(
        &self,
        entry: &'static str,
        len: usize,
        buffers: &[&Buffer],
    ) -> Result<()> {
        let params = Params { len: len as u32, alpha: 0.0, beta: 0.0 };
        self.run(kernel(entry), buffers, &params, len.div_ceil(GROUP))
    }
}
