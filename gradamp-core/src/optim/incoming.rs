//! The gradients of a step, which the methods before the step may change.

use std::borrow::Cow;

use crate::{Backend, Gradients, ParameterId, Parameters, Result, Tensor};

/// The gradient of one parameter: `scale` times `values`. The values are borrowed from the backward pass until a method changes
/// them.
#[derive(Debug)]
pub(super) struct Incoming<'a, B: Backend> {
    /// The parameter.
    pub id: ParameterId,
    /// The values without the scalar.
    pub values: Cow<'a, Tensor<B>>,
    /// The scalar, which holds amplification and the inverse of loss scaling.
    pub scale: f32,
}

impl<'a, B: Backend> Incoming<'a, B> {
    /// All gradients, in the order of their parameters.
    pub(super) fn all(parameters: &Parameters<B>, gradients: &'a Gradients<B>) -> Result<Vec<Self>> {
        let mut all = Vec::with_capacity(parameters.len());
        for (id, _) in parameters.iter() {
            if let Some(gradient) = gradients.parameter(id) {
                let values = Cow::Borrowed(gradient.unscaled()?);
                all.push(Self { id, values, scale: gradient.scale() });
            }
        }
        Ok(all)
    }

    /// Replaces the values; `fill` writes the new ones.
    pub(super) fn replace(
        &mut self,
        fill: impl FnOnce(&Tensor<B>, &mut B::Buffer) -> Result<()>,
    ) -> Result<()> {
        let old = &*self.values;
        let values = Tensor::build(old.backend(), old.shape(), |new| fill(old, new))?;
        self.values = Cow::Owned(values);
        Ok(())
    }
}
