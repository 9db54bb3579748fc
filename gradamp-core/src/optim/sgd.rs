use super::incoming::Incoming;
use super::{LayerRate, SgdSettings};
use crate::backend::{GateInput, SgdSlot, SgdStep, StepGate};
use crate::geometry::Rows;
use crate::parameters::Parameter;
use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Role, Tensor};

/// Stochastic gradient descent with momentum: PyTorch's `torch.optim.SGD` with dampening 0.
///
/// g is the gradient after amplification, clipping and the other methods (in the order of [`optim`](super)):
/// d = g + weight_decay · w; v ← momentum · v + d; w ← w − lr · (nesterov ? d + momentum · v : v)
///
/// Clipping by norm multiplies every gradient by min(1, clip_norm / (‖g‖ + 1e-6)), as PyTorch's `clip_grad_norm_`;
/// clipping by value then limits each element.
#[derive(Debug)]
pub struct Sgd<B: Backend> {
    settings: SgdSettings,
    /// By parameter; `None` until the parameter's first gradient, for a velocity of 0.
    velocities: Vec<Option<Tensor<B>>>,
    /// By parameter: the multiplier of the step's learning rate.
    rates: Vec<f32>,
    skips_non_finite: bool,
    seed: u64,
    steps: u64,
}

impl<B: Backend> Sgd<B> {
    /// An optimiser whose velocities are 0.
    ///
    /// **Errors:** a setting out of its range; an entry of `layer_rates` that matches no parameter.
    pub fn new(settings: SgdSettings, parameters: &Parameters<B>) -> Result<Self> {
        settings.check()?;
        let velocities = parameters.iter().map(|_| None).collect();
        let rates = LayerRate::resolve(&settings.layer_rates, parameters)?;
        Ok(Self { settings, velocities, rates, skips_non_finite: false, seed: 0, steps: 0 })
    }

    /// The settings.
    pub fn settings(&self) -> &SgdSettings {
        &self.settings
    }

    /// A parameter's velocity; `None` before its first step and where momentum is 0.
    pub fn velocity(&self, id: ParameterId) -> Option<&Tensor<B>> {
        self.velocities.get(id.index())?.as_ref()
    }

    /// Sets a parameter's velocity, as when a run resumes.
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

    /// Sets whether a step is skipped if one of its gradients is not finite. By default it is not skipped.
    pub fn skip_non_finite(&mut self, skips: bool) {
        self.skips_non_finite = skips;
    }

    /// Sets the seed of the run and the number of its finished steps, which gradient noise depends on. By default both are 0.
    pub fn count_from(&mut self, seed: u64, steps: u64) {
        (self.seed, self.steps) = (seed, steps);
    }

    /// Makes one step at the learning rate `lr` for every parameter that has a gradient.
    ///
    /// Returns the step's [`StepGate`] if clipping by norm or skipping needs one. The gate stays on the device until the caller reads
    /// it. Its norm is that of the gradients before clipping by norm.
    pub fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        lr: f32,
    ) -> Result<Option<Tensor<B>>> {
        let incoming = self.incoming(parameters, gradients)?;
        let backend = parameters.backend().clone();
        let gate = self.gate(&backend, &incoming)?;
        let ratios = match &self.settings.lars {
            Some(lars) => {
                lars.ratios(|role| self.settings.decay(role), parameters, &incoming, gate.as_ref())?
            }
            None => vec![1.0; incoming.len()],
        };
        let mut slots = Vec::with_capacity(incoming.len());
        let mut incoming = incoming.iter().zip(ratios).peekable();
        for ((id, parameter), velocity) in parameters.iter_mut().zip(&mut self.velocities) {
            let Some((gradient, ratio)) = incoming.next_if(|(next, _)| next.id == id) else { continue };
            if self.settings.momentum > 0.0 && velocity.is_none() {
                *velocity = Some(Tensor::full(&backend, parameter.value.shape(), 0.0)?);
            }
            let step = SgdStep {
                lr: lr * self.rates[id.index()],
                momentum: self.settings.momentum,
                weight_decay: ratio * self.settings.decay(parameter.role),
                nesterov: self.settings.nesterov,
                gradient_scale: ratio * gradient.scale,
                clip_value: self.settings.clip_value.unwrap_or(f32::INFINITY),
            };
            slots.push(SgdSlot {
                step,
                len: parameter.value.elements(),
                gradient: gradient.values.buffer(),
                gate: gate.as_ref().map(Tensor::buffer),
                velocity: velocity.as_mut().map(Tensor::buffer_mut).transpose()?,
                parameter: parameter.value.buffer_mut()?,
            });
        }
        backend.sgd_all(slots)?;
        self.steps += 1;
        Ok(gate)
    }

    /// The gradients before clipping by norm.
    fn incoming<'a>(
        &self,
        parameters: &Parameters<B>,
        gradients: &'a Gradients<B>,
    ) -> Result<Vec<Incoming<'a, B>>> {
        let mut incoming = Incoming::all(parameters, gradients)?;
        if self.settings.centralise {
            centralise(parameters, &mut incoming)?;
        }
        if let Some(normalise) = self.settings.normalise {
            normalise.normalise(parameters, &mut incoming)?;
        }
        if let Some(clip) = &self.settings.adaptive_clip {
            clip.clip(parameters, &mut incoming)?;
        }
        if let Some(noise) = &self.settings.noise {
            noise.add(self.seed, self.steps, parameters, &mut incoming)?;
        }
        Ok(incoming)
    }

    /// The gate that all gradients decide together; `None` if nothing depends on it.
    fn gate(&self, backend: &B, incoming: &[Incoming<'_, B>]) -> Result<Option<Tensor<B>>> {
        let (limit, skips) = (self.settings.clip_norm, self.skips_non_finite);
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

/// Gradient centralisation; see [`SgdSettings::centralise`].
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
