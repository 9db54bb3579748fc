use serde::{Deserialize, Serialize};

use super::{AdaptiveClip, GradientNoise, Lars, LayerRate};
use crate::error::number;
use crate::{Error, Result, Role};

/// The settings of SGD; see [`Sgd`](super::Sgd).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdSettings {
    /// Share of the velocity that stays, in [0, 1).
    pub momentum: f32,
    /// L2 penalty, added to the gradient; not amplified.
    pub weight_decay: f32,
    /// Whether to look ahead along the velocity.
    pub nesterov: bool,
    /// Parameters that weight decay leaves alone.
    pub no_decay: Vec<ParameterSet>,
    /// Whether the gradients of weights are centralised: of each output unit of a convolution or linear layer, the mean
    /// over its fan-in is subtracted.
    ///
    /// g_i ← g_i − mean(g_i), g_i being what belongs to output unit i. Weight decay comes later and is not centralised.
    ///
    /// **Source:** H. Yong, J. Huang, X. Hua, L. Zhang, "Gradient Centralization: A New Optimization Technique for Deep
    /// Neural Networks", ECCV 2020, eq. 1.
    pub centralise: bool,
    /// Largest norm of all gradients together, after amplification and all that follows it up to noise.
    pub clip_norm: Option<f32>,
    /// Largest magnitude of any element of a gradient, after amplification and after `clip_norm`.
    pub clip_value: Option<f32>,
    /// How the gradient of each unit is clipped by the norm of its weights.
    pub adaptive_clip: Option<AdaptiveClip>,
    /// The noise that is added to gradients.
    pub noise: Option<GradientNoise>,
    /// How layers are given learning rates by the norms of their weights and gradients.
    pub lars: Option<Lars>,
    /// Learning rates of some layers, relative to the others'; the last entry that matches a parameter counts.
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
            clip_norm: None,
            clip_value: None,
            adaptive_clip: None,
            noise: None,
            lars: None,
            layer_rates: Vec::new(),
        }
    }
}

/// A set of parameters that a method leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSet {
    /// The biases of convolutions and linear layers.
    Bias,
    /// The scales and shifts of batch norms.
    BatchNorm,
}

impl ParameterSet {
    /// Whether a parameter of this role belongs to it.
    pub fn covers(self, role: Role) -> bool {
        match self {
            ParameterSet::Bias => role == Role::Bias,
            ParameterSet::BatchNorm => matches!(role, Role::Gamma | Role::Beta),
        }
    }
}

impl SgdSettings {
    /// **Errors:** a value out of its range, or two that exclude each other; the message names the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, expected: &str, found: f32| {
            Err(Error::setting(
                format!("optimizer.{key}"),
                format!("expected {expected}, found {}", number(found)),
            ))
        };
        if !(0.0..1.0).contains(&self.momentum) {
            return fail("momentum", "a number in [0, 1)", self.momentum);
        }
        at_least_zero("weight_decay", self.weight_decay)?;
        if self.nesterov && self.momentum == 0.0 {
            return fail("nesterov", "a momentum above 0 beside it, as PyTorch does", self.momentum);
        }
        for (key, limit) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            limit.map_or(Ok(()), |limit| above_zero(key, limit))?;
        }
        self.adaptive_clip.as_ref().map_or(Ok(()), AdaptiveClip::check)?;
        self.noise.as_ref().map_or(Ok(()), GradientNoise::check)?;
        if let Some(lars) = &self.lars {
            lars.check()?;
            if self.clip_value.is_some() {
                let message = "goes by the norm of each gradient, which `clip_value` changes once more on its way: give \
                               one of the two";
                return Err(Error::setting("optimizer.lars", message));
            }
        }
        LayerRate::check(&self.layer_rates)
    }

    /// The weight decay of a parameter.
    pub(super) fn decay(&self, role: Role) -> f32 {
        if self.no_decay.iter().any(|set| set.covers(role)) { 0.0 } else { self.weight_decay }
    }
}

/// **Errors:** a value of `optimizer.{key}` that is not finite, or not above 0.
pub(super) fn above_zero(key: &str, value: f32) -> Result<()> {
    check(key, value, value > 0.0, "a number above 0")
}

/// **Errors:** a value of `optimizer.{key}` that is not finite, or below 0.
pub(super) fn at_least_zero(key: &str, value: f32) -> Result<()> {
    check(key, value, value >= 0.0, "a number of at least 0")
}

fn check(key: &str, found: f32, is_in_range: bool, expected: &str) -> Result<()> {
    if is_in_range && found.is_finite() {
        return Ok(());
    }
    Err(Error::setting(format!("optimizer.{key}"), format!("expected {expected}, found {}", number(found))))
}
