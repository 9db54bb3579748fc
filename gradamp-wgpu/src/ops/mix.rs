//! Mixtures of the images of a batch, and of their labels.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Mix;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `mix.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    images: [u32; 4],
    shift: u32,
    share: f32,
    begin: [u32; 2],
    end: [u32; 2],
    classes: u32,
    label_share: f32,
}

/// All kernels of `mix.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[kernel("mix_images"), kernel("mix_labels")];

const fn kernel(entry: &'static str) -> Kernel<'static> {
    Kernel { shader: Shader::Mix, entry, parameters: &[] }
}

/// The elements that a workgroup computes.
const GROUP: usize = 256;

impl Wgpu {
    pub(crate) fn mix_images_kernel(&self, g: &Mix, x: &Buffer, y: &Buffer) -> Result<()> {
        self.run(kernel("mix_images"), &[x, y], &params(g, 0), g.len().div_ceil(GROUP))
    }

    pub(crate) fn mix_labels_kernel(
        &self,
        g: &Mix,
        classes: usize,
        labels: &Buffer,
        targets: &Buffer,
    ) -> Result<()> {
        let groups = (g.images[0] * classes).div_ceil(GROUP);
        self.run(kernel("mix_labels"), &[labels, targets], &params(g, classes), groups)
    }
}

fn params(g: &Mix, classes: usize) -> Params {
    Params {
        images: g.images.map(|size| size as u32),
        shift: g.shift as u32,
        share: g.share,
        begin: g.begin.map(|place| place as u32),
        end: g.end.map(|place| place as u32),
        classes: classes as u32,
        label_share: g.label_share(),
    }
}
