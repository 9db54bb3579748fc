//! A step of stochastic gradient descent for one parameter.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::backend::SgdSlot;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::{Combinations, Kernel, combinations};

/// The parameters of `sgd.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    lr: f32,
    momentum: f32,
    decay: f32,
    scale: f32,
    clip: f32,
    nesterov: u32,
}

const VELOCITY: usize = 1;
const GATE: usize = 2;

static OPTIONS: Combinations<2, 4> = combinations(["VELOCITY", "GATE"]);

/// All kernels of `sgd.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] =
    &[kernel(0), kernel(VELOCITY), kernel(GATE), kernel(VELOCITY | GATE)];

const fn kernel(options: usize) -> Kernel<'static> {
    Kernel { shader: Shader::Sgd, entry: "take_step", parameters: &OPTIONS[options] }
}

/// The elements that a workgroup computes.
const GROUP: usize = 1024;

impl Wgpu {
    pub(crate) fn sgd_kernel(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        let SgdSlot { step, len, gradient, gate, velocity, parameter } = slot;
        let params = Params {
            len: len as u32,
            lr: step.lr,
            momentum: step.momentum,
            decay: step.weight_decay,
            scale: step.gradient_scale,
            clip: step.clip_value,
            nesterov: u32::from(step.nesterov),
        };
        let mut options = 0;
        let mut buffers: Vec<&Buffer> = vec![gradient, parameter];
        if let Some(velocity) = velocity {
            options |= VELOCITY;
            buffers.push(velocity);
        }
        if let Some(gate) = gate {
            options |= GATE;
            buffers.push(gate);
        }
        self.run(kernel(options), &buffers, &params, len.div_ceil(GROUP))
    }
}
