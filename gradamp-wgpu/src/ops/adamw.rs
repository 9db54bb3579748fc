//! A step of AdamW for one parameter, and the corrections of its averages.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::backend::{AdamWCorrections, AdamWSlot};

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `adamw.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    lr: f32,
    mean_rest: f32,
    square_share: f32,
    square_rest: f32,
    epsilon: f32,
    keep: f32,
    scale: f32,
    clip: f32,
}

/// The parameters of `adamw_corrections.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct CorrectionParams {
    mean_share: f32,
    mean_rest: f32,
    square_share: f32,
    square_rest: f32,
}

const GATE: usize = 1;

static OPTIONS: Combinations<1, 2> = combinations(["GATE"]);

/// All kernels of `adamw.wgsl` and `adamw_corrections.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[step(0), step(GATE), correction(0), correction(GATE)];

const fn step(options: usize) -> Kernel<'static> {
    Kernel { shader: Shader::AdamW, entry: "take_step", parameters: &OPTIONS[options] }
}

const fn correction(options: usize) -> Kernel<'static> {
    Kernel { shader: Shader::AdamWCorrections, entry: "correct", parameters: &OPTIONS[options] }
}

/// The elements that a workgroup computes.
const GROUP: usize = 1024;

impl Wgpu {
    pub(crate) fn adamw_kernel(&self, slot: AdamWSlot<'_, Self>) -> Result<()> {
        let AdamWSlot { step: s, len, gradient, gate, corrections, mean, square, parameter } = slot;
        let params = Params {
            len: len as u32,
            lr: s.lr,
            mean_rest: s.mean_rest,
            square_share: s.square_share,
            square_rest: s.square_rest,
            epsilon: s.epsilon,
            keep: s.keep,
            scale: s.gradient_scale,
            clip: s.clip_value,
        };
        let mut buffers: Vec<&Buffer> = vec![gradient, corrections, mean, square, parameter];
        buffers.extend(gate);
        let options = if gate.is_some() { GATE } else { 0 };
        self.run(step(options), &buffers, &params, len.div_ceil(GROUP))
    }

    pub(crate) fn adamw_corrections_kernel(
        &self,
        step: &AdamWCorrections,
        gate: Option<&Buffer>,
        corrections: &Buffer,
    ) -> Result<()> {
        let AdamWCorrections { shares: [mean_share, square_share], rests: [mean_rest, square_rest] } = *step;
        let params = CorrectionParams { mean_share, mean_rest, square_share, square_rest };
        let mut buffers: Vec<&Buffer> = vec![corrections];
        buffers.extend(gate);
        let options = if gate.is_some() { GATE } else { 0 };
        self.run(correction(options), &buffers, &params, 1)
    }
}
