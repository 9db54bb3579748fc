//! Forward signals, gradient noise and angular updates, in the steps whose gradients are measured.
//!
//! They come from a pass of their own: over the first half of the batch, and over a copy of the parameters, which is then dropped.
//! The step itself is computed as if nobody had measured. Only scalars are read.

use std::sync::Arc;

use super::site_gradient::{SiteSignals, Sums};
use crate::autograd::Probe;
use crate::backend::Statistics;
use crate::geometry::Rows;
use crate::{Backend, Batch, Gradients, LayerKind, Parameters, Result, Site, Tensor, Trace};

/// The value of tanh above which a unit is saturated: its slope is 6 % of the largest. A sigmoid y is measured as 2y − 1, which is
/// a tanh of half the input.
const SATURATED: f32 = 0.97;

/// How far Δw is stretched before it is added to w, so that the sum's norm tells their angle in spite of rounding.
const STRETCH: f32 = 1024.0;

/// The measurements of one step.
pub(super) struct Signals<B: Backend> {
    trace: Arc<Trace>,
    pub(super) buffer: B::Buffer,
    /// The content of the buffer, once it was read.
    pub(super) values: Vec<f32>,
    /// By the numbers of sites.
    outputs: Vec<Option<Output>>,
    /// By the numbers of parameters: the scalars of both gradients.
    gradients: Vec<Option<Scales>>,
    /// By the numbers of parameters: whether the update was measured.
    updates: Vec<bool>,
    /// The gradients of the half batch, until they are compared.
    half: Option<Gradients<B>>,
    /// The variance of the batch's gradient, in units of the mean square of its distance from the half batch's.
    variance: Option<f64>,
}

/// What a site's statistics belong to.
#[derive(Clone, Copy)]
struct Output {
    elements: usize,
    kind: LayerKind,
}

/// The scalars of a parameter's gradient, which the statistics do not include.
#[derive(Clone, Copy)]
struct Scales {
    whole: f32,
    half: f32,
}

/// The statistics of each site, in their order.
#[derive(Clone, Copy)]
enum OfSite {
    Output,
    Centred,
    Above,
    Below,
}

/// The statistics of each parameter, in their order.
#[derive(Clone, Copy)]
enum OfParameter {
    Gradient,
    Distance,
    Weights,
    Update,
    Stretched,
}

const PER_SITE: usize = 4;
const PER_PARAMETER: usize = 5;

impl<B: Backend> Signals<B> {
    pub(super) fn new(backend: &B, trace: Arc<Trace>) -> Result<Self> {
        let (sites, parameters) = (trace.sites.len(), trace.parameters.len());
        let len = (PER_SITE * sites + PER_PARAMETER * parameters) * Statistics::LEN;
        Ok(Self {
            buffer: backend.allocate(len)?,
            values: Vec::new(),
            outputs: vec![None; sites],
            gradients: vec![None; parameters],
            updates: vec![false; parameters],
            half: None,
            variance: None,
            trace,
        })
    }

    /// Numbers in the buffer.
    pub(super) fn len(&self) -> usize {
        self.parameter(self.trace.parameters.len(), OfParameter::Gradient) * Statistics::LEN
    }

    fn site(&self, site: usize, which: OfSite) -> usize {
        PER_SITE * site + which as usize
    }

    fn parameter(&self, parameter: usize, which: OfParameter) -> usize {
        PER_SITE * self.trace.sites.len() + PER_PARAMETER * parameter + which as usize
    }

    /// The first half of `batch`, which is one of a step of `all` examples; all of a batch of one.
    pub(super) fn half_of(&mut self, batch: &Batch<B>, all: usize) -> Result<Batch<B>> {
        let half = (batch.examples() / 2).max(1);
        // E‖h − g‖² = (all / half − 1) · variance of g, where h is the mean of `half` of `all` independent gradients.
        self.variance = (half < all).then(|| 1.0 / (all as f64 / half as f64 - 1.0));
        Ok(Batch { images: beginning(&batch.images, half)?, labels: beginning(&batch.labels, half)? })
    }

    /// Measures a site's output in the pass over the half batch.
    pub(super) fn probe<'p>(&'p mut self) -> Probe<'p, B> {
        Box::new(|site, y| self.output(site, y))
    }

    /// y: `[n, ..]`
    fn output(&mut self, site: &Site, y: &Tensor<B>) -> Result<()> {
        if self.trace.sites.get(site.index).is_none_or(|known| known.path != site.path) {
            return Ok(()); // the model changed its layers
        }
        let (backend, elements) = (y.backend(), y.elements());
        let rows = y.shape().first().copied().unwrap_or(1);
        let g = Rows { rows, channels: elements / rows };
        self.statistics(self.site(site.index, OfSite::Output), y)?;
        let (mut sums, mut means) = (backend.allocate(g.channels)?, backend.allocate(g.channels)?);
        backend.sum_rows(&g, y.buffer(), &mut sums)?;
        backend.axpby(g.channels, -1.0 / g.rows as f32, &sums, 0.0, &mut means)?;
        let centred = Tensor::build(backend, y.shape(), |out| {
            backend.axpby(elements, 1.0, y.buffer(), 0.0, out)?;
            backend.add_bias(&g, &means, out)
        })?;
        self.statistics(self.site(site.index, OfSite::Centred), &centred)?;
        let centre = match site.kind {
            LayerKind::Tanh => Some((1.0, 0.0)),
            LayerKind::Sigmoid => Some((2.0, -1.0)),
            _ => None,
        };
        if let Some((slope, shift)) = centre {
            for (sign, place) in [(1.0, OfSite::Above), (-1.0, OfSite::Below)] {
                let beyond = Tensor::build(backend, y.shape(), |out| {
                    let mut z = backend.allocate(elements)?;
                    backend.axpby(elements, sign * slope, y.buffer(), 0.0, &mut z)?;
                    let limit = Tensor::full(backend, &[1], sign * shift - SATURATED)?;
                    backend.add_bias(&Rows { rows: elements, channels: 1 }, limit.buffer(), &mut z)?;
                    backend.relu(elements, &z, out)
                })?;
                self.statistics(self.site(site.index, place), &beyond)?;
            }
        }
        self.outputs[site.index] = Some(Output { elements, kind: site.kind });
        Ok(())
    }

    /// Keeps the gradients of the half batch until [`Signals::compare`].
    pub(super) fn keep(&mut self, half: Gradients<B>) {
        self.half = Some(half);
    }

    /// Compares the gradients of the whole batch with those of its half.
    pub(super) fn compare(&mut self, parameters: &Parameters<B>, whole: &Gradients<B>) -> Result<()> {
        let Some(half) = self.half.take().filter(|_| self.variance.is_some()) else { return Ok(()) };
        for (id, _) in parameters.iter() {
            let (Some(g), Some(h)) = (whole.parameter(id), half.parameter(id)) else { continue };
            let scales = Scales { whole: g.scale(), half: h.scale() };
            let values = g.unscaled()?;
            self.statistics(self.parameter(id.index(), OfParameter::Gradient), values)?;
            let mut distance = h.unscaled()?.clone();
            let share = -scales.whole / scales.half;
            values.backend().axpby(values.elements(), share, values.buffer(), 1.0, distance.buffer_mut()?)?;
            self.statistics(self.parameter(id.index(), OfParameter::Distance), &distance)?;
            self.gradients[id.index()] = Some(scales);
        }
        Ok(())
    }

    /// Measures the step that changed the parameters, by number, from `before`.
    pub(super) fn update(
        &mut self,
        before: Vec<Option<Tensor<B>>>,
        parameters: &Parameters<B>,
    ) -> Result<()> {
        for ((id, parameter), before) in parameters.iter().zip(before) {
            let (Some(mut w), after, number) = (before, &parameter.value, id.index()) else { continue };
            if w.shares_buffer_with(after) {
                continue;
            }
            let (backend, elements) = (after.backend(), after.elements());
            self.statistics(self.parameter(number, OfParameter::Weights), &w)?;
            backend.axpby(elements, 1.0, after.buffer(), -1.0, w.buffer_mut()?)?;
            self.statistics(self.parameter(number, OfParameter::Update), &w)?;
            backend.axpby(elements, 1.0, after.buffer(), STRETCH, w.buffer_mut()?)?;
            self.statistics(self.parameter(number, OfParameter::Stretched), &w)?;
            self.updates[number] = true;
        }
        Ok(())
    }

    fn statistics(&mut self, place: usize, tensor: &Tensor<B>) -> Result<()> {
        let offset = place * Statistics::LEN;
        tensor.backend().statistics(tensor.elements(), tensor.buffer(), offset, &mut self.buffer)
    }

    fn at(&self, place: usize) -> Statistics {
        let all = self.values.as_chunks().0;
        all.get(place).copied().map(Statistics::from_array).unwrap_or_default()
    }

    /// Adds the measurements to the sums of the sites whose gradients were measured.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        for (number, output) in self.outputs.iter().enumerate() {
            let (Some(output), Some(sum)) = (output, sums.get_mut(&number)) else { continue };
            let found = self.of_site(number, *output);
            let sum = sum.signals.get_or_insert_default();
            sum.output_mean += found.output_mean;
            sum.output_deviation += found.output_deviation;
            for (sum, found) in [
                (&mut sum.saturated, found.saturated),
                (&mut sum.gradient_square, found.gradient_square),
                (&mut sum.gradient_variance, found.gradient_variance),
                (&mut sum.angular_update, found.angular_update),
            ] {
                if let Some(found) = found {
                    *sum.get_or_insert(0.0) += found;
                }
            }
        }
    }

    fn of_site(&self, number: usize, Output { elements, kind }: Output) -> SiteSignals {
        let [output, centred, above, below] = [OfSite::Output, OfSite::Centred, OfSite::Above, OfSite::Below]
            .map(|which| self.at(self.site(number, which)));
        let elements = elements as f64;
        let inside = |found: Statistics| f64::from(found.zeros) / elements;
        let (gradient_square, gradient_variance) = self.noise(number).unzip();
        SiteSignals {
            output_mean: f64::from(output.sum) / elements,
            output_deviation: (f64::from(centred.sum_squares) / elements).sqrt(),
            saturated: match kind {
                LayerKind::Relu => Some(inside(output)),
                LayerKind::Tanh | LayerKind::Sigmoid => Some(2.0 - inside(above) - inside(below)),
                _ => None,
            },
            gradient_square,
            gradient_variance,
            angular_update: self.angle(number),
        }
    }

    /// The numbers of the parameters of a site's layer.
    fn owned(&self, site: usize) -> impl Iterator<Item = usize> {
        let parameters = self.trace.parameters.iter().enumerate();
        parameters.filter(move |(_, path)| self.trace.sites[site].owns(path)).map(|(number, _)| number)
    }

    /// ‖g‖² and the variance of g, over all parameters of a site's layer.
    fn noise(&self, site: usize) -> Option<(f64, f64)> {
        let squares = |number, which, scale: f32| {
            f64::from(self.at(self.parameter(number, which)).sum_squares) * f64::from(scale).powi(2)
        };
        let found = self.owned(site).filter_map(|number| {
            let Scales { whole, half } = self.gradients[number]?;
            let square = squares(number, OfParameter::Gradient, whole);
            Some((square, self.variance? * squares(number, OfParameter::Distance, half)))
        });
        found.reduce(|(a, b), (c, d)| (a + c, b + d))
    }

    /// The angle between the parameters of a site's layer before and after the step, in radians.
    fn angle(&self, site: usize) -> Option<f64> {
        let squares = |number, which| f64::from(self.at(self.parameter(number, which)).sum_squares);
        let sums = self.owned(site).filter(|number| self.updates[*number]).map(|number| {
            [OfParameter::Weights, OfParameter::Update, OfParameter::Stretched]
                .map(|which| squares(number, which))
        });
        let [weights, update, stretched] = sums.reduce(|a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]])?;
        let stretch = f64::from(STRETCH);
        // ‖w' + s·Δ‖² = ‖w‖² + 2⟨w', Δ⟩ − ‖Δ‖² + 2s⟨w', Δ⟩ + s²‖Δ‖², where w' = w + Δ
        let inner =
            (stretched - weights - (stretch * stretch - 1.0) * update) / (2.0 * (stretch + 1.0)) - update;
        let along = inner / weights.sqrt();
        let across = (update - along * along).max(0.0).sqrt();
        Some(across.atan2(weights.sqrt() + along))
    }
}

/// The first `rows` of a tensor's rows.
fn beginning<B: Backend>(tensor: &Tensor<B>, rows: usize) -> Result<Tensor<B>> {
    let mut shape = tensor.shape().to_vec();
    let elements = tensor.elements() / shape[0].max(1) * rows;
    shape[0] = rows;
    Tensor::build(tensor.backend(), &shape, |out| {
        tensor.backend().axpby(elements, 1.0, tensor.buffer(), 0.0, out)
    })
}
