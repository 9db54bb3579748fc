use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::methods::Shared;
use super::{AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise};
use crate::error::number;
use crate::parameters::ParameterSet;
use crate::{Error, Result};

/// The settings of SGD. See [`Sgd`](super::Sgd).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct SgdSettings {
    /// The share of the velocity that is kept, in [0, 1).
    pub momentum: f32,
    /// The L2 penalty, which is added to the gradient and not amplified.
    pub weight_decay: f32,
    /// Whether to use Nesterov's momentum, which looks ahead along the velocity.
    pub nesterov: bool,
    /// Parameters without weight decay.
    pub no_decay: Vec<ParameterSet>,
    /// Whether the gradients of weights are centralised: the mean over the fan-in is subtracted for each output unit of a convolution
    /// or linear layer.
    ///
    /// g_i ← g_i − mean(g_i), where g_i is the gradient of output unit i. Weight decay comes later and is not centralised.
    ///
    /// **Source:** H. Yong, J. Huang, X. Hua, L. Zhang, "Gradient Centralization: A New Optimization Technique for Deep
    /// Neural Networks", ECCV 2020, eq. 1.
    pub centralise: bool,
    /// The method that brings gradients to a common size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// The largest norm of all gradients together, after amplification, centralisation, normalisation, adaptive clipping and
    /// noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// The largest magnitude of any element of a gradient, after amplification and `clip_norm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f32>,
    /// Clipping of each unit's gradient by the norm of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// The noise that is added to gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<GradientNoise>,
    /// Learning rates of layers by the norms of their weights and gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lars: Option<Lars>,
    /// Multipliers of the learning rate for some parameters. The last entry that matches a parameter counts.
    pub layer_rates: Vec<LayerRate>,
}

impl Default for SgdSettings {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov: false,
            no_decay: Vec::new(),
            centralise: false,
            normalise: None,
            clip_norm: None,
            clip_value: None,
            adaptive_clip: None,
            noise: None,
            lars: None,
            layer_rates: Vec::new(),
        }
    }
}

impl SgdSettings {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, or two settings that exclude each other; by its field.
    pub fn check(&self) -> Result<()> {
        let fail = |field: &str, expected: &str, found: f32| {
            Err(Error::setting(field, format!("expected {expected}, found {}", number(found))))
        };
        if !(0.0..1.0).contains(&self.momentum) {
            return fail("momentum", "a number in [0, 1)", self.momentum);
        }
        if self.nesterov && self.momentum == 0.0 {
            return fail("nesterov", "a momentum above 0 beside it, as PyTorch does", self.momentum);
        }
        if let Some(lars) = &self.lars {
            lars.check()?;
            if self.clip_value.is_some() {
                let message = "uses the norm of each gradient, which `clip_value` changes afterwards: give one of the two";
                return Err(Error::setting("lars", message));
            }
            if self.normalise.is_some() {
                let message = "divides each gradient by its norm, which undoes what `normalise` does before: give one of the two";
                return Err(Error::setting("lars", message));
            }
        }
        self.shared().check()
    }

    /// The settings that other optimisers have, too.
    pub(super) fn shared(&self) -> Shared<'_> {
        Shared {
            weight_decay: self.weight_decay,
            no_decay: &self.no_decay,
            centralise: self.centralise,
            normalise: self.normalise,
            clip_norm: self.clip_norm,
            clip_value: self.clip_value,
            adaptive_clip: self.adaptive_clip.as_ref(),
            noise: self.noise.as_ref(),
            layer_rates: &self.layer_rates,
        }
    }
}
