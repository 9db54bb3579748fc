use serde::{Deserialize, Serialize};

use super::LossScaling;
use crate::amplify::{AmplificationSettings, Strategy};
use crate::optim::SgdSettings;

/// What to do when the loss is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// Stop with an error that names the first bad site.
    #[default]
    Stop,
    /// Go on: for studies of instability.
    Continue,
}

/// How a run goes.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// Decides the draws of amplified sites.
    pub seed: u64,
    /// Phases of learning rate and amplification.
    pub strategy: Strategy,
    /// What is amplified where the strategy switches it on.
    pub amplification: AmplificationSettings,
    /// The optimiser.
    pub sgd: SgdSettings,
    /// Share of each label that is spread over all classes, in [0, 1].
    pub label_smoothing: f32,
    /// Epochs from one evaluation to the next, at least 1; the last epoch is always evaluated.
    pub evaluate_every: usize,
    /// Steps from one measured gradient to the next within an epoch; 0 for never.
    pub gradients_every: usize,
    /// Steps after which the run stops, if it is not done before.
    pub max_steps: Option<u64>,
    /// What to do when the loss is not finite.
    pub on_divergence: OnDivergence,
    /// How gradients are kept from vanishing in half precision; `None` to leave them as they are.
    pub loss_scaling: Option<LossScaling>,
}

impl TrainSettings {
    /// A run of `strategy` with SGD's defaults, evaluated after every epoch.
    pub fn new(seed: u64, strategy: Strategy, amplification: AmplificationSettings) -> Self {
        Self {
            seed,
            strategy,
            amplification,
            sgd: SgdSettings::default(),
            label_smoothing: 0.0,
            evaluate_every: 1,
            gradients_every: 50,
            max_steps: None,
            on_divergence: OnDivergence::Stop,
            loss_scaling: None,
        }
    }
}
