use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use crate::backend::{GateInput, StepGate};
use crate::error::{above_zero, at_least_zero};
use crate::parameters::{ParameterSet, Role};
use crate::{Backend, Parameters, Result, Tensor};

/// Layer-wise adaptive rate scaling: each layer changes by a similar share of its weights.
///
/// ratio = trust · ‖w‖ / (‖g‖ + weight_decay · ‖w‖ + epsilon), or 1 if w or g is 0; d = ratio · (g + weight_decay · w)
///
/// g is the gradient after amplification and clipping, and d is the input of momentum. In the paper the learning rate is
/// inside momentum; here it is outside, as for all of SGD. The two differ only when the rate changes. Under LARS,
/// amplifying a layer has almost no effect but a change of its weight decay's share.
///
/// The host reads the norms and therefore waits for the device once a step.
///
/// **Source:** Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017 (arXiv 1708.03888),
/// eq. 6 and algorithm 1; epsilon comes from later implementations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Lars {
    /// The share of its weights that a layer may change in one step at a learning rate of 1: finite, above 0. The paper's η.
    pub trust: f32,
    /// Keeps the ratio finite: finite, at least 0.
    pub epsilon: f32,
    /// Parameters whose ratio is 1.
    pub exclude: Vec<ParameterSet>,
}

impl Default for Lars {
    fn default() -> Self {
        Self { trust: 1e-3, epsilon: 1e-8, exclude: vec![ParameterSet::Bias, ParameterSet::BatchNorm] }
    }
}

impl Lars {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field within [`SgdSettings`](super::SgdSettings).
    pub fn check(&self) -> Result<()> {
        above_zero("lars.trust", self.trust)?;
        at_least_zero("lars.epsilon", self.epsilon)
    }

    /// The ratio of every gradient. `decay` is the weight decay of a role; `gate`, if any, holds the coefficient of clipping by norm.
    pub(super) fn ratios<B: Backend>(
        &self,
        decay: impl Fn(Role) -> f32,
        parameters: &Parameters<B>,
        incoming: &[Incoming<'_, B>],
        gate: Option<&Tensor<B>>,
    ) -> Result<Vec<f32>> {
        let backend = parameters.backend();
        let mut ratios = vec![1.0; incoming.len()];
        let (mut measured, mut norms) = (Vec::new(), Vec::new());
        for (gradient, ratio) in incoming.iter().zip(&mut ratios) {
            let parameter = parameters.get(gradient.id);
            if self.exclude.iter().any(|set| set.covers(parameter.role)) {
                continue;
            }
            for (x, scale) in [(&parameter.value, 1.0), (&*gradient.values, gradient.scale)] {
                // Computed like the step's own gate, so that a norm is finite for both or for neither.
                let part = GateInput { gradient: x.buffer(), len: x.elements(), scale };
                norms.push(Tensor::build(backend, &[StepGate::LEN], |out| {
                    backend.step_gate(&[part], None, false, out)
                })?);
            }
            measured.push((ratio, decay(parameter.role)));
        }
        let sources: Vec<_> = norms.iter().chain(gate).map(|gate| (gate.buffer(), StepGate::LEN)).collect();
        let mut read = backend.read_all(&sources)?;
        let gate = gate.and_then(|_| read.pop());
        let coefficient = gate.map_or(1.0, |gate| gate[0]);
        for ((ratio, decay), [w, g]) in measured.into_iter().zip(read.as_chunks().0) {
            *ratio = self.ratio(w[1].into(), f64::from(coefficient) * f64::from(g[1]), decay.into());
        }
        Ok(ratios)
    }

    fn ratio(&self, w: f64, g: f64, decay: f64) -> f32 {
        match g {
            _ if !g.is_finite() => f32::NAN, // ‖w‖ / ∞ would hide it as a 0
            _ if w == 0.0 || g == 0.0 => 1.0,
            _ => (f64::from(self.trust) * w / (g + decay * w + f64::from(self.epsilon))) as f32,
        }
    }
}
