//! The table `[optimizer]`: which optimiser, and its settings, with the label smoothing of the loss among them.

use gradamp_core::optim::{
    AdamWSettings, AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, OptimizerSettings, ParameterSet,
    SgdSettings,
};
use serde::{Deserialize, Serialize};

use super::KeyError;
use super::origin::Origin;
use super::tree::{Node, Value};

/// The optimisers that a configuration can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// [`Sgd`](gradamp_core::optim::Sgd)
    #[default]
    Sgd,
    /// [`AdamW`](gradamp_core::optim::AdamW)
    AdamW,
}

impl OptimizerName {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            OptimizerName::Sgd => "sgd",
            OptimizerName::AdamW => "adamw",
        }
    }
}

/// `[optimizer]`
///
/// `None` means that a key was not written: the value then is the optimiser's default. A key that does not concern the optimiser,
/// such as `momentum` of AdamW, must not be written. The keys' meanings are those of [`SgdSettings`] and [`AdamWSettings`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OptimizerOptions {
    /// `sgd` or `adamw`.
    pub name: OptimizerName,
    /// SGD: the share of the velocity that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f32>,
    /// The weight decay: an L2 penalty of SGD, a share of the parameter with AdamW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
    /// SGD: whether to use Nesterov's momentum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// AdamW: the shares of its two averages that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// AdamW: added to the root of the average square.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f32>,
    /// Parameters without weight decay.
    pub no_decay: Vec<ParameterSet>,
    /// Whether the gradients of weights are centralised.
    pub centralise: bool,
    /// The method that brings gradients to a common size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// The largest norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// The largest magnitude of any element of a gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f32>,
    /// The share of each label that is spread over all classes, in [0, 1].
    pub label_smoothing: f32,
    /// Clipping of each unit's gradient by the norm of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// The noise that is added to gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<GradientNoise>,
    /// SGD: learning rates of layers by the norms of their weights and gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lars: Option<Lars>,
    /// Multipliers of the learning rate for some parameters.
    pub layer_rates: Vec<LayerRate>,
}

impl OptimizerOptions {
    /// The settings of the optimiser.
    pub fn settings(&self) -> OptimizerSettings {
        let Self { no_decay, normalise, clip_norm, clip_value, adaptive_clip, noise, layer_rates, .. } =
            self.clone();
        let centralise = self.centralise;
        match self.name {
            OptimizerName::Sgd => {
                let default = SgdSettings::default();
                SgdSettings::default()
                    .with_momentum(self.momentum.unwrap_or(default.momentum))
                    .with_weight_decay(self.weight_decay.unwrap_or(default.weight_decay))
                    .with_nesterov(self.nesterov.unwrap_or(default.nesterov))
                    .with_no_decay(no_decay)
                    .with_centralise(centralise)
                    .with_normalise(normalise)
                    .with_clip_norm(clip_norm)
                    .with_clip_value(clip_value)
                    .with_adaptive_clip(adaptive_clip)
                    .with_noise(noise)
                    .with_lars(self.lars.clone())
                    .with_layer_rates(layer_rates)
                    .into()
            }
            OptimizerName::AdamW => {
                let default = AdamWSettings::default();
                AdamWSettings::default()
                    .with_betas(self.betas.unwrap_or(default.betas))
                    .with_epsilon(self.epsilon.unwrap_or(default.epsilon))
                    .with_weight_decay(self.weight_decay.unwrap_or(default.weight_decay))
                    .with_no_decay(no_decay)
                    .with_centralise(centralise)
                    .with_normalise(normalise)
                    .with_clip_norm(clip_norm)
                    .with_clip_value(clip_value)
                    .with_adaptive_clip(adaptive_clip)
                    .with_noise(noise)
                    .with_layer_rates(layer_rates)
                    .into()
            }
        }
    }

    /// The same options, with the optimiser's default for each key that was not written and concerns it.
    pub(super) fn with_defaults(&self) -> Self {
        let mut all = self.clone();
        match self.settings() {
            OptimizerSettings::Sgd(SgdSettings { momentum, weight_decay, nesterov, .. }) => {
                (all.momentum, all.weight_decay, all.nesterov) =
                    (Some(momentum), Some(weight_decay), Some(nesterov));
            }
            OptimizerSettings::AdamW(AdamWSettings { betas, epsilon, weight_decay, .. }) => {
                (all.betas, all.epsilon, all.weight_decay) = (Some(betas), Some(epsilon), Some(weight_decay));
            }
            _ => {}
        }
        all
    }

    /// Checks every value against its range, and that each written key concerns the optimiser.
    ///
    /// **Errors:** the first key that is wrong, with what is expected.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        let (of_sgd, of_adamw) = (OptimizerName::Sgd, OptimizerName::AdamW);
        for (key, owner, is_written) in [
            ("momentum", of_sgd, self.momentum.is_some()),
            ("nesterov", of_sgd, self.nesterov.is_some()),
            ("lars", of_sgd, self.lars.is_some()),
            ("betas", of_adamw, self.betas.is_some()),
            ("epsilon", of_adamw, self.epsilon.is_some()),
        ] {
            if is_written && owner != self.name {
                let name = |name| if name == of_sgd { "sgd" } else { "adamw" };
                let message = format!(
                    "is a key of \"{}\", but the optimizer is \"{}\": leave it out",
                    name(owner),
                    name(self.name)
                );
                return Err(KeyError::new(message).about(&format!("optimizer.{key}")));
            }
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let message = format!("found {}, expected 0 to 1", self.label_smoothing);
            return Err(KeyError::new(message).about("optimizer.label_smoothing"));
        }
        Ok(self.settings().check().map_err(|error| error.within("optimizer"))?)
    }
}

/// Removes a preset's settings of the optimiser where a higher layer chooses another optimiser: they do not mean the same there.
pub(super) fn drop_keys_of_presets(tree: &mut Node) {
    let is_preset = |node: &Node| matches!(node.origin, Origin::Preset(..));
    let is_chosen = tree
        .get("optimizer.name")
        .is_some_and(|name| !is_preset(name) && !matches!(&name.value, Value::String(name) if name == "sgd"));
    for key in ["momentum", "nesterov", "lars", "weight_decay"] {
        let path = format!("optimizer.{key}");
        if is_chosen && tree.get(&path).is_some_and(is_preset) {
            tree.remove(&path);
        }
    }
}
