use std::fmt::Debug;

use crate::{Backend, Error, Gradients, ParameterId, Parameters, Result, Tensor};

/// An optimiser: it changes the parameters by their gradients, step by step.
///
/// [`Sgd`](super::Sgd) and [`AdamW`](super::AdamW) are optimisers. Another one implements this trait and is given to
/// [`Trainer::set_optimizer`](crate::train::Trainer::set_optimizer):
///
/// ```
/// use gradamp_core::optim::Optimizer;
/// use gradamp_core::{Backend, Gradients, Parameters, Result, Tensor};
///
/// /// w ← w − lr · g
/// #[derive(Debug)]
/// struct Descent;
///
/// impl<B: Backend> Optimizer<B> for Descent {
///     fn step(
///         &mut self,
///         parameters: &mut Parameters<B>,
///         gradients: &Gradients<B>,
///         lr: f32,
///     ) -> Result<Option<Tensor<B>>> {
///         let backend = parameters.backend().clone();
///         for (id, parameter) in parameters.iter_mut() {
///             if let Some(gradient) = gradients.parameter(id) {
///                 // A gradient is a scalar times values; the scalar holds amplification.
///                 let (values, len) = (gradient.unscaled()?, parameter.value.elements());
///                 let rate = -lr * gradient.scale();
///                 backend.axpby(len, rate, values.buffer(), 1.0, parameter.value.buffer_mut()?)?;
///             }
///         }
///         Ok(None)
///     }
/// }
/// ```
pub trait Optimizer<B: Backend>: Debug {
    /// Makes one step at the learning rate `lr` for every parameter that has a gradient.
    ///
    /// Returns the step's [`StepGate`](crate::backend::StepGate) if the step has one. The gate stays on the device until the caller
    /// reads it.
    fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        lr: f32,
    ) -> Result<Option<Tensor<B>>>;

    /// The tensors that the next step depends on, besides parameters and gradients. A checkpoint holds them, so that a run resumes
    /// bit for bit. None by default.
    fn state(&self) -> Vec<StateTensor<'_, B>> {
        Vec::new()
    }

    /// Takes a tensor that an optimiser of this kind gave as its [`state`](Self::state), as when a run resumes. `parameter` is the
    /// parameter that the tensor belongs to.
    ///
    /// **Errors:** a name that the optimiser does not know; a shape other than expected.
    fn restore(
        &mut self,
        _parameters: &Parameters<B>,
        name: &str,
        _parameter: Option<ParameterId>,
        _tensor: Tensor<B>,
    ) -> Result<()> {
        Err(Error::external(format!("the optimiser has no state called `{name}`")))
    }

    /// Sets whether a step is skipped if one of its gradients is not finite. By default it is not skipped.
    ///
    /// **Errors:** an optimiser that cannot skip steps. Loss scaling needs one that can.
    fn skip_non_finite(&mut self, skips: bool) -> Result<()> {
        if skips {
            Err(Error::external("the optimiser cannot skip a step, as loss scaling needs"))
        } else {
            Ok(())
        }
    }

    /// Sets the seed of the run and the number of its finished steps, for an optimiser that draws random numbers.
    fn count_from(&mut self, _seed: u64, _steps: u64) {}
}

/// A tensor of an optimiser's state.
#[derive(Clone, Copy, Debug)]
pub struct StateTensor<'a, B: Backend> {
    /// Its name, such as `momentum`: letters, digits and underscores. A checkpoint has a file of this name with the tensors of all
    /// parameters.
    pub name: &'a str,
    /// The parameter that the tensor belongs to, which has the tensor's shape; `None` for a tensor of the whole model.
    pub parameter: Option<ParameterId>,
    /// The tensor.
    pub tensor: &'a Tensor<B>,
}
