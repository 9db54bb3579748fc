//! Steps whose results are still on the device, so that the host need not wait for each.

use std::time::Instant;

use super::StepReport;
use crate::{Backend, Batch, Result, Tensor};

/// A step that was handed to the device.
pub(super) struct Pending<B: Backend> {
    /// Complete but for what the device computes.
    pub(super) report: StepReport,
    /// Mean loss and right examples.
    pub(super) loss: Tensor<B>,
    /// Explains a loss that turns out not to be finite.
    pub(super) batch: Batch<B>,
}

/// Completes the reports of `steps`, which began at `start`, in one wait.
pub(super) fn read<B: Backend>(backend: &B, steps: &mut [Pending<B>], start: Instant) -> Result<()> {
    let sources: Vec<_> = steps.iter().map(|step| (step.loss.buffer(), step.loss.elements())).collect();
    let values = backend.read_all(&sources)?;
    let seconds = start.elapsed().as_secs_f64() / steps.len() as f64;
    for (step, values) in steps.iter_mut().zip(values) {
        step.report.loss = values[0];
        step.report.correct = values[1] as usize;
        step.report.seconds = seconds;
    }
    Ok(())
}
