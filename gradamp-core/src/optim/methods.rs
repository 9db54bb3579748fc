//! The methods that change gradients before an optimiser's step, in their order; see [`optim`](super).

use super::incoming::Incoming;
use super::{AdaptiveClip, GradientNoise, LayerRate, Normalise};
use crate::backend::{GateInput, StepGate};
use crate::error::{above_zero, at_least_zero};
use crate::geometry::Rows;
use crate::parameters::ParameterSet;
use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Role, Tensor};

/// The settings that optimisers share.
#[derive(Clone, Debug)]
pub(super) struct Shared<'a> {
    pub weight_decay: f32,
    pub no_decay: &'a [ParameterSet],
    pub centralise: bool,
    pub normalise: Option<Normalise>,
    pub clip_norm: Option<f32>,
    pub clip_value: Option<f32>,
    pub adaptive_clip: Option<&'a AdaptiveClip>,
    pub noise: Option<&'a GradientNoise>,
    pub layer_rates: &'a [LayerRate],
}

impl Shared<'_> {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field.
    pub(super) fn check(&self) -> Result<()> {
        at_least_zero("weight_decay", self.weight_decay)?;
        for (field, limit) in [("clip_norm", self.clip_norm), ("clip_value", self.clip_value)] {
            limit.map_or(Ok(()), |limit| above_zero(field, limit))?;
        }
        self.adaptive_clip.map_or(Ok(()), AdaptiveClip::check)?;
        self.noise.map_or(Ok(()), GradientNoise::check)?;
        LayerRate::check(self.layer_rates)
    }
}

/// The gradients of a step, and its gate.
type Prepared<'a, B> = (Vec<Incoming<'a, B>>, Option<Tensor<B>>);

/// What an optimiser does before its step.
#[derive(Debug)]
pub(super) struct Preparation {
    /// By parameter: the multiplier of the step's learning rate.
    rates: Vec<f32>,
    skips_non_finite: bool,
    seed: u64,
    steps: u64,
}

impl Preparation {
    /// **Errors:** a setting out of its range; an entry of `layer_rates` that matches no parameter.
    pub(super) fn new<B: Backend>(settings: &Shared<'_>, parameters: &Parameters<B>) -> Result<Self> {
        settings.check()?;
        let rates = LayerRate::resolve(settings.layer_rates, parameters)?;
        Ok(Self { rates, skips_non_finite: false, seed: 0, steps: 0 })
    }

    pub(super) fn skip_non_finite(&mut self, skips: bool) {
        self.skips_non_finite = skips;
    }

    pub(super) fn count_from(&mut self, seed: u64, steps: u64) {
        (self.seed, self.steps) = (seed, steps);
    }

    /// The learning rate of a parameter.
    pub(super) fn rate(&self, id: ParameterId, lr: f32) -> f32 {
        lr * self.rates[id.index()]
    }

    /// The gradients before clipping by norm, and the gate that they decide together; no gate if nothing depends on it.
    pub(super) fn prepare<'a, B: Backend>(
        &mut self,
        settings: &Shared<'_>,
        parameters: &Parameters<B>,
        gradients: &'a Gradients<B>,
    ) -> Result<Prepared<'a, B>> {
        let mut incoming = Incoming::all(parameters, gradients)?;
        if settings.centralise {
            centralise(parameters, &mut incoming)?;
        }
        if let Some(normalise) = settings.normalise {
            normalise.normalise(parameters, &mut incoming)?;
        }
        if let Some(clip) = settings.adaptive_clip {
            clip.clip(parameters, &mut incoming)?;
        }
        if let Some(noise) = settings.noise {
            noise.add(self.seed, self.steps, parameters, &mut incoming)?;
        }
        let gate = self.gate(settings, parameters.backend(), &incoming)?;
        self.steps += 1;
        Ok((incoming, gate))
    }

    fn gate<B: Backend>(
        &self,
        settings: &Shared<'_>,
        backend: &B,
        incoming: &[Incoming<'_, B>],
    ) -> Result<Option<Tensor<B>>> {
        let (limit, skips) = (settings.clip_norm, self.skips_non_finite);
        if limit.is_none() && !skips {
            return Ok(None);
        }
        let mut parts = Vec::with_capacity(incoming.len());
        for Incoming { values, scale, .. } in incoming {
            parts.push(GateInput { gradient: values.buffer(), len: values.elements(), scale: *scale });
        }
        Tensor::build(backend, &[StepGate::LEN], |out| backend.step_gate(&parts, limit, skips, out)).map(Some)
    }
}

/// The weight decay of a parameter.
pub(super) fn decay(settings: &Shared<'_>, role: Role) -> f32 {
    if settings.no_decay.iter().any(|set| set.covers(role)) { 0.0 } else { settings.weight_decay }
}

/// Sets a tensor of an optimiser's state.
///
/// **Errors:** a shape other than the parameter's.
pub(super) fn restore<B: Backend>(
    parameters: &Parameters<B>,
    state: &mut [Option<Tensor<B>>],
    name: &str,
    id: ParameterId,
    tensor: Tensor<B>,
) -> Result<()> {
    let parameter = parameters.get(id);
    if parameter.value.shape() != tensor.shape() {
        let (expected, found) = (parameter.value.shape(), tensor.shape());
        let message = format!("expects {name} of shape {expected:?}, found {found:?}");
        return Err(Error::Parameter { path: parameter.path.to_string(), message });
    }
    state[id.index()] = Some(tensor);
    Ok(())
}

/// Gradient centralisation; see [`SgdSettings::centralise`](super::SgdSettings::centralise).
///
/// g[r, c] ← g[r, c] − 1/rows · Σ_r g[r, c], with weights seen as matrices `[fan_in, units]`.
///
/// The operation is linear, so that it need not know the gradient's scalar. It runs on the device.
fn centralise<B: Backend>(parameters: &Parameters<B>, incoming: &mut [Incoming<'_, B>]) -> Result<()> {
    let backend = parameters.backend();
    for gradient in incoming {
        if !matches!(parameters.get(gradient.id).role, Role::ConvWeight | Role::LinearWeight) {
            continue;
        }
        let g = Rows::new("centralise", gradient.values.shape())?;
        let (mut sums, mut means) = (backend.allocate(g.channels)?, backend.allocate(g.channels)?);
        backend.sum_rows(&g, gradient.values.buffer(), &mut sums)?;
        backend.axpby(g.channels, -1.0 / g.rows as f32, &sums, 0.0, &mut means)?;
        gradient.replace(|old, new| {
            backend.axpby(g.len(), 1.0, old.buffer(), 0.0, new)?;
            backend.add_bias(&g, &means, new)
        })?;
    }
    Ok(())
}
