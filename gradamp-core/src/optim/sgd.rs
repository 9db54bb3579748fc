use serde::{Deserialize, Serialize};

use super::Rate;
use crate::backend::{Gate, GatePart, SgdSlot, SgdStep};
use crate::parameters::{Parameter, Role};
use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Tensor};

/// The settings of SGD; see [`Sgd`].
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
    pub no_decay: Vec<NoDecay>,
    /// Largest norm of all gradients together, after amplification.
    pub clip_norm: Option<f32>,
    /// Largest magnitude of any element of a gradient, after amplification and after `clip_norm`.
    pub clip_value: Option<f32>,
}

impl Default for SgdSettings {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov: false,
            no_decay: Vec::new(),
            clip_norm: None,
            clip_value: None,
        }
    }
}

/// A set of parameters that weight decay leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDecay {
    /// The biases of convolutions and linear layers.
    Bias,
    /// The scales and shifts of batch norms.
    BatchNorm,
}

impl NoDecay {
    fn covers(self, role: Role) -> bool {
        match self {
            NoDecay::Bias => role == Role::Bias,
            NoDecay::BatchNorm => matches!(role, Role::Gamma | Role::Beta),
        }
    }
}

impl SgdSettings {
    /// **Errors:** a value out of its range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, expected: &str, found: f32| {
            Err(Error::setting(format!("optimizer.{key}"), format!("expected {expected}, found {found}")))
        };
        if !(0.0..1.0).contains(&self.momentum) {
            return fail("momentum", "a number in [0, 1)", self.momentum);
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return fail("weight_decay", "a number of at least 0", self.weight_decay);
        }
        if self.nesterov && self.momentum == 0.0 {
            return fail("nesterov", "a momentum above 0 beside it, as PyTorch does", self.momentum);
        }
        for (key, limit) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            if let Some(limit) = limit
                && !(limit > 0.0 && limit.is_finite())
            {
                return fail(key, "a number above 0", limit);
            }
        }
        Ok(())
    }
}

/// Stochastic gradient descent with momentum: PyTorch's `torch.optim.SGD` with dampening 0.
///
/// With g the gradient after amplification and clipping:
/// d = g + weight_decay · w; v ← momentum · v + d; w ← w − lr · (nesterov ? d + momentum · v : v)
///
/// Clipping by norm multiplies every gradient by min(1, clip_norm / (‖g‖ + 1e-6)), as PyTorch's `clip_grad_norm_`;
/// clipping by value then limits each element.
#[derive(Debug)]
pub struct Sgd<B: Backend> {
    settings: SgdSettings,
    /// By parameter; `None` until its first gradient, where it counts as 0.
    velocities: Vec<Option<Tensor<B>>>,
    skips_non_finite: bool,
}

impl<B: Backend> Sgd<B> {
    /// An optimiser at rest.
    ///
    /// **Errors:** a setting out of its range.
    pub fn new(settings: SgdSettings, parameters: &Parameters<B>) -> Result<Self> {
        settings.check()?;
        let velocities = parameters.iter().map(|_| None).collect();
        Ok(Self { settings, velocities, skips_non_finite: false })
    }

    /// The settings.
    pub fn settings(&self) -> &SgdSettings {
        &self.settings
    }

    /// A parameter's velocity; `None` before its first step and where momentum is 0.
    pub fn velocity(&self, id: ParameterId) -> Option<&Tensor<B>> {
        self.velocities.get(id.index())?.as_ref()
    }

    /// Puts a velocity in place, as when a run resumes.
    ///
    /// **Errors:** a shape other than the parameter's.
    pub fn set_velocity(
        &mut self,
        parameters: &Parameters<B>,
        id: ParameterId,
        velocity: Tensor<B>,
    ) -> Result<()> {
        let Parameter { path, value, .. } = parameters.get(id);
        if value.shape() != velocity.shape() {
            let message =
                format!("expects a velocity of shape {:?}, found {:?}", value.shape(), velocity.shape());
            return Err(Error::Parameter { path: path.to_string(), message });
        }
        self.velocities[id.index()] = Some(velocity);
        Ok(())
    }

    /// Whether from now on a step changes nothing if its gradients are not all finite; at first it does as they say.
    pub fn skip_non_finite(&mut self, skips: bool) {
        self.skips_non_finite = skips;
    }

    /// One step of every parameter that has a gradient.
    ///
    /// Returns the step's [`Gate`], where clipping by norm or skipping needs one: it stays on the device, and whoever
    /// wants the norm reads it when there is time.
    pub fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        rate: &Rate<'_>,
    ) -> Result<Option<Tensor<B>>> {
        let gate = self.gate(parameters, gradients)?;
        let backend = parameters.backend().clone();
        let mut slots = Vec::with_capacity(parameters.len());
        for ((id, parameter), velocity) in parameters.iter_mut().zip(&mut self.velocities) {
            let Some(gradient) = gradients.parameter(id) else { continue };
            if self.settings.momentum > 0.0 && velocity.is_none() {
                *velocity = Some(Tensor::full(&backend, parameter.value.shape(), 0.0)?);
            }
            let decays = !self.settings.no_decay.iter().any(|set| set.covers(parameter.role));
            let step = SgdStep {
                lr: rate.of(id.index()),
                momentum: self.settings.momentum,
                weight_decay: if decays { self.settings.weight_decay } else { 0.0 },
                nesterov: self.settings.nesterov,
                gradient_scale: gradient.scale(),
                clip_value: self.settings.clip_value.unwrap_or(f32::INFINITY),
            };
            slots.push(SgdSlot {
                step,
                len: parameter.value.elements(),
                gradient: gradient.unscaled()?.buffer(),
                gate: gate.as_ref().map(Tensor::buffer),
                velocity: velocity.as_mut().map(Tensor::buffer_mut).transpose()?,
                parameter: parameter.value.buffer_mut()?,
            });
        }
        backend.sgd_all(slots)?;
        Ok(gate)
    }

    /// What all gradients together decide, where anything depends on it.
    fn gate(&self, parameters: &Parameters<B>, gradients: &Gradients<B>) -> Result<Option<Tensor<B>>> {
        let (limit, skips) = (self.settings.clip_norm, self.skips_non_finite);
        if limit.is_none() && !skips {
            return Ok(None);
        }
        let mut parts = Vec::with_capacity(parameters.len());
        for gradient in parameters.iter().filter_map(|(id, _)| gradients.parameter(id)) {
            let (gradient, scale) = (gradient.unscaled()?, gradient.scale());
            parts.push(GatePart { gradient: gradient.buffer(), len: gradient.elements(), scale });
        }
        let backend = parameters.backend();
        Tensor::build(backend, &[Gate::LEN], |out| backend.gate(&parts, limit, skips, out)).map(Some)
    }
}
