use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use crate::backend::Statistics;
use crate::geometry::Rows;
use crate::{Backend, Parameters, Result, Role};

/// A deviation below this share of the root mean square is rounding, and counts as 0.
const ROUNDING: f64 = 1e-6;

/// A method that brings gradients to a common size, whatever their own size is.
///
/// Norms, means and deviations are those of true gradients, after amplification and centralisation. Weight decay comes later and
/// is not normalised. The learning rate has to be chosen anew: under [`Normalise::Block`] it is the length of a layer's step,
/// under the two others about the root mean square of the step of one weight.
///
/// A gradient of 0 stays 0. A gradient that is not finite becomes NaN, and so does one whose squares exceed f32.
///
/// Amplification multiplies a gradient by a scalar. [`Normalise::Block`] removes a scalar that all parameters of a layer share,
/// [`Normalise::ZScore`] removes that of each weight, and [`Normalise::Autoscale`] keeps the ratios between weights. The same
/// holds for the control of step length.
///
/// The host reads the norms and therefore waits for the device once a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Block-normalised gradients: the gradient of each layer has norm 1.
    ///
    /// g ← g / ‖g‖, where g is the gradient of all parameters of a layer together. A layer's parameters are those whose paths
    /// differ in the last part only, such as `fc.weight` and `fc.bias`. The step is not multiplied by the norm of the layer's
    /// weights, as it is by [`Lars`](super::Lars).
    ///
    /// **Source:** A. W. Yu, L. Huang, Q. Lin, R. Salakhutdinov, J. Carbonell, "Block-Normalized Gradient Method: An Empirical
    /// Study for Training Deep Neural Network", 2017 (arXiv 1707.04822): SGD with momentum and steps of constant size.
    Block,
    /// Z-scores: the gradient of each weight of a convolution or linear layer has mean 0 and standard deviation 1.
    ///
    /// g ← (g − mean(g)) / σ, where σ² = mean((g − mean(g))²), over all elements of the weight. Biases and batch norms are left
    /// as they are, as by centralisation. Nothing is added to σ: a gradient that is the same everywhere becomes 0.
    ///
    /// **Source:** J. Yun, "ZNorm: Z-Score Gradient Normalization for Deep Neural Networks", 2024 (arXiv 2408.01215).
    ZScore,
    /// Autoscaled gradients: as [`Normalise::ZScore`], but with one deviation for all weights.
    ///
    /// g ← (g − mean(g)) / σ, where σ² is the mean of (g − mean(g))² over the elements of all weights of convolutions and linear
    /// layers. A layer whose gradients are small keeps a small gradient.
    ///
    /// **Source:** after V.-D. Yun, "Insights from Gradient Dynamics: Gradient Autoscaled Normalization", 2025
    /// (arXiv 2509.03677), which subtracts each layer's mean and multiplies all layers by one factor, found from the standard
    /// deviation over all layers. The factor 1/σ is the choice of this project, and not checked against the authors' code: with
    /// it, the two methods differ only in the elements over which σ is taken.
    Autoscale,
}

impl Normalise {
    /// Normalises gradients.
    pub(super) fn normalise<B: Backend>(
        self,
        parameters: &Parameters<B>,
        incoming: &mut [Incoming<'_, B>],
    ) -> Result<()> {
        match self {
            Normalise::Block => by_layer(parameters, incoming),
            Normalise::ZScore => by_deviation(parameters, incoming, false),
            Normalise::Autoscale => by_deviation(parameters, incoming, true),
        }
    }
}

fn by_layer<B: Backend>(parameters: &Parameters<B>, incoming: &mut [Incoming<'_, B>]) -> Result<()> {
    let sources: Vec<_> = incoming.iter().map(|g| (g.values.buffer(), g.values.elements())).collect();
    let found = Statistics::compute(parameters.backend(), &sources)?;
    let mut squares: HashMap<&str, f64> = HashMap::new();
    for (gradient, found) in incoming.iter().zip(found) {
        let norm = f64::from(gradient.scale) * norm(gradient, found)?;
        *squares.entry(parameters.get(gradient.id).layer()).or_default() += norm * norm;
    }
    for gradient in incoming {
        let norm = squares.get(parameters.get(gradient.id).layer()).copied().unwrap_or(0.0).sqrt();
        gradient.divide(norm);
    }
    Ok(())
}

/// Subtracts the mean of each weight's gradient, and divides by the deviation of each weight or by that of all of them.
fn by_deviation<B: Backend>(
    parameters: &Parameters<B>,
    incoming: &mut [Incoming<'_, B>],
    together: bool,
) -> Result<()> {
    let is_weight = |gradient: &Incoming<'_, B>| {
        matches!(parameters.get(gradient.id).role, Role::ConvWeight | Role::LinearWeight)
    };
    let mut weights: Vec<_> = incoming.iter_mut().filter(|gradient| is_weight(gradient)).collect();
    let mut before = Vec::with_capacity(weights.len());
    for gradient in &mut weights {
        before.push(gradient.values.clone().into_owned());
        subtract_mean(parameters.backend(), gradient)?;
    }
    let values = before.iter().chain(weights.iter().map(|gradient| &*gradient.values));
    let sources: Vec<_> = values.map(|values| (values.buffer(), values.elements())).collect();
    let found = Statistics::compute(parameters.backend(), &sources)?;
    let (found_before, found) = found.split_at(weights.len());
    // The sum of squares around the mean, and the number of elements, of each gradient.
    let mut sizes = Vec::with_capacity(weights.len());
    for (i, gradient) in weights.iter().enumerate() {
        let elements = gradient.values.elements() as f64;
        let (whole, centred) = (before[i].norm(found_before[i])?, norm(gradient, found[i])?);
        // The mean of centred values is what rounding left of it.
        let squares = centred * centred - f64::from(found[i].sum).powi(2) / elements;
        let is_rounding = squares <= (ROUNDING * whole).powi(2);
        let scale = f64::from(gradient.scale);
        sizes.push((if is_rounding { 0.0 } else { scale * scale * squares }, elements));
    }
    let all = sizes.iter().fold((0.0, 0.0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    for (gradient, size) in weights.into_iter().zip(sizes) {
        let (squares, elements) = if together { all } else { size };
        gradient.divide((squares / elements).sqrt());
        if size.0 == 0.0 {
            gradient.scale = 0.0; // the values are what rounding left
        }
    }
    Ok(())
}

/// g ← g − mean(g), over all elements, on the device. The scalar may stay, since the mean is linear.
fn subtract_mean<B: Backend>(backend: &B, gradient: &mut Incoming<'_, B>) -> Result<()> {
    let g = Rows { rows: gradient.values.elements(), channels: 1 };
    let (mut sum, mut mean) = (backend.allocate(1)?, backend.allocate(1)?);
    backend.sum_rows(&g, gradient.values.buffer(), &mut sum)?;
    backend.axpby(1, -1.0 / g.rows as f32, &sum, 0.0, &mut mean)?;
    gradient.replace(|old, new| {
        backend.axpby(g.len(), 1.0, old.buffer(), 0.0, new)?;
        backend.add_bias(&g, &mean, new)
    })
}

/// The norm of the values, without the scalar; NaN if their squares exceed f32, so that the step's gate can see it.
fn norm<B: Backend>(gradient: &Incoming<'_, B>, found: Statistics) -> Result<f64> {
    if found.sum_squares.is_finite() { gradient.values.norm(found) } else { Ok(f64::NAN) }
}

impl<B: Backend> Incoming<'_, B> {
    /// Divides the gradient by `size`; does nothing if the size is 0.
    fn divide(&mut self, size: f64) {
        let most = f64::from(f32::MAX);
        match size {
            _ if !size.is_finite() => self.scale = f32::NAN, // 1 / ∞ would hide it as a 0
            0.0 => {}
            _ => self.scale = (f64::from(self.scale) / size).clamp(-most, most) as f32,
        }
    }
}
