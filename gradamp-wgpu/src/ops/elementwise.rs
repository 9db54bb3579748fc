//! Elementwise operations: axpby and activations.

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

    /// The activation that the kernel `entry` computes.
    pub(crate) fn activation_kernel(
        &self,
        entry: &'static str,
        len: usize,
        x: &Buffer,
        y: &Buffer,
    ) -> Result<()> {
        let params = Params { len: len as u32, alpha: 0.0, beta: 0.0 };
        self.run(kernel(entry), &[x, y], &params, len.div_ceil(GROUP))
    }

    /// The backward of an activation, which the kernel `entry` computes from its output y.
    pub(crate) fn activation_backward_kernel(
        &self,
        entry: &'static str,
        len: usize,
        y: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let params = Params { len: len as u32, alpha: 0.0, beta: 0.0 };
        self.run(kernel(entry), &[dy, y, dx], &params, len.div_ceil(GROUP))
    }
}
