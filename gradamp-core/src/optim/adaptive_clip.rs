use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use crate::error::above_zero;
use crate::geometry::Rows;
use crate::parameters::Parameter;
use crate::{Backend, Parameters, Result, Role, Tensor};

/// Adaptive gradient clipping: the norm of a unit's gradient is at most a share of the norm of the unit's weights.
///
/// g_i ← limit · max(‖w_i‖, epsilon) / ‖g_i‖ · g_i if ‖g_i‖ / max(‖w_i‖, epsilon) > limit
///
/// A **unit** is a column of the weights of a convolution or linear layer: all weights of one output, over the whole fan-in.
/// A bias is one unit, and so is the scale or the shift of a batch norm, as in the authors' code.
/// Norms are those of true gradients, after amplification and centralisation. A unit whose norm is not finite becomes NaN.
///
/// The host reads the norms and therefore waits for the device once a step.
///
/// **Source:** A. Brock, S. De, S. Smith, K. Simonyan, "High-Performance Large-Scale Image Recognition Without
/// Normalization", ICML 2021, eq. 3; its values of `limit` go from 0.01 for batches of 4096 to 0.16 for small ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct AdaptiveClip {
    /// The largest ratio of a unit's gradient to its weights: finite, above 0.
    pub limit: f32,
    /// The smallest norm of weights that is used, so that weights of 0 can change.
    pub epsilon: f32,
    /// Whether the last linear layer is clipped too, which the paper advises against.
    pub last_linear: bool,
}

impl Default for AdaptiveClip {
    fn default() -> Self {
        Self { limit: 0.01, epsilon: 1e-3, last_linear: false }
    }
}

impl AdaptiveClip {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field within [`SgdSettings`](super::SgdSettings).
    pub fn check(&self) -> Result<()> {
        above_zero("adaptive_clip.limit", self.limit)?;
        above_zero("adaptive_clip.epsilon", self.epsilon)
    }

    /// Clips gradients. The scalar of each clipped gradient is multiplied into its values.
    pub(super) fn clip<B: Backend>(
        &self,
        parameters: &Parameters<B>,
        incoming: &mut [Incoming<'_, B>],
    ) -> Result<()> {
        let backend = parameters.backend();
        let exempt = if self.last_linear { None } else { last_linear(parameters) };
        let is_exempt = |layer: &str| exempt.is_some_and(|exempt| exempt == layer);
        let mut clipped = Vec::with_capacity(incoming.len());
        let mut squares = Vec::with_capacity(2 * incoming.len());
        for gradient in incoming {
            let parameter = parameters.get(gradient.id);
            if is_exempt(parameter.layer()) {
                continue;
            }
            let g = units(parameter)?;
            for x in [&parameter.value, &*gradient.values] {
                let mut out = backend.allocate(g.channels)?;
                backend.sum_squares(&g, x.buffer(), &mut out)?;
                squares.push((out, g.channels));
            }
            clipped.push((g, gradient));
        }
        let sources: Vec<_> = squares.iter().map(|(squares, len)| (squares, *len)).collect();
        let squares = backend.read_all(&sources)?;
        for ((g, gradient), [w, dw]) in clipped.into_iter().zip(squares.as_chunks().0) {
            let factor = |(w, dw): (&f32, &f32)| self.factor(*w, *dw, gradient.scale);
            let factors: Vec<f32> = w.iter().zip(dw).map(factor).collect();
            let factors = Tensor::from_slice(backend, &[g.channels], &factors)?;
            gradient.replace(|old, new| backend.scale_channels(&g, factors.buffer(), old.buffer(), new))?;
            gradient.scale = 1.0;
        }
        Ok(())
    }

    /// The factor for the values of one unit, from the squared norms of its weights and values.
    fn factor(&self, w: f32, dw: f32, scale: f32) -> f32 {
        let limit = f64::from(self.limit) * f64::from(w).sqrt().max(f64::from(self.epsilon));
        let norm = f64::from(scale.abs()) * f64::from(dw).sqrt();
        match norm {
            _ if !norm.is_finite() => f32::NAN, // limit / ∞ would hide it as a 0
            _ if norm > limit => (f64::from(scale) * limit / norm) as f32,
            _ => scale,
        }
    }
}

/// A parameter as a matrix whose columns are its units.
fn units<B: Backend>(parameter: &Parameter<B>) -> Result<Rows> {
    match parameter.role {
        Role::ConvWeight | Role::LinearWeight => Rows::new("adaptive_clip", parameter.value.shape()),
        _ => Ok(Rows { rows: parameter.value.elements(), channels: 1 }),
    }
}

/// The path of the linear layer that was registered last.
fn last_linear<B: Backend>(parameters: &Parameters<B>) -> Option<&str> {
    let linear = parameters.iter().filter(|(_, parameter)| parameter.role == Role::LinearWeight);
    linear.last().map(|(_, parameter)| parameter.layer())
}
