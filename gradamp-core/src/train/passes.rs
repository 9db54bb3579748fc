//! The forward and backward passes of one step.

use std::rc::Rc;

use super::batches::StepBatches;
use crate::autograd::Probe;
use crate::objective::Objective;
use crate::{Backend, Batch, Gradients, Hooks, Module, Parameters, Result, Tape, ops};

/// What every pass of a step needs, besides the parameters and the batch.
pub(super) struct Passes<'a, B: Backend, M> {
    pub(super) model: &'a M,
    pub(super) objective: Rc<dyn Objective<B>>,
    pub(super) hooks: Hooks<B>,
    pub(super) seed: u64,
    pub(super) loss_scale: Option<f32>,
}

impl<B: Backend, M: Module<B>> Passes<'_, B, M> {
    /// Forward, loss, and backward with hooks, over the batch with this number within the run.
    pub(super) fn over<'p>(
        &self,
        parameters: &'p mut Parameters<B>,
        batch: &Batch<B>,
        number: u64,
        probe: Option<Probe<'p, B>>,
    ) -> Result<(ops::Loss<B>, Gradients<B>)> {
        let mut tape = Tape::train(parameters).with_random(self.seed, number);
        if let Some(probe) = probe {
            tape = tape.with_probe(probe);
        }
        let x = tape.constant(batch.images.clone());
        let mut output = self.model.forward(&mut tape, x)?;
        if let Some(factor) = self.loss_scale {
            output = ops::loss_scale(&mut tape, &output, factor)?;
        }
        let loss = self.objective.loss(&mut tape, &output, &batch.labels)?;
        drop(output);
        let gradients = tape.backward(&loss.mean, &self.hooks)?;
        Ok((loss, gradients))
    }

    /// The passes over all batches of a step. The gradients are those of the mean loss over all examples: each batch counts by its
    /// examples. `after_first` is called when the first batch is done.
    pub(super) fn over_all(
        &self,
        parameters: &mut Parameters<B>,
        step: &StepBatches<B>,
        mut after_first: impl FnMut(),
    ) -> Result<(Vec<ops::Loss<B>>, Gradients<B>)> {
        let examples = step.examples() as f32;
        let mut losses = Vec::with_capacity(step.batches.len());
        let mut sum: Option<Gradients<B>> = None;
        for (number, batch) in step.numbered() {
            let (loss, mut gradients) = self.over(parameters, batch, number, None)?;
            losses.push(loss);
            if step.batches.len() > 1 {
                gradients.scale(batch.examples() as f32 / examples);
            }
            sum = Some(match sum {
                None => {
                    after_first();
                    gradients
                }
                Some(sum) => sum.plus(gradients)?,
            });
        }
        let sum = sum.ok_or_else(|| crate::Error::external("a step has no batch"))?;
        Ok((losses, sum))
    }
}
