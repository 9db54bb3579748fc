//! What gradients and updates are like, site by site: on the device, in the steps that are measured.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::measured::{Measured, Measurement};
use crate::amplify::gain::Arriving;
use crate::{Backend, BackwardHook, Gradient, GradientAction, Parameters, Result, Site, Tensor, Trace};

/// Two hooks, one in front of the amplifier and one behind it, that share what they gather.
///
/// Only the first looks at values: amplification changes a gradient's scalar, so the second scales the first's numbers.
/// The numbers stay on the device until somebody has [`Measured`] read.
pub(super) struct Meter<B: Backend> {
    trace: Arc<Trace>,
    shared: Arc<Mutex<Shared<B>>>,
}

struct Shared<B: Backend> {
    /// `None` in passes that are not measured.
    measured: Option<Measured<B>>,
    /// What the first hook found at the site that the pass is at.
    here: Option<(Tensor<B>, super::measured::Look)>,
}

/// The parameters before a step that is measured.
pub(super) struct Weights<B: Backend>(Vec<Option<Tensor<B>>>);

impl<B: Backend> Meter<B> {
    /// For the model of `trace`.
    pub(super) fn new(trace: Arc<Trace>) -> Self {
        Self { trace, shared: Arc::new(Mutex::new(Shared { measured: None, here: None })) }
    }

    /// The hook to add in front of the amplifier, and the one to add behind it.
    pub(super) fn hooks(&self) -> (Before<B>, After<B>) {
        (Before(self.shared.clone()), After(self.shared.clone()))
    }

    /// Has the next backward pass measured; `arriving` is what amplification is going to make of gradients.
    pub(super) fn begin(&self, backend: &B, arriving: Option<Arc<Arriving>>) -> Result<()> {
        let measured = Measured::new(backend, self.trace.clone(), arriving)?;
        *lock(&self.shared) = Shared { measured: Some(measured), here: None };
        Ok(())
    }

    /// What was found since, where the pass was measured; the next one is not, unless it is begun.
    pub(super) fn end(&self) -> Option<Measured<B>> {
        lock(&self.shared).measured.take()
    }
}

impl<B: Backend> Weights<B> {
    /// Those that are trained. Nothing is copied here: the step writes beside a tensor that somebody else holds too.
    pub(super) fn before(parameters: &Parameters<B>) -> Self {
        Self(parameters.iter().map(|(_, p)| p.role.is_trained().then(|| p.value.clone())).collect())
    }

    /// Has the update measured that made `parameters` of these.
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

/// Measures what arrives at a site or a parameter.
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

/// Measures what the hooks between left.
pub(super) struct After<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for After<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let Shared { measured: Some(measured), here } = &mut *lock(&self.0) else {
            return Ok(GradientAction::Keep);
        };
        if let Some((unscaled, before)) = here.take() {
            let after = match gradient.unscaled()?.shares_buffer_with(&unscaled) {
                true => before.at_scale(gradient.scale()),
                // A hook between put other values in place.
                false => measured.look(measured.places.after(site.index), gradient)?,
            };
            let elements = unscaled.elements();
            measured.sites.push(Measurement { site: site.clone(), elements, before, after });
        }
        Ok(GradientAction::Keep)
    }
}
