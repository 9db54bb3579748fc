//! Compares two backends on the training of a model, layer by layer.
//!
//! Each backend computes the same first step from the same parameters and images, and returns all values: the outputs of all sites,
//! the gradients at all sites, and the gradients of all parameters. Backends add in different orders, so that values differ by
//! roundings. A wrong kernel shows as a large difference at the layer that uses it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Mode;
use crate::optim::{Optimizer, Sgd, SgdSettings};
use crate::{
    Backend, BackwardHook, Batch, BatchSource, Gradient, GradientAction, Hooks, Module, Parameters, Result,
    Site, Tape, Tensor, ops,
};

/// A value below this may be 0 on one device and not on another, since some devices replace subnormal numbers by 0.
const TINY: f32 = 1e-30;

/// All values of a model's first training step on one backend.
#[derive(Clone, Debug)]
pub struct FirstStep {
    layers: Vec<Layer>,
}

/// The values at one site.
#[derive(Clone, Debug)]
struct Layer {
    site: Site,
    /// The layer's output.
    activation: Vec<f32>,
    /// The gradient of the layer's output.
    gradient: Vec<f32>,
    /// The gradients of all the layer's parameters, concatenated. They are compared together, because the gradient of a convolution's
    /// bias before a batch norm consists of roundings only, whose size follows from the weights.
    parameters: Vec<f32>,
}

/// The largest differences of one layer's values, each relative to the largest value of its tensor on the reference. A difference is
/// infinite if a value is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDifference {
    /// The layer.
    pub site: Site,
    /// The largest difference of its output.
    pub activation: f64,
    /// The largest difference of the gradient of its output.
    pub gradient: f64,
    /// The largest difference of its parameters' gradients together; `None` if it has no parameters.
    pub parameters: Option<f64>,
}

impl FirstStep {
    /// Computes the step three times, so that the last time runs the kernels of training: first for the outputs of all layers, with
    /// the inner ones of fused operations; then for the gradients at all sites; then, without hooks, for the gradients of the
    /// parameters.
    pub fn compute<B: Backend>(
        model: &impl Module<B>,
        parameters: &Parameters<B>,
        batch: &Batch<B>,
    ) -> Result<Self> {
        let mut layers = activations(model, parameters.clone(), batch)?;

        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let hooks = Hooks::new();
        let _guard = hooks.add_shared(gathered.clone());
        backward(model, &mut parameters.clone(), batch, &hooks)?;
        for (site, values) in gathered.lock().unwrap_or_else(PoisonError::into_inner).0.drain(..) {
            if let Some(layer) = layers.iter_mut().find(|layer| layer.site.path == site.path) {
                layer.gradient = values;
            }
        }

        let mut trained = parameters.clone();
        let gradients = backward(model, &mut trained, batch, &Hooks::new())?;
        for (id, parameter) in trained.iter() {
            let Some(gradient) = gradients.parameter(id) else { continue };
            let owner = parameter.path.rsplit_once('.').map_or("", |(owner, _)| owner);
            if let Some(layer) = layers.iter_mut().find(|layer| &*layer.site.path == owner) {
                layer.parameters.extend(gradient.values()?.to_vec()?);
            }
        }
        Ok(Self { layers })
    }

    /// The differences from the same step on the reference, in forward order.
    pub fn differences(&self, reference: &Self) -> Vec<LayerDifference> {
        let of_layer = |(layer, expected): (&Layer, &Layer)| LayerDifference {
            site: layer.site.clone(),
            activation: relative(&layer.activation, &expected.activation),
            gradient: relative(&layer.gradient, &expected.gradient),
            parameters: (!layer.parameters.is_empty())
                .then(|| relative(&layer.parameters, &expected.parameters)),
        };
        self.layers.iter().zip(&reference.layers).map(of_layer).collect()
    }

    /// The number of elements whose gradient is 0 on one backend and not on the other.
    ///
    /// If the input of a rectifier is within rounding of 0, it may be positive on one backend and not on the other. If two pixels of
    /// a pool's window are nearly equal, the backends may choose different ones. Both backends are right, but the gradients
    /// upstream of such an element differ by whole values and not by roundings. Such a step cannot show whether kernels are right.
    pub fn switched(&self, reference: &Self) -> usize {
        let switched = |(a, b): (&f32, &f32)| (*a == 0.0) != (*b == 0.0) && a.abs().max(b.abs()) > TINY;
        let of_layer = |(layer, expected): (&Layer, &Layer)| {
            layer.gradient.iter().zip(&expected.gradient).filter(|&pair| switched(pair)).count()
        };
        self.layers.iter().zip(&reference.layers).map(of_layer).sum()
    }
}

impl LayerDifference {
    /// The larger one of the differences of gradients.
    pub fn worst_gradient(&self) -> f64 {
        self.gradient.max(self.parameters.unwrap_or(0.0))
    }
}

/// The losses of the first `steps` steps of a training at a constant learning rate, without amplification.
///
/// **Errors:** the source has fewer batches.
pub fn losses<B: Backend>(
    model: &impl Module<B>,
    mut parameters: Parameters<B>,
    source: &dyn BatchSource<B>,
    lr: f32,
    steps: usize,
) -> Result<Vec<f32>> {
    let backend = parameters.backend().clone();
    let mut sgd = Sgd::new(SgdSettings::default(), &parameters)?;
    let mut losses = Vec::with_capacity(steps);
    let mut epoch = 0;
    while losses.len() < steps {
        for batch in source.epoch(&backend, epoch, 0)?.take(steps - losses.len()) {
            let batch = batch?;
            let mut tape = Tape::train(&mut parameters);
            let loss = loss(model, &mut tape, &batch)?;
            let gradients = tape.backward(&loss.mean, &Hooks::new())?;
            sgd.step(&mut parameters, &gradients, lr)?;
            losses.push(loss.read()?.0);
        }
        epoch += 1;
    }
    Ok(losses)
}

/// The largest difference of two tensors' values, relative to the largest value of the second.
pub fn relative(found: &[f32], reference: &[f32]) -> f64 {
    let largest = reference.iter().fold(0.0, |largest: f64, value| largest.max(f64::from(value.abs())));
    let differences = found.iter().zip(reference).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    let worst =
        differences.fold(0.0, |worst: f64, next| if worst.is_nan() || next <= worst { worst } else { next });
    match (worst, worst / largest) {
        (0.0, _) => 0.0,
        (_, relative) if relative.is_nan() => f64::INFINITY,
        (_, relative) => relative,
    }
}

fn activations<B: Backend>(
    model: &impl Module<B>,
    mut parameters: Parameters<B>,
    batch: &Batch<B>,
) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = Vec::new();
    let probe = |site: &Site, value: &Tensor<B>| {
        let activation = value.to_vec()?;
        layers.push(Layer { site: site.clone(), activation, gradient: Vec::new(), parameters: Vec::new() });
        Ok(())
    };
    let mut tape = Tape::new(&mut parameters, Mode::Train, false).with_probe(Box::new(probe));
    let x = tape.constant(batch.images.clone());
    model.forward(&mut tape, x)?;
    drop(tape);
    // A container is numbered at its beginning, but its value is known at its end only.
    layers.sort_by_key(|layer| layer.site.index);
    Ok(layers)
}

fn loss<B: Backend>(
    model: &impl Module<B>,
    tape: &mut Tape<'_, B>,
    batch: &Batch<B>,
) -> Result<ops::Loss<B>> {
    let x = tape.constant(batch.images.clone());
    let logits = model.forward(tape, x)?;
    ops::softmax_cross_entropy(tape, &logits, &batch.labels, 0.0)
}

fn backward<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    batch: &Batch<B>,
    hooks: &Hooks<B>,
) -> Result<crate::Gradients<B>> {
    let mut tape = Tape::train(parameters);
    let loss = loss(model, &mut tape, batch)?;
    tape.backward(&loss.mean, hooks)
}

/// The gradients that a hook has seen.
#[derive(Default)]
struct Gathered(Vec<(Site, Vec<f32>)>);

impl<B: Backend> BackwardHook<B> for Gathered {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        self.0.push((site.clone(), gradient.values()?.to_vec()?));
        Ok(GradientAction::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_and_infinite_if_a_value_is_not_finite() {
        assert_eq!(relative(&[1.0, -4.0], &[1.0, -4.0]), 0.0);
        assert_eq!(relative(&[1.0, -3.0], &[2.0, -4.0]), 0.25);
        assert_eq!(relative(&[0.0], &[0.0]), 0.0);
        for (found, reference) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, 0.0)] {
            assert_eq!(relative(&[2.0, found], &[0.0, reference]), f64::INFINITY, "{found}, {reference}");
        }
        for (found, reference) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0)] {
            let relative = relative(&[found, 2.0], &[reference, 2.0]);
            assert_eq!(relative, f64::INFINITY, "the values after {found} or {reference} are equal");
        }
    }
}
