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
use crate::parameters::Parameter;
use crate::{Backend, Gradients, ParameterId, Parameters, Result};

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
            let norm = f64::from(gradient.scale()) * gradient.unscaled()?.norm(found)?;
            let group = group_of(parameters.get(id), per_layer);
            *by_group.entry(group.into()).or_default() += norm * norm;
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
            let group = group_of(parameters.get(id), self.per_layer);
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
fn group_of<B: Backend>(parameter: &Parameter<B>, per_layer: bool) -> &str {
    if per_layer { parameter.layer() } else { "" }
}
