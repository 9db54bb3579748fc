//! The control of step length: the plain gradient at the length that amplification would give it.
//!
//! g ← g · ‖g'‖ / ‖g‖, where g is the plain gradient and g' the amplified one, both of the same batch at the same weights
//!
//! A norm is that over all trained parameters, or over those of one layer. A layer's parameters are those whose paths differ in
//! the last part only, such as `fc.weight` and `fc.bias`. Norms are those of true gradients before all that the optimiser does
//! to them (clipping, weight decay, momentum), so that weight decay is not scaled.
//!
//! The amplified gradient comes from a pass over a copy of the parameters, which is then dropped: running statistics move once.
//! The host reads the norms and therefore waits for the device twice a step.

use std::collections::HashMap;

use crate::backend::Statistics;
use crate::{Backend, Gradient, Gradients, ParameterId, Parameters, Result, Tensor};

/// The norms of a step's gradients, by group: all parameters together, or those of each layer.
pub(super) struct Lengths {
    per_layer: bool,
    by_group: HashMap<String, f64>,
}

impl Lengths {
    /// Reads the norms of all parameters' gradients.
    pub(super) fn measure<B: Backend>(
        parameters: &Parameters<B>,
        gradients: &Gradients<B>,
        per_layer: bool,
    ) -> Result<Self> {
        let all = || parameters.iter().filter_map(|(id, _)| Some((id, gradients.parameter(id)?)));
        let mut sources = Vec::new();
        for (_, gradient) in all() {
            let values = gradient.unscaled()?;
            sources.push((values.buffer(), values.elements()));
        }
        let found = Statistics::compute(parameters.backend(), &sources)?;
        let mut by_group: HashMap<String, f64> = HashMap::new();
        for ((id, gradient), found) in all().zip(found) {
            let group = group_of(&parameters.get(id).path, per_layer);
            *by_group.entry(group.into()).or_default() += norm(gradient, found)?.powi(2);
        }
        by_group.values_mut().for_each(|sum| *sum = sum.sqrt());
        Ok(Self { per_layer, by_group })
    }

    /// Scales `plain` to these lengths.
    ///
    /// The factor is 1 where the plain gradient is 0. A norm that is not finite makes the gradient not finite, as amplification
    /// itself would: the step is skipped under loss scaling, and the run diverges without it.
    pub(super) fn apply<B: Backend>(
        &self,
        parameters: &Parameters<B>,
        plain: &mut Gradients<B>,
    ) -> Result<()> {
        let lengths = Self::measure(parameters, plain, self.per_layer)?;
        let ids: Vec<ParameterId> = parameters.iter().map(|(id, _)| id).collect();
        for id in ids {
            let group = group_of(&parameters.get(id).path, self.per_layer);
            let length = |lengths: &Self| lengths.by_group.get(group).copied().unwrap_or(0.0);
            let (amplified, before) = (length(self), length(&lengths));
            if before != 0.0 {
                plain.scale_parameter(id, (amplified / before) as f32);
            }
        }
        Ok(())
    }
}

/// The layer of a parameter; one name for all if lengths are not those of layers.
fn group_of(path: &str, per_layer: bool) -> &str {
    if per_layer { path.rsplit_once('.').map_or("", |(layer, _)| layer) } else { "" }
}

/// ‖g‖ in f64. `found` holds the statistics of the values before the scalar.
fn norm<B: Backend>(gradient: &Gradient<B>, mut found: Statistics) -> Result<f64> {
    let mut scale = f64::from(gradient.scale().abs());
    let (most, squares) = (found.max_abs, found.sum_squares);
    // The squares of tiny or huge values leave the range of f32.
    if most.is_finite() && most > 0.0 && !(1e-20..1e30).contains(&squares) {
        let values = gradient.unscaled()?;
        // A power of two, and one that is finite as its inverse is, changes no digit.
        let power = most.log2().floor().clamp(-126.0, 126.0).exp2();
        let one = Tensor::build(values.backend(), values.shape(), |out| {
            values.backend().axpby(values.elements(), 1.0 / power, values.buffer(), 0.0, out)
        })?;
        found = one.statistics()?;
        scale *= f64::from(power);
    }
    Ok(f64::from(found.sum_squares).sqrt() * scale)
}
