use serde::{Deserialize, Serialize};

use super::{SiteGradient, TrainState};
use crate::amplify::DrawRecord;
use crate::optim::Optimizer;
use crate::{Backend, Parameters, Result, Tensor};

/// An observer's answer: whether the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The run goes on.
    Continue,
    /// The run stops here and can be resumed.
    Stop,
}

/// What a run does next. A request to stop during it waits until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A step.
    Step,
    /// A batch of an evaluation.
    Evaluation,
}

/// The results of a model on a set of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean loss, without what only regularises, such as label smoothing.
    pub loss: f64,
    /// The number of examples.
    pub examples: u64,
    /// The number of examples of each class (row) that the model put into each class (column). Empty for an objective without
    /// classes.
    pub confusion: Vec<Vec<u64>>,
    /// For each example, in the source's order, whether its class was found; for paired comparisons of two models.
    pub hits: Vec<bool>,
}

impl Evaluation {
    /// The number of examples whose class was found.
    pub fn correct(&self) -> u64 {
        self.confusion.iter().enumerate().map(|(class, row)| row[class]).sum()
    }

    /// The fraction of examples whose class was found.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.examples.max(1) as f64
    }

    /// Whether the objective has classes, and the evaluation an accuracy.
    pub fn has_classes(&self) -> bool {
        !self.confusion.is_empty()
    }

    /// What the best epoch has most of: the accuracy, or −loss for an objective without classes.
    pub fn score(&self) -> f64 {
        if self.has_classes() { self.accuracy() } else { -self.loss }
    }

    /// The fraction of each class's examples that were found; `None` for a class without examples.
    pub fn class_accuracies(&self) -> Vec<Option<f64>> {
        let found = |(class, row): (usize, &Vec<u64>)| {
            let examples: u64 = row.iter().sum();
            (examples > 0).then(|| row[class] as f64 / examples as f64)
        };
        self.confusion.iter().enumerate().map(found).collect()
    }
}

/// The results of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The batch within the epoch, from 0.
    pub batch: usize,
    /// The number of batches in the epoch.
    pub batches: usize,
    /// The step within the run, from 0.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate.
    pub lr: f64,
    /// The number of amplified sites.
    pub amplified_sites: usize,
    /// The batch's mean loss.
    pub loss: f32,
    /// The number of the batch's examples that were classified correctly; 0 for an objective without classes.
    pub correct: usize,
    /// The number of the batch's examples.
    pub examples: usize,
    /// The norm of all gradients; `None` if the optimiser did not need it, as it does for clipping by norm.
    pub gradient_norm: Option<f32>,
    /// The factor of loss scaling; `None` without loss scaling.
    pub loss_scale: Option<f32>,
    /// Whether the step was skipped because its gradients were not finite.
    pub skipped: bool,
    /// The duration of the step in seconds, including the wait for data: the mean over the steps that are reported together.
    pub seconds: f64,
}

/// The results of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The number of steps of the run so far.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Whether amplification was on.
    pub amplified: bool,
    /// The mean loss over the epoch's examples, each at the time when it was trained on.
    pub train_loss: f64,
    /// The fraction of the epoch's examples that were classified correctly when they were trained on.
    pub train_accuracy: f64,
    /// The number of the epoch's examples.
    pub examples: u64,
    /// Evaluations by name, in the order of the trainer's sources; empty if this epoch is not evaluated.
    pub evaluations: Vec<(String, Evaluation)>,
    /// Whether the first evaluation is the best so far.
    pub best: bool,
    /// Statistics of the gradients by site; empty if none were measured.
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

/// The content of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a, B: Backend> {
    /// The parameters and running statistics.
    pub parameters: &'a Parameters<B>,
    /// The moving average of the parameters; `None` in a run without one.
    pub ema: Option<&'a Parameters<B>>,
    /// The optimiser and its state.
    pub optimizer: &'a dyn Optimizer<B>,
    /// By the parameters' numbers: the sums of this epoch's measured gradients without amplification, for policies that look back at
    /// gradients. Empty between epochs, and if no policy needs them.
    pub gradient_sums: &'a [Option<Tensor<B>>],
    /// The state of the run.
    pub state: &'a TrainState,
}

impl<B: Backend> Snapshot<'_, B> {
    /// The path of the first parameter that is not finite, if there is one. Such a snapshot should not be saved.
    pub fn first_bad_parameter(&self) -> Result<Option<String>> {
        super::divergence::first_bad_parameter(self.parameters)
    }
}

/// Watches a run. All methods are called between steps and batches, for the observers in the order in which they were added.
pub trait Observer<B: Backend> {
    /// Called before every step and every batch of an evaluation; decides whether the run stops here. A run that stops during an
    /// evaluation repeats the evaluation when it is resumed.
    fn before(&mut self, _next: Next) -> Control {
        Control::Continue
    }

    /// Called when sites were drawn, before the first step that amplifies them.
    fn on_draw(&mut self, _draw: &DrawRecord) -> Result<()> {
        Ok(())
    }

    /// Called when steps are done: one, or all steps that a device computed between two reads. The snapshot is that after the last
    /// of them.
    fn on_steps(&mut self, _reports: &[StepReport], _snapshot: &Snapshot<'_, B>) -> Result<Control> {
        Ok(Control::Continue)
    }

    /// Called when an epoch is done and evaluated. The snapshot is that at the beginning of the next epoch.
    fn on_epoch(&mut self, _report: &EpochReport, _snapshot: &Snapshot<'_, B>) -> Result<Control> {
        Ok(Control::Continue)
    }

    /// Called when the run stops before its end or at its limit of steps. A run that is resumed from the snapshot goes on bit for
    /// bit.
    fn on_stop(&mut self, _snapshot: &Snapshot<'_, B>) -> Result<()> {
        Ok(())
    }
}
