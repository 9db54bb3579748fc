//! Statistics of a tensor, and the gate of an optimiser step.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::backend::{GateInput, Statistics};

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `statistics.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    groups: u32,
    offset: u32,
    scale: f32,
    limit: f32,
    limited: u32,
    skips: u32,
}

/// All kernels of `statistics.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] =
    &[kernel("summarise"), kernel("join_summaries"), kernel("norms"), kernel("join_norms")];

const fn kernel(entry: &'static str) -> Kernel<'static> {
    Kernel { shader: Shader::Statistics, entry, parameters: &[] }
}

/// The number of workgroups for a tensor: each of their 256 invocations reads 16 vec4. There are at most 1024, which fill any device.
fn groups(len: usize) -> usize {
    len.div_ceil(256 * 4 * 16).clamp(1, 1024)
}

impl Wgpu {
    pub(crate) fn statistics_kernel(
        &self,
        len: usize,
        x: &Buffer,
        offset: usize,
        out: &Buffer,
    ) -> Result<()> {
        let groups = groups(len);
        let params =
            Params { len: len as u32, groups: groups as u32, offset: offset as u32, ..Params::default() };
        let parts = self.new_buffer(groups * Statistics::LEN)?;
        self.run(kernel("summarise"), &[x, &parts], &params, groups)?;
        self.run(kernel("join_summaries"), &[&parts, out], &params, 1)
    }

    /// Computes the gate of a step. Each part of a gradient leaves one number, its norm times the gradient's scale; the norm of all
    /// gradients is the square root of the sum of the squares of these numbers.
    pub(crate) fn gate_kernel(
        &self,
        gradients: &[GateInput<'_, Self>],
        limit: Option<f32>,
        skip_non_finite: bool,
        out: &Buffer,
    ) -> Result<()> {
        let all = gradients.iter().map(|part| groups(part.len)).sum();
        let norms = self.new_buffer(all)?;
        let mut offset = 0;
        for part in gradients {
            let groups = groups(part.len);
            let params = Params {
                len: part.len as u32,
                groups: groups as u32,
                offset: offset as u32,
                scale: part.scale,
                ..Params::default()
            };
            self.run(kernel("norms"), &[part.gradient, &norms], &params, groups)?;
            offset += groups;
        }
        let params = Params {
            groups: all as u32,
            limit: limit.unwrap_or(0.0),
            limited: u32::from(limit.is_some()),
            skips: u32::from(skip_non_finite),
            ..Params::default()
        };
        self.run(kernel("join_norms"), &[&norms, out], &params, 1)
    }
}
