//! How large the gradients are, site by site, before and after amplification.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::exact;
use crate::backend::Statistics;
use crate::{Backend, BackwardHook, Gradient, GradientAction, Result, Site, Tensor};

/// What was gathered about one site's gradient over some steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteGradient {
    /// The site's path.
    pub site: String,
    /// Steps that were measured.
    pub steps: u64,
    /// Mean over those steps of ‖dy‖, before amplification at this site.
    #[serde(with = "exact")]
    pub norm_before: f64,
    /// The same after amplification.
    #[serde(with = "exact")]
    pub norm_after: f64,
    /// Mean over those steps of the mean of |dy|, before amplification at this site.
    #[serde(with = "exact")]
    pub mean_magnitude_before: f64,
    /// The same after amplification.
    #[serde(with = "exact")]
    pub mean_magnitude_after: f64,
    /// Mean over those steps of the fraction of elements that are 0.
    #[serde(with = "exact")]
    pub zeros: f64,
}

/// Sums over the measured steps of an epoch, by site index.
pub(super) type Sums = BTreeMap<usize, SiteGradient>;

/// Two hooks, one in front of the amplifier and one behind it, that share what they gather.
///
/// Only the first reads values: amplification changes a gradient's scalar, so the second scales the first's numbers.
pub(super) struct Meter<B: Backend> {
    shared: Arc<Mutex<Shared<B>>>,
}

struct Shared<B: Backend> {
    measuring: bool,
    sums: Sums,
    /// What the first hook found at the site that the pass is at.
    here: Option<Seen<B>>,
}

struct Seen<B: Backend> {
    unscaled: Tensor<B>,
    statistics: Statistics,
    scale: f32,
}

impl<B: Backend> Meter<B> {
    pub(super) fn new(sums: Sums) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { measuring: false, sums, here: None })) }
    }

    /// The hook to add in front of the amplifier, and the one to add behind it.
    pub(super) fn hooks(&self) -> (Before<B>, After<B>) {
        (Before(self.shared.clone()), After(self.shared.clone()))
    }

    /// Whether the next backward pass is measured.
    pub(super) fn measure(&self, on: bool) {
        self.lock().measuring = on;
    }

    /// What was gathered so far, as sums.
    pub(super) fn sums(&self) -> Sums {
        self.lock().sums.clone()
    }

    /// Takes what was gathered, as means, in forward order.
    pub(super) fn take(&self) -> Vec<SiteGradient> {
        std::mem::take(&mut self.lock().sums).into_values().map(SiteGradient::into_means).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared<B>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SiteGradient {
    fn into_means(mut self) -> Self {
        let steps = self.steps.max(1) as f64;
        let sums = [
            &mut self.norm_before,
            &mut self.norm_after,
            &mut self.mean_magnitude_before,
            &mut self.mean_magnitude_after,
            &mut self.zeros,
        ];
        sums.into_iter().for_each(|sum| *sum /= steps);
        self
    }
}

/// Measures what arrives at a site.
pub(super) struct Before<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for Before<B> {
    fn on_gradient(&mut self, _site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.measuring {
            shared.here = Some(Seen::look(gradient)?);
        }
        Ok(GradientAction::Keep)
    }
}

/// Measures what the hooks between left.
pub(super) struct After<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for After<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = shared.here.take() else {
            return Ok(GradientAction::Keep);
        };
        let after = match gradient.unscaled()?.shares_buffer_with(&before.unscaled) {
            true => Seen { scale: gradient.scale(), unscaled: before.unscaled.clone(), ..before },
            false => Seen::look(gradient)?, // a hook between put other values in place
        };
        let sums = shared.sums.entry(site.index).or_default();
        sums.site = site.path.to_string();
        sums.steps += 1;
        sums.norm_before += before.norm();
        sums.norm_after += after.norm();
        sums.mean_magnitude_before += before.mean_magnitude();
        sums.mean_magnitude_after += after.mean_magnitude();
        sums.zeros += f64::from(before.statistics.zeros) / before.unscaled.elements() as f64;
        Ok(GradientAction::Keep)
    }
}

impl<B: Backend> Seen<B> {
    fn look(gradient: &Gradient<B>) -> Result<Self> {
        let unscaled = gradient.unscaled()?.clone();
        Ok(Self { statistics: unscaled.statistics()?, scale: gradient.scale(), unscaled })
    }

    // In f64, where the square of a large gain does not overflow.

    fn norm(&self) -> f64 {
        f64::from(self.statistics.sum_squares).sqrt() * f64::from(self.scale).abs()
    }

    fn mean_magnitude(&self) -> f64 {
        f64::from(self.statistics.sum_abs) / self.unscaled.elements() as f64 * f64::from(self.scale).abs()
    }
}
