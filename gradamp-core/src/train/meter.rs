//! How large the gradients are, site by site, before and after amplification.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::exact;
use crate::backend::Statistics;
use crate::{Backend, BackwardHook, Error, Gradient, GradientAction, Result, Site, Tensor};

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
/// Only the first looks at values: amplification changes a gradient's scalar, so the second scales the first's numbers.
/// The numbers stay on the device until somebody has [`Measured`] read.
pub(super) struct Meter<B: Backend> {
    /// How many sites there are.
    sites: usize,
    shared: Arc<Mutex<Shared<B>>>,
}

struct Shared<B: Backend> {
    /// `None` in passes that are not measured.
    measured: Option<Measured<B>>,
    /// What the first hook found at the site that the pass is at.
    here: Option<(Tensor<B>, Look)>,
}

/// What was found in one backward pass.
pub(super) struct Measured<B: Backend> {
    /// Room for the statistics of two looks at each site.
    pub(super) buffer: B::Buffer,
    pub(super) len: usize,
    /// What the buffer held, once it was read.
    pub(super) values: Vec<f32>,
    sites: Vec<Measurement>,
}

struct Measurement {
    site: Site,
    elements: usize,
    before: Look,
    after: Look,
}

/// A gradient's statistics before its scalar, by their place in the buffer, and the scalar.
#[derive(Clone, Copy)]
struct Look {
    place: usize,
    scale: f32,
}

impl<B: Backend> Meter<B> {
    /// For a model of so many sites.
    pub(super) fn new(sites: usize) -> Self {
        Self { sites, shared: Arc::new(Mutex::new(Shared { measured: None, here: None })) }
    }

    /// The hook to add in front of the amplifier, and the one to add behind it.
    pub(super) fn hooks(&self) -> (Before<B>, After<B>) {
        (Before(self.shared.clone()), After(self.shared.clone()))
    }

    /// Has the next backward pass measured.
    pub(super) fn begin(&self, backend: &B) -> Result<()> {
        let len = 2 * self.sites * Statistics::LEN;
        let measured = Measured { buffer: backend.alloc(len)?, len, values: Vec::new(), sites: Vec::new() };
        *lock(&self.shared) = Shared { measured: Some(measured), here: None };
        Ok(())
    }

    /// What was found since, where the pass was measured; the next one is not, unless it is begun.
    pub(super) fn end(&self) -> Option<Measured<B>> {
        lock(&self.shared).measured.take()
    }
}

fn lock<B: Backend>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures what arrives at a site.
pub(super) struct Before<B: Backend>(Arc<Mutex<Shared<B>>>);

impl<B: Backend> BackwardHook<B> for Before<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let mut shared = lock(&self.0);
        if let Some(measured) = &mut shared.measured {
            let look = measured.look(2 * site.index, gradient)?;
            shared.here = Some((gradient.unscaled()?.clone(), look));
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
                true => Look { scale: gradient.scale(), ..before },
                false => measured.look(2 * site.index + 1, gradient)?, // a hook between put other values in place
            };
            let elements = unscaled.elements();
            measured.sites.push(Measurement { site: site.clone(), elements, before, after });
        }
        Ok(GradientAction::Keep)
    }
}

impl<B: Backend> Measured<B> {
    fn look(&mut self, place: usize, gradient: &Gradient<B>) -> Result<Look> {
        let offset = place * Statistics::LEN;
        if offset + Statistics::LEN > self.len {
            return Err(Error::external("was not among the model's sites when the run began"));
        }
        let values = gradient.unscaled()?;
        values.backend().statistics(values.elements(), values.buffer(), offset, &mut self.buffer)?;
        Ok(Look { place, scale: gradient.scale() })
    }

    /// Adds what was found to `sums`.
    pub(super) fn add_to(self, sums: &mut Sums) {
        let statistics = self.values.as_chunks().0;
        for Measurement { site, elements, before, after } in self.sites {
            let found = |look: Look| Found {
                statistics: Statistics::from_array(statistics[look.place]),
                elements: elements as f64,
                scale: f64::from(look.scale).abs(),
            };
            let (before, after) = (found(before), found(after));
            let sums = sums.entry(site.index).or_default();
            sums.site = site.path.to_string();
            sums.steps += 1;
            sums.norm_before += before.norm();
            sums.norm_after += after.norm();
            sums.mean_magnitude_before += before.mean_magnitude();
            sums.mean_magnitude_after += after.mean_magnitude();
            sums.zeros += f64::from(before.statistics.zeros) / before.elements;
        }
    }
}

struct Found {
    statistics: Statistics,
    elements: f64,
    scale: f64,
}

impl Found {
    // In f64, where the square of a large gain does not overflow.

    fn norm(&self) -> f64 {
        f64::from(self.statistics.sum_squares).sqrt() * self.scale
    }

    fn mean_magnitude(&self) -> f64 {
        f64::from(self.statistics.sum_abs) / self.elements * self.scale
    }
}

impl SiteGradient {
    /// The means over the steps whose sums these are.
    pub(super) fn into_means(mut self) -> Self {
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
