//! The measurements of one step: statistics on the device, and their evaluation once they are read.

use std::sync::Arc;

use super::site_gradient::Sums;
use crate::amplify::gain::Arriving;
use crate::amplify::{Moments, SiteStatistics};
use crate::backend::Statistics;
use crate::{Backend, Error, Gradient, Result, Site, Tensor, Trace};

/// The measurements of one step.
pub(super) struct Measured<B: Backend> {
    trace: Arc<Trace>,
    /// The gains at the measured places; `None` if nothing is amplified.
    arriving: Option<Arc<Arriving>>,
    pub(super) places: Places,
    pub(super) buffer: B::Buffer,
    /// The content of the buffer, once it was read.
    pub(super) values: Vec<f32>,
    pub(super) sites: Vec<Measurement>,
    /// By the parameters' numbers.
    gradients: Vec<Option<Look>>,
    /// By the parameters' numbers: whether the update was measured.
    updates: Vec<bool>,
    /// The sums over the epoch's measured steps, if a policy needs them.
    pub(super) sums: Option<GradientSums<B>>,
}

/// By the parameters' numbers: the sum of a parameter's gradients over the measured steps of an epoch, without amplification.
pub(super) type GradientSums<B> = Vec<Option<Tensor<B>>>;

/// The measurement of a site's gradient.
pub(super) struct Measurement {
    pub(super) site: Site,
    pub(super) elements: usize,
    pub(super) before: Look,
    pub(super) after: Look,
}

/// The place of a gradient's statistics in the buffer, and the gradient's scalar, which the statistics do not include.
#[derive(Clone, Copy)]
pub(super) struct Look {
    place: usize,
    scale: f32,
}

impl Look {
    /// The same values under another scalar.
    pub(super) fn at_scale(self, scale: f32) -> Self {
        Self { scale, ..self }
    }
}

/// The order of statistics in the buffer: two looks at each site, then gradient, weights, update and
/// sum of gradients of each parameter.
#[derive(Clone, Copy)]
pub(super) struct Places {
    sites: usize,
    parameters: usize,
}

impl Places {
    pub(super) fn before(self, site: usize) -> usize {
        2 * site
    }
    pub(super) fn after(self, site: usize) -> usize {
        2 * site + 1
    }
    fn gradient(self, parameter: usize) -> usize {
        2 * self.sites + 4 * parameter
    }
    fn weights(self, parameter: usize) -> usize {
        self.gradient(parameter) + 1
    }
    fn update(self, parameter: usize) -> usize {
        self.gradient(parameter) + 2
    }
    fn sum(self, parameter: usize) -> usize {
        self.gradient(parameter) + 3
    }
    /// Numbers in the buffer.
    pub(super) fn len(self) -> usize {
        self.gradient(self.parameters) * Statistics::LEN
    }
}

impl<B: Backend> Measured<B> {
    pub(super) fn new(
        backend: &B,
        trace: Arc<Trace>,
        arriving: Option<Arc<Arriving>>,
        sums: Option<GradientSums<B>>,
    ) -> Result<Self> {
        let places = Places { sites: trace.sites.len(), parameters: trace.parameters.len() };
        Ok(Self {
            arriving,
            places,
            buffer: backend.allocate(places.len())?,
            values: Vec::new(),
            sites: Vec::new(),
            gradients: vec![None; places.parameters],
            updates: vec![false; places.parameters],
            sums,
            trace,
        })
    }

    pub(super) fn look(&mut self, place: usize, gradient: &Gradient<B>) -> Result<Look> {
        if place >= self.places.gradient(self.places.parameters) {
            return Err(Error::external("was not among the model's sites when the run began"));
        }
        self.statistics(place, gradient.unscaled()?)?;
        Ok(Look { place, scale: gradient.scale() })
    }

    pub(super) fn parameter(&mut self, path: &str, gradient: &Gradient<B>) -> Result<()> {
        if let Some(number) = self.trace.parameters.iter().position(|known| **known == *path) {
            self.gradients[number] = Some(self.look(self.places.gradient(number), gradient)?);
            self.add(number, gradient)?;
        }
        Ok(())
    }

    /// Adds a parameter's gradient, without amplification, to its sum.
    fn add(&mut self, number: usize, gradient: &Gradient<B>) -> Result<()> {
        let Some(sums) = &mut self.sums else { return Ok(()) };
        let values = gradient.unscaled()?;
        let mut sum = match sums[number].take() {
            Some(sum) => sum,
            None => Tensor::full(values.backend(), values.shape(), 0.0)?,
        };
        let gain = self.arriving.as_ref().map_or(1.0, |gains| gains.parameters[number]);
        let scale = (f64::from(gradient.scale()) / gain) as f32;
        values.backend().axpby(values.elements(), scale, values.buffer(), 1.0, sum.buffer_mut()?)?;
        self.statistics(self.places.sum(number), &sum)?;
        if let Some(sums) = &mut self.sums {
            sums[number] = Some(sum);
        }
        Ok(())
    }

    /// Measures the step that changed the parameter of this number from `before` to `after`.
    pub(super) fn update(&mut self, number: usize, mut before: Tensor<B>, after: &Tensor<B>) -> Result<()> {
        self.statistics(self.places.weights(number), &before)?;
        let backend = after.backend();
        backend.axpby(after.elements(), 1.0, after.buffer(), -1.0, before.buffer_mut()?)?;
        self.statistics(self.places.update(number), &before)?;
        self.updates[number] = true;
        Ok(())
    }

    fn statistics(&mut self, place: usize, tensor: &Tensor<B>) -> Result<()> {
        let offset = place * Statistics::LEN;
        tensor.backend().statistics(tensor.elements(), tensor.buffer(), offset, &mut self.buffer)
    }

    /// Adds the measurements to `sums`.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        for Measurement { site, elements, before, after } in &self.sites {
            let [before, after] = [before, after].map(|look| Found::new(self.at(look.place), look.scale));
            let sums = sums.entry(site.index).or_default();
            sums.site = site.path.to_string();
            sums.steps += 1;
            sums.norm_before += before.norm();
            sums.norm_after += after.norm();
            sums.mean_magnitude_before += before.magnitude() / *elements as f64;
            sums.mean_magnitude_after += after.magnitude() / *elements as f64;
            sums.zeros += f64::from(before.statistics.zeros) / *elements as f64;
            if let Some(ratio) = self.update_ratio(site) {
                *sums.update_ratio.get_or_insert(0.0) += ratio;
            }
        }
    }

    /// Adds the measurements to `statistics`, by the numbers of sites.
    pub(super) fn remember(&self, statistics: &mut Vec<SiteStatistics>) {
        statistics.resize(self.places.sites, SiteStatistics::default());
        for Measurement { site, before, .. } in &self.sites {
            let gain = self.arriving.as_ref().map_or(1.0, |gains| gains.sites[site.index]);
            let before = Found::new(self.at(before.place), before.scale);
            let statistics = &mut statistics[site.index];
            statistics.output = statistics.output.and(&before.without(gain).moments());
            if let Some(params) = self.params(site) {
                // The sum is that of all steps of the epoch so far.
                statistics.params = Moments { net: params.net, ..statistics.params.and(&params) };
            }
        }
    }

    fn at(&self, place: usize) -> Statistics {
        let all = self.values.as_chunks().0;
        all.get(place).copied().map(Statistics::from_array).unwrap_or_default()
    }

    /// The numbers of the parameters of a site's layer.
    fn owned(&self, site: &Site) -> impl Iterator<Item = usize> {
        let parameters = self.trace.parameters.iter().enumerate();
        parameters.filter(move |(_, path)| site.owns(path)).map(|(number, _)| number)
    }

    /// The gradient of all parameters of a site's layer, as one vector without amplification, and the norm of its sum so far.
    fn params(&self, site: &Site) -> Option<Moments> {
        let (mut is_there, mut squares, mut net) = (false, 0.0, 0.0);
        for number in self.owned(site) {
            let Some(look) = self.gradients[number] else { continue };
            let gain = self.arriving.as_ref().map_or(1.0, |gains| gains.parameters[number]);
            squares += Found::new(self.at(look.place), look.scale).without(gain).norm().powi(2);
            net += f64::from(self.at(self.places.sum(number)).sum_squares);
            is_there = true;
        }
        is_there.then(|| Moments { steps: 1, norm: squares.sqrt(), net: Some(net.sqrt()) })
    }

    /// ‖Δw‖ / ‖w‖ over all parameters of a site's layer.
    fn update_ratio(&self, site: &Site) -> Option<f64> {
        let squares = |place| f64::from(self.at(place).sum_squares);
        let sums = self
            .owned(site)
            .filter(|number| self.updates[*number])
            .map(|number| (squares(self.places.update(number)), squares(self.places.weights(number))));
        let (update, weights) = sums.reduce(|(a, b), (c, d)| (a + c, b + d))?;
        Some((update / weights).sqrt())
    }
}

/// Statistics of a gradient and its scalar, which is applied in f64, so that the square of a large gain does not overflow.
struct Found {
    statistics: Statistics,
    scale: f64,
}

impl Found {
    fn new(statistics: Statistics, scale: f32) -> Self {
        Self { statistics, scale: scale.into() }
    }

    /// The gradient before it was multiplied by `gain`.
    fn without(self, gain: f64) -> Self {
        Self { scale: self.scale / gain, ..self }
    }

    fn norm(&self) -> f64 {
        f64::from(self.statistics.sum_squares).sqrt() * self.scale.abs()
    }

    fn magnitude(&self) -> f64 {
        f64::from(self.statistics.sum_abs) * self.scale.abs()
    }

    fn moments(&self) -> Moments {
        Moments { steps: 1, norm: self.norm(), net: None }
    }
}
