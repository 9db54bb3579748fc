use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::LossScaling;
use crate::amplify::{AmplificationSettings, Strategy};
use crate::objective::CrossEntropy;
use crate::optim::OptimizerSettings;
use crate::{Error, Result};

/// What to do when the loss is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// Stop with an error that names the first site that is not finite.
    #[default]
    Stop,
    /// Continue, for studies of instability.
    Continue,
}

/// The settings of a run. The default is a run without phases, which [`Trainer::new`](super::Trainer::new) refuses: give a strategy.
#[derive(Clone, Debug, PartialEq, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct TrainSettings {
    /// The seed of the draws of amplified sites and of gradient noise.
    pub seed: u64,
    /// Phases of learning rate and amplification.
    pub strategy: Strategy,
    /// The settings of amplification, in phases that amplify and have none of their own.
    pub amplification: AmplificationSettings,
    /// The optimiser.
    pub optimizer: OptimizerSettings,
    /// The objective, unless [`Trainer::set_objective`](super::Trainer::set_objective) gives another.
    pub objective: CrossEntropy,
    /// Batches whose gradients make one step, at least 1. The gradient is that of the mean loss over all their examples, as of one
    /// large batch, except that a batch norm has the statistics of each batch. Steps are then counted in place of batches.
    /// Gradients at sites are measured in the first batch of a step.
    pub accumulate: usize,
    /// The decay of an exponential moving average (EMA) of the weights, between 0 and 1; `None` for no average. Each evaluation is
    /// then repeated with the average, under its name and `_ema`.
    pub ema: Option<f64>,
    /// Epochs in which the first evaluation may fail to improve on its best before the run ends, at least 1; `None` for no end before
    /// the strategy's.
    pub patience: Option<usize>,
    /// Epochs from one evaluation to the next, at least 1; the last epoch is always evaluated.
    pub evaluate_every: usize,
    /// Steps from one measurement of all gradients to the next within an epoch; 0 for no measurement.
    pub gradients_every: usize,
    /// Whether the steps whose gradients are measured also measure [`SiteSignals`](super::SiteSignals). Each such step then has a
    /// further pass over half of the batch. A run's hooks see both passes.
    pub signals: bool,
    /// The step at which the run stops, unless it finishes before.
    pub max_steps: Option<u64>,
    /// What to do when the loss is not finite.
    pub on_divergence: OnDivergence,
    /// Loss scaling, which keeps small gradients from vanishing in half precision; `None` for no scaling.
    pub loss_scaling: Option<LossScaling>,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            strategy: Strategy::default(),
            amplification: AmplificationSettings::default(),
            optimizer: OptimizerSettings::default(),
            objective: CrossEntropy::default(),
            accumulate: 1,
            ema: None,
            patience: None,
            evaluate_every: 1,
            gradients_every: 50,
            signals: false,
            max_steps: None,
            on_divergence: OnDivergence::Stop,
            loss_scaling: None,
        }
    }
}

impl TrainSettings {
    /// A run of `strategy`, with the defaults for all other settings.
    pub fn new(seed: u64, strategy: Strategy, amplification: AmplificationSettings) -> Self {
        Self { seed, strategy, amplification, ..Self::default() }
    }

    /// Checks the numbers that no other type checks.
    pub(super) fn check(&self) -> Result<()> {
        let least = |field, value: usize, unit| match value {
            0 => Err(Error::setting(field, format!("expected at least 1 {unit}, found 0"))),
            _ => Ok(()),
        };
        least("evaluate_every", self.evaluate_every, "epoch")?;
        least("accumulate", self.accumulate, "batch")?;
        least("patience", self.patience.unwrap_or(1), "epoch")?;
        if let Some(decay) = self.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            return Err(Error::setting("ema", format!("expected a number between 0 and 1, found {decay}")));
        }
        if self.signals && self.gradients_every == 0 {
            let message =
                "signals are measured where gradients are, but `gradients_every` is 0: expected at least 1";
            return Err(Error::setting("signals", message));
        }
        self.objective.check()
    }
}
