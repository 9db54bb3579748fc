//! How closely two backends agree on the training of a model, layer by layer.
//!
//! Each backend computes the same first step from the same parameters and images, and hands over every value that there
//! is: the outputs of all sites, the gradients at all sites, the gradients of all parameters. Backends sum in different
//! orders, so that nothing need be equal; a kernel that is wrong stands out at the layer where it is used.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Mode;
use crate::optim::{Sgd, SgdSettings};
use crate::{
    Backend, BackwardHook, Batch, BatchSource, Gradient, GradientAction, Hooks, Module, Parameters, Result,
    Site, Tape, Tensor, ops,
};

/// Below this a value may be 0 on one device and not on another: some flush what is subnormal.
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
    /// The gradients of all the layer's parameters, one behind the other: that of a convolution's bias before a batch norm
    /// is 0 but for roundings, and only the weights beside it tell how large those may be.
    parameters: Vec<f32>,
}

/// The largest differences of one layer's values, each relative to the largest value of its tensor on the reference;
/// infinite where one is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDifference {
    /// The layer.
    pub site: Site,
    /// Of its output.
    pub activation: f64,
    /// Of the gradient of its output.
    pub gradient: f64,
    /// Of its parameters' gradients, all taken together; `None` where it has none.
    pub parameters: Option<f64>,
}

impl FirstStep {
    /// Computes the step in three passes, so that the kernels are those of a training: outputs of all layers, inner ones
    /// of fused operations too; gradients at all sites; gradients of parameters, which nobody watches.
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

    /// The differences from the same step on a reference, in forward order.
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

    /// At how many places a gradient flows on one of both and not on the other.
    ///
    /// A rectifier whose input is within rounding of 0 opens on one device and not on the other, and a pool takes another
    /// of two pixels that are nearly equal. Both are right; but the gradients behind such a place differ by whole values,
    /// not by roundings, so that the step says little about kernels.
    pub fn switched(&self, reference: &Self) -> usize {
        let switched = |(a, b): (&f32, &f32)| (*a == 0.0) != (*b == 0.0) && a.abs().max(b.abs()) > TINY;
        let of_layer = |(layer, expected): (&Layer, &Layer)| {
            layer.gradient.iter().zip(&expected.gradient).filter(|&pair| switched(pair)).count()
        };
        self.layers.iter().zip(&reference.layers).map(of_layer).sum()
    }
}

impl LayerDifference {
    /// The largest of the differences of gradients.
    pub fn worst_gradient(&self) -> f64 {
        self.gradient.max(self.parameters.unwrap_or(0.0))
    }
}

/// The losses of the first `steps` steps of a plain training at a constant learning rate.
///
/// **Errors:** a source that ends before.
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
            sgd.step(&mut parameters, &gradients, &lr.into())?;
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
    // Sites are numbered where they begin, and a container's value is seen where it ends.
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
    fn differences_are_relative_and_show_what_is_not_finite() {
        assert_eq!(relative(&[1.0, -4.0], &[1.0, -4.0]), 0.0);
        assert_eq!(relative(&[1.0, -3.0], &[2.0, -4.0]), 0.25);
        assert_eq!(relative(&[0.0], &[0.0]), 0.0);
        for (found, reference) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, 0.0)] {
            assert_eq!(relative(&[2.0, found], &[0.0, reference]), f64::INFINITY, "{found}, {reference}");
        }
        for (found, reference) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0)] {
            let relative = relative(&[found, 2.0], &[reference, 2.0]);
            assert_eq!(relative, f64::INFINITY, "what comes behind {found} or {reference} hides neither");
        }
    }
}
