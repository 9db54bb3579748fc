use super::{Evaluation, SiteGradient, TrainState};
use crate::amplify::DrawRecord;
use crate::optim::Sgd;
use crate::{Backend, Parameters, Result};

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop here; the run can be resumed.
    Stop,
}

/// What a run does next; until it is done, a request to stop has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A step.
    Step,
    /// A batch of an evaluation.
    Evaluation,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The batch within the epoch, from 0.
    pub batch: usize,
    /// Batches in the epoch.
    pub batches: usize,
    /// The step within the run, from 0.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate.
    pub lr: f64,
    /// How many sites were amplified.
    pub amplified_sites: usize,
    /// The batch's mean loss.
    pub loss: f32,
    /// The batch's right examples.
    pub correct: usize,
    /// The batch's examples.
    pub examples: usize,
    /// The norm of all gradients, where the optimiser computed it, as clipping by norm does.
    pub gradient_norm: Option<f32>,
    /// The factor of loss scaling.
    pub loss_scale: Option<f32>,
    /// Whether the step changed no parameter, for its gradients were not finite.
    pub skipped: bool,
    /// How long the step took, waiting for data included; the mean of those that were reported together.
    pub seconds: f64,
}

/// What one epoch did.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps of the run so far.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Whether amplification was on.
    pub amplified: bool,
    /// Mean loss over the epoch's examples, each as it was when trained on.
    pub train_loss: f64,
    /// Fraction of the epoch's examples that were right when trained on.
    pub train_accuracy: f64,
    /// The epoch's examples.
    pub examples: u64,
    /// Evaluations by name, in the order of the trainer's sources; empty where this epoch is not evaluated.
    pub evaluations: Vec<(String, Evaluation)>,
    /// Whether the first evaluation is the best so far.
    pub best: bool,
    /// Gradients by site; empty where none were measured.
    pub gradients: Vec<SiteGradient>,
    /// Seconds spent on the epoch's steps.
    pub seconds: f64,
}

impl EpochReport {
    /// The evaluation called `name`.
    pub fn evaluation(&self, name: &str) -> Option<&Evaluation> {
        self.evaluations.iter().find(|(n, _)| n == name).map(|(_, evaluation)| evaluation)
    }
}

/// All that a checkpoint holds.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a, B: Backend> {
    /// The parameters and running statistics.
    pub parameters: &'a Parameters<B>,
    /// The optimiser and its velocities.
    pub sgd: &'a Sgd<B>,
    /// Where the run stands.
    pub state: &'a TrainState,
}

impl<B: Backend> Snapshot<'_, B> {
    /// The path of the first parameter that is not finite: such a snapshot is not worth keeping.
    pub fn first_bad_parameter(&self) -> Result<Option<String>> {
        super::divergence::first_bad_parameter(self.parameters)
    }
}

/// Watches a run. Everything is called between steps and batches, in the order in which the observers were added.
pub trait Observer<B: Backend> {
    /// Asked before every step and every batch of an evaluation: whether the run stops here. An evaluation that is left is
    /// done anew when the run goes on.
    fn before(&mut self, _next: Next) -> Control {
        Control::Continue
    }

    /// New sites were drawn, before the step that uses them.
    fn on_draw(&mut self, _draw: &DrawRecord) -> Result<()> {
        Ok(())
    }

    /// Steps are done: one, or as many as a device computes between two reads. The snapshot stands behind the last.
    fn on_steps(&mut self, _reports: &[StepReport], _snapshot: &Snapshot<'_, B>) -> Result<Control> {
        Ok(Control::Continue)
    }

    /// An epoch is done and evaluated; the snapshot stands at the beginning of the next.
    fn on_epoch(&mut self, _report: &EpochReport, _snapshot: &Snapshot<'_, B>) -> Result<Control> {
        Ok(Control::Continue)
    }

    /// The run stops before its end, or has reached its limit of steps: from this snapshot it goes on bit for bit.
    fn on_stop(&mut self, _snapshot: &Snapshot<'_, B>) -> Result<()> {
        Ok(())
    }
}
