//! Softmax cross-entropy against smoothed labels or shares of classes, and its gradient.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Rows;

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `loss.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    rows: u32,
    classes: u32,
    smoothing: f32,
}

/// All kernels of `loss.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[kernel("row"), kernel("soft_row"), kernel("total")];

const fn kernel(entry: &'static str) -> Kernel<'static> {
    Kernel { shader: Shader::Loss, entry, parameters: &[] }
}

impl Wgpu {
    /// `entry` computes the rows: `row` against labels, `soft_row` against shares of classes.
    pub(crate) fn cross_entropy_kernel(
        &self,
        entry: &'static str,
        g: &Rows,
        smoothing: f32,
        logits: &Buffer,
        targets: &Buffer,
        loss: &Buffer,
        correct: &Buffer,
        dlogits: &Buffer,
    ) -> Result<()> {
        let params = Params { rows: g.rows as u32, classes: g.channels as u32, smoothing };
        let results = self.new_buffer(2 * g.rows)?;
        self.run(kernel(entry), &[logits, targets, &results, dlogits], &params, g.rows.div_ceil(32))?;
        self.run(kernel("total"), &[&results, loss, correct], &params, 1)
    }
}
