//! Elements, or groups of them, dropped at random.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Dropout;
use gradamp_core::random::Stream;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `dropout.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    group: u32,
    threshold: u32,
    scale: f32,
    key: [u32; 2],
}

/// All kernels of `dropout.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] =
    &[Kernel { shader: Shader::Dropout, entry: "drop_groups", parameters: &[] }];

/// The elements that a workgroup computes.
const GROUP: usize = 1024;

impl Wgpu {
    pub(crate) fn dropout_kernel(&self, g: &Dropout, stream: Stream, x: &Buffer, y: &Buffer) -> Result<()> {
        let Dropout { len, group, threshold, scale } = *g;
        let params = Params { len: len as u32, group: group as u32, threshold, scale, key: stream.key() };
        self.run(KERNELS[0], &[x, y], &params, len.div_ceil(GROUP))
    }
}
