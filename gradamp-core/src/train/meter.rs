//! Measures gradients and updates at every site, on the device, in the steps that are measured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::measured::{GradientSums, Measured, Measurement};
use crate::amplify::gain::Arriving;
use crate::{Backend, BackwardHook, Gradient, GradientAction, Parameters, Result, Site, Tensor, Trace};

/// Two hooks that share their measurements: one before the amplifier, one after it.
///
/// Only the first hook reads values. Amplification changes a gradient's scalar, so the second hook scales the numbers of the first.
/// The numbers stay on the device until [`Measured`] is read.
pub(super) struct Meter<B: Backend> {
    trace: Arc<Trace>,
    shared: Arc<Mutex<Shared<B>>>,
}

struct Shared<B: Backend> {
    /// `None` in passes that are not measured.
    measured: Option<Measured<B>>,
    /// The first hook's measurement at the current site.
    here: Option<(Tensor<B>, super::measured::Look)>,
}

/// The parameters before a step that is measured.
#[derive(Clone)]
pub(super) struct Weights<B: Backend>(pub(super) Vec<Option<Tensor<B>>>);

impl<B: Backend> Meter<B> {
    /// For the model of `trace`.
    pub(super) fn new(trace: Arc<Trace>) -> Self {
        Self { trace, shared: Arc::new(Mutex::new(Shared { measured: None, here: None })) }
    }

    /// The hook to add before the amplifier, and the one to add after it.
    pub(super) fn hooks(&self) -> (Before<B>, After<B>) {
        (Before(self.shared.clone()), After(self.shared.clone()))
    }

    /// Measures the next backward pass. `arriving` holds the gains of the amplification in force; `sums`, the sums that the pass
    /// adds its gradients to.
    pub(super) fn begin(
        &self,
        backend: &B,
        arriving: Option<Arc<Arriving>>,
        sums: Option<GradientSums<B>>,
    ) -> Result<()> {
        let measured = Measured::new(backend, self.trace.clone(), arriving, sums)?;
        *lock(&self.shared) = Shared { measured: Some(measured), here: None };
        Ok(())
    }

    /// Ends the measurement and returns it; `None` if the pass was not measured.
    pub(super) fn end(&self) -> Option<Measured<B>> {
        lock(&self.shared).measured.take()
    }
}

impl<B: Backend> Weights<B> {
    /// The trained parameters. Nothing is copied: a step does not overwrite a tensor that is held elsewhere.
    pub(super) fn before(parameters: &Parameters<B>) -> Self {
        Self(parameters.iter().map(|(_, p)| p.role.is_trained().then(|| p.value.clone())).collect())
    }

    /// Measures the update from these parameters to `parameters`.
    pub(super) fn measure_update(self, parameters: &Parameters<B>, measured: &mut Measured<B>) -> Result<()> {
        for ((id, parameter), before) in parameters.iter().zip(self.0) {
            if let Some(before) = before.filter(|before| !before.shares_buffer_with(&parameter.value)) {
                measured.update(id.index(), before, &parameter.value)?;
            }
        }
        Ok(())
    }
}

fn lock<B: Backend>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures the gradient that arrives at a site or a parameter.
pub(super) struct Before<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for Before<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let mut shared = lock(&self.0);
        if let Some(measured) = &mut shared.measured {
            let look = measured.look(measured.places.before(site.index), gradient)?;
            shared.here = Some((gradient.unscaled()?.clone(), look));
        }
        Ok(GradientAction::Keep)
    }

    fn on_parameter_gradient(&mut self, path: &str, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        if let Some(measured) = &mut lock(&self.0).measured {
            measured.parameter(path, gradient)?;
        }
        Ok(GradientAction::Keep)
    }
}

/// Measures the gradient after the hooks between the two.
pub(super) struct After<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for After<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let Shared { measured: Some(measured), here } = &mut *lock(&self.0) else {
            return Ok(GradientAction::Keep);
        };
        if let Some((unscaled, before)) = here.take() {
            let after = match gradient.unscaled()?.shares_buffer_with(&unscaled) {
                true => before.at_scale(gradient.scale()),
                // A hook between the two replaced the values.
                false => measured.look(measured.places.after(site.index), gradient)?,
            };
            let elements = unscaled.elements();
            measured.sites.push(Measurement { site: site.clone(), elements, before, after });
        }
        Ok(GradientAction::Keep)
    }
}
