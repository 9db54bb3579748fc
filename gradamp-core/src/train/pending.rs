//! Steps whose results are still on the device. The host reads several steps at once instead of waiting for each.

use std::time::Instant;

use super::StepReport;
use super::batches::StepBatches;
use super::measured::Measured;
use super::signals::Signals;
use crate::backend::StepGate;
use crate::{Backend, Result, Tensor};

/// A step that was submitted to the device.
pub(super) struct Pending<B: Backend> {
    /// The report, without the values that the device computes.
    pub(super) report: StepReport,
    /// The mean loss of each batch.
    pub(super) losses: Vec<Tensor<B>>,
    /// The number of correct examples of each batch; none for an objective without classes.
    pub(super) correct: Vec<Tensor<B>>,
    /// The optimiser's gate.
    pub(super) gate: Option<Tensor<B>>,
    /// The measured gradients, in steps that are measured.
    pub(super) measured: Option<Measured<B>>,
    /// The measured signals, in steps that measure them.
    pub(super) signals: Option<Signals<B>>,
    /// The batches, to explain a loss that is not finite.
    pub(super) batches: StepBatches<B>,
}

impl<B: Backend> Pending<B> {
    /// The buffers on the device, in the order in which [`Pending::complete`] reads them.
    fn sources(&self) -> impl Iterator<Item = (&B::Buffer, usize)> {
        let measured = self.measured.as_ref().map(|measured| (&measured.buffer, measured.places.len()));
        let signals = self.signals.as_ref().map(|signals| (&signals.buffer, signals.len()));
        let small = self.losses.iter().chain(&self.correct).chain(&self.gate);
        small.map(|tensor| (tensor.buffer(), tensor.elements())).chain(measured).chain(signals)
    }

    fn complete(&mut self, mut values: impl FnMut() -> Vec<f32>) {
        let losses: Vec<f32> = self.losses.iter().map(|_| values()[0]).collect();
        self.report.loss = self.batches.mean(&losses);
        self.report.correct = self.correct.iter().map(|_| values()[0] as usize).sum();
        let gate = self.gate.as_ref().and_then(|_| values().first_chunk().copied()).map(StepGate::from_array);
        self.report.gradient_norm = gate.map(|gate| gate.norm);
        self.report.skipped = gate.is_some_and(|gate| !gate.applies);
        if let Some(measured) = &mut self.measured {
            measured.values = values();
        }
        if let Some(signals) = &mut self.signals {
            signals.values = values();
        }
    }
}

/// Reads the results of all `steps`, which began at `start`, in one wait.
pub(super) fn read<B: Backend>(backend: &B, steps: &mut [Pending<B>], start: Instant) -> Result<()> {
    let sources: Vec<_> = steps.iter().flat_map(Pending::sources).collect();
    let mut values = backend.read_all(&sources)?.into_iter();
    let seconds = start.elapsed().as_secs_f64() / steps.len() as f64;
    for step in steps {
        step.complete(|| values.next().unwrap_or_default());
        step.report.seconds = seconds;
    }
    Ok(())
}
