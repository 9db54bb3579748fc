use serde::{Deserialize, Serialize};

use super::LossScaling;
use crate::amplify::{AmplificationSettings, Strategy};
use crate::optim::OptimizerSettings;

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
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// The seed of the draws of amplified sites and of gradient noise.
    pub seed: u64,
    /// Phases of learning rate and amplification.
    pub strategy: Strategy,
    /// The settings of amplification, in phases that amplify and have none of their own.
    pub amplification: AmplificationSettings,
    /// The optimiser.
    pub optimizer: OptimizerSettings,
    /// The share of each label that is spread over all classes, in [0, 1].
    pub label_smoothing: f32,
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
            label_smoothing: 0.0,
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
}
