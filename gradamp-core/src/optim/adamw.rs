use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::methods::{Preparation, Shared, decay, restore};
use super::{AdaptiveClip, GradientNoise, LayerRate, Normalise, Optimizer, StateTensor, tensors};
use crate::backend::{AdamWCorrections, AdamWSlot, AdamWStep};
use crate::error::{above_zero, number};
use crate::parameters::ParameterSet;
use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Tensor};

/// The names of the averages in a checkpoint, which are PyTorch's.
const MEAN: &str = "exp_avg";
const SQUARE: &str = "exp_avg_sq";
/// The name of the corrections in a checkpoint.
const CORRECTIONS: &str = "corrections";

/// The settings of AdamW. See [`AdamW`]. The methods that change gradients are those of [`SgdSettings`](super::SgdSettings).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct AdamWSettings {
    /// β₁ and β₂, the shares of the averages that stay in a step, in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the average square. A gradient far below it is not brought to the size of the others.
    pub epsilon: f32,
    /// The share of a parameter that a step at the learning rate 1 takes away. It is no part of the gradient.
    pub weight_decay: f32,
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
    /// Clipping of each unit's gradient by the norm of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// The noise that is added to gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<GradientNoise>,
    /// Multipliers of the learning rate for some parameters. The last entry that matches a parameter counts.
    pub layer_rates: Vec<LayerRate>,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.01,
            no_decay: Vec::new(),
            centralise: false,
            normalise: None,
            clip_norm: None,
            clip_value: None,
            adaptive_clip: None,
            noise: None,
            layer_rates: Vec::new(),
        }
    }
}

impl AdamWSettings {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field.
    pub fn check(&self) -> Result<()> {
        if let Some(i) = self.betas.iter().position(|beta| !(0.0..1.0).contains(beta)) {
            let message = format!("expected a number in [0, 1), found {}", number(self.betas[i]));
            return Err(Error::setting(format!("betas[{i}]"), message));
        }
        above_zero("epsilon", self.epsilon)?;
        self.shared().check()
    }

    fn shared(&self) -> Shared<'_> {
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

/// AdamW: PyTorch's `torch.optim.AdamW` without `amsgrad`.
///
/// g is the gradient after amplification, clipping and the other methods (in the order of [`optim`](super)):
/// m ← β₁ · m + (1 − β₁) · g; v ← β₂ · v + (1 − β₂) · g²;
/// w ← w − lr · weight_decay · w − lr · m̂ / (sqrt(v̂) + epsilon), with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at the t-th step
///
/// A factor that multiplies all gradients of a parameter multiplies m̂ and sqrt(v̂) alike: **amplification that does not change in time
/// changes nothing but the weight of epsilon.** It acts where gradients are not far above epsilon, and for about 1 / (1 − β₂) steps
/// after it is switched on or off.
///
/// Steps that are skipped do not count in t, which counts the steps of all parameters together. A parameter that joins late is
/// therefore corrected less than in PyTorch, which counts for each parameter.
///
/// **Source:** I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
#[derive(Debug)]
pub struct AdamW<B: Backend> {
    settings: AdamWSettings,
    /// By parameter; `None` until the parameter's first gradient, for 0.
    means: Vec<Option<Tensor<B>>>,
    squares: Vec<Option<Tensor<B>>>,
    /// 1 − β₁ᵗ and 1 − β₂ᵗ, on the device, where it is known whether a step is skipped.
    corrections: Tensor<B>,
    preparation: Preparation,
}

impl<B: Backend> AdamW<B> {
    /// An optimiser whose averages are 0.
    ///
    /// **Errors:** a setting out of its range; an entry of `layer_rates` that matches no parameter.
    pub fn new(settings: AdamWSettings, parameters: &Parameters<B>) -> Result<Self> {
        settings.check()?;
        let none = || parameters.iter().map(|_| None).collect();
        let preparation = Preparation::new(&settings.shared(), parameters)?;
        let corrections = Tensor::full(parameters.backend(), &[AdamWCorrections::LEN], 0.0)?;
        Ok(Self { settings, means: none(), squares: none(), corrections, preparation })
    }

    /// The settings.
    pub fn settings(&self) -> &AdamWSettings {
        &self.settings
    }
}

impl<B: Backend> Optimizer<B> for AdamW<B> {
    fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        lr: f32,
    ) -> Result<Option<Tensor<B>>> {
        let shared = self.settings.shared();
        let (incoming, gate) = self.preparation.prepare(&shared, parameters, gradients)?;
        let backend = parameters.backend().clone();
        let rests = self.settings.betas.map(|beta| (1.0 - beta) as f32);
        let shares = self.settings.betas.map(|beta| beta as f32);
        let gate_buffer = gate.as_ref().map(Tensor::buffer);
        let corrections = AdamWCorrections { shares, rests };
        backend.adamw_corrections(&corrections, gate_buffer, self.corrections.buffer_mut()?)?;
        let mut slots = Vec::with_capacity(incoming.len());
        let mut incoming = incoming.iter().peekable();
        let averages = self.means.iter_mut().zip(&mut self.squares);
        for ((id, parameter), (mean, square)) in parameters.iter_mut().zip(averages) {
            let Some(gradient) = incoming.next_if(|next| next.id == id) else { continue };
            let zeros = || Tensor::full(&backend, parameter.value.shape(), 0.0);
            let mean = match mean {
                Some(mean) => mean,
                none => none.insert(zeros()?),
            };
            let square = match square {
                Some(square) => square,
                none => none.insert(zeros()?),
            };
            let lr = self.preparation.rate(id, lr);
            let decay = f64::from(lr) * f64::from(decay(&shared, parameter.role));
            let step = AdamWStep {
                lr,
                mean_rest: rests[0],
                square_share: shares[1],
                square_rest: rests[1],
                epsilon: self.settings.epsilon,
                keep: (1.0 - decay) as f32,
                gradient_scale: gradient.scale,
                clip_value: self.settings.clip_value.unwrap_or(f32::INFINITY),
            };
            slots.push(AdamWSlot {
                step,
                len: parameter.value.elements(),
                gradient: gradient.values.buffer(),
                gate: gate_buffer,
                corrections: self.corrections.buffer(),
                mean: mean.buffer_mut()?,
                square: square.buffer_mut()?,
                parameter: parameter.value.buffer_mut()?,
            });
        }
        backend.adamw_all(slots)?;
        Ok(gate)
    }

    fn state(&self) -> Vec<StateTensor<'_, B>> {
        let corrections = StateTensor { name: CORRECTIONS, parameter: None, tensor: &self.corrections };
        let averages = tensors(MEAN, &self.means).into_iter().chain(tensors(SQUARE, &self.squares));
        averages.chain([corrections]).collect()
    }

    fn restore(
        &mut self,
        parameters: &Parameters<B>,
        name: &str,
        parameter: Option<ParameterId>,
        tensor: Tensor<B>,
    ) -> Result<()> {
        match (name, parameter) {
            (MEAN, Some(id)) => restore(parameters, &mut self.means, name, id, tensor),
            (SQUARE, Some(id)) => restore(parameters, &mut self.squares, name, id, tensor),
            (CORRECTIONS, None) if tensor.elements() == AdamWCorrections::LEN => {
                self.corrections = tensor;
                Ok(())
            }
            _ => Err(Error::external(format!(
                "AdamW has no state called `{name}`; expected `{MEAN}`, `{SQUARE}` or {} `{CORRECTIONS}`",
                AdamWCorrections::LEN
            ))),
        }
    }

    fn skip_non_finite(&mut self, skips: bool) -> Result<()> {
        self.preparation.skip_non_finite(skips);
        Ok(())
    }

    fn count_from(&mut self, seed: u64, steps: u64) {
        self.preparation.count_from(seed, steps);
    }
}
