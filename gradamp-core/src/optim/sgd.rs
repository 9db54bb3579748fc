use super::methods::{Preparation, decay, restore};
use super::{Optimizer, SgdSettings, StateTensor};
use crate::backend::{SgdSlot, SgdStep};
use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Tensor};

/// The name of the velocities in a checkpoint.
const MOMENTUM: &str = "momentum";

/// Stochastic gradient descent with momentum: PyTorch's `torch.optim.SGD` with dampening 0.
///
/// g is the gradient after amplification, clipping and the other methods (in the order of [`optim`](super)):
/// d = g + weight_decay · w; v ← momentum · v + d; w ← w − lr · (nesterov ? d + momentum · v : v)
///
/// Clipping by norm multiplies every gradient by min(1, clip_norm / (‖g‖ + 1e-6)), as PyTorch's `clip_grad_norm_`;
/// clipping by value then limits each element. The norm of a step's gate is that of the gradients before clipping by norm.
#[derive(Debug)]
pub struct Sgd<B: Backend> {
    settings: SgdSettings,
    /// By parameter; `None` until the parameter's first gradient, for a velocity of 0.
    velocities: Vec<Option<Tensor<B>>>,
    preparation: Preparation,
}

impl<B: Backend> Sgd<B> {
    /// An optimiser whose velocities are 0.
    ///
    /// **Errors:** a setting out of its range; an entry of `layer_rates` that matches no parameter.
    pub fn new(settings: SgdSettings, parameters: &Parameters<B>) -> Result<Self> {
        settings.check()?;
        let velocities = parameters.iter().map(|_| None).collect();
        let preparation = Preparation::new(&settings.shared(), parameters)?;
        Ok(Self { settings, velocities, preparation })
    }

    /// The settings.
    pub fn settings(&self) -> &SgdSettings {
        &self.settings
    }

    /// A parameter's velocity; `None` before its first step and where momentum is 0.
    pub fn velocity(&self, id: ParameterId) -> Option<&Tensor<B>> {
        self.velocities.get(id.index())?.as_ref()
    }
}

impl<B: Backend> Optimizer<B> for Sgd<B> {
    fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        lr: f32,
    ) -> Result<Option<Tensor<B>>> {
        let shared = self.settings.shared();
        let (incoming, gate) = self.preparation.prepare(&shared, parameters, gradients)?;
        let backend = parameters.backend().clone();
        let ratios = match &self.settings.lars {
            Some(lars) => lars.ratios(|role| decay(&shared, role), parameters, &incoming, gate.as_ref())?,
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
                lr: self.preparation.rate(id, lr),
                momentum: self.settings.momentum,
                weight_decay: ratio * decay(&shared, parameter.role),
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
        Ok(gate)
    }

    fn state(&self) -> Vec<StateTensor<'_, B>> {
        super::tensors(MOMENTUM, &self.velocities)
    }

    fn restore(
        &mut self,
        parameters: &Parameters<B>,
        name: &str,
        parameter: Option<ParameterId>,
        tensor: Tensor<B>,
    ) -> Result<()> {
        match (name, parameter) {
            (MOMENTUM, Some(id)) => restore(parameters, &mut self.velocities, name, id, tensor),
            _ => Err(Error::external(format!("SGD has no state called `{name}`; expected `{MOMENTUM}`"))),
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
