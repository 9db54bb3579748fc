use std::sync::Arc;

use crate::fusion::{Normalization, Recipe, Shares, Value};
use crate::geometry::Rows;
use crate::{
    Backend, BackwardRule, Error, Gradient, LayerKind, Mode, ParameterId, Pass, Result, Shape, Tape, Tensor,
    Var,
};

/// The parameters and settings of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Scale, `[c]`.
    pub gamma: ParameterId,
    /// Shift, `[c]`.
    pub beta: ParameterId,
    /// Running mean, `[c]`.
    pub running_mean: ParameterId,
    /// Running variance (unbiased), `[c]`.
    pub running_variance: ParameterId,
    /// Which counter of training batches is its own.
    pub counter: usize,
    /// Added to the variance under the root.
    pub epsilon: f32,
    /// Share of the new batch in the running statistics.
    pub momentum: f32,
}

/// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta, channel by channel.
///
/// In training mode mean and (biased) variance are the batch's, and the running ones move towards them by `momentum`
/// (the running variance towards the unbiased one); in evaluation mode they are the running ones.
///
/// **Shapes:** x and y `[.., c]`.
/// **Errors:** another number of channels; a single value per channel in training mode.
/// **Source:** Ioffe, Szegedy, "Batch Normalization", 2015; running statistics as in PyTorch.
pub fn batch_norm<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &BatchNorm,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let norm = Arc::new(normalization(tape, x, layer)?);
    let y = Value::lazy(Shape::new(x.shape())?, Recipe::BatchNorm(norm.clone()));
    let site = Some(tape.add_site(site, LayerKind::BatchNorm)?);
    tape.record_value("batch_norm", &[x], &[layer.gamma, layer.beta], site, y, |_| Rule { norm })
}

/// Keeps x and the statistics.
struct Rule<B: Backend> {
    norm: Arc<Normalization<B>>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let Shares { dx, dgamma, dbeta } = dy.through_batch_norm(&self.norm)?;
        pass.parameter(0, Gradient::new(dgamma).scaled(scale))?;
        pass.parameter(1, Gradient::new(dbeta).scaled(scale))?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

/// Reads x and its statistics; in training mode moves the running ones.
fn normalization<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &BatchNorm,
) -> Result<Normalization<B>> {
    let g = Rows::new("batch_norm", x.shape())?;
    let (gamma, beta) = (tape.parameter(layer.gamma), tape.parameter(layer.beta));
    if gamma.elements() != g.channels {
        let message = format!("expects {} channels, got x {:?}", gamma.elements(), x.shape());
        return Err(Error::shape("batch_norm", message));
    }
    let is_of_batch = tape.mode() == Mode::Train;
    let (x, mean, variance) = match is_of_batch {
        true => batch_statistics(tape, g, x, layer)?,
        false => (x.tensor()?, tape.parameter(layer.running_mean), tape.parameter(layer.running_variance)),
    };
    Ok(Normalization { g, x, mean, variance, gamma, beta, epsilon: layer.epsilon, is_of_batch })
}

/// x with the batch's mean and biased variance; moves the running ones.
fn batch_statistics<B: Backend>(
    tape: &mut Tape<'_, B>,
    g: Rows,
    x: &Var<B>,
    layer: &BatchNorm,
) -> Result<(Tensor<B>, Tensor<B>, Tensor<B>)> {
    if g.rows < 2 {
        let message = format!("expects more than 1 value per channel in training, got x {:?}", x.shape());
        return Err(Error::shape("batch_norm", message));
    }
    let backend = tape.backend();
    let (x, moments) = x.value().with_moments()?;
    let [mean, variance] = match moments {
        Some(moments) => moments,
        None => {
            let (mut mean, mut variance) = (backend.allocate(g.channels)?, backend.allocate(g.channels)?);
            backend.batch_norm_statistics(&g, x.buffer(), &mut mean, &mut variance)?;
            let wrap = |buffer| Tensor::from_buffer(&backend, &[g.channels], buffer);
            [wrap(mean)?, wrap(variance)?]
        }
    };
    let unbiased = g.rows as f32 / (g.rows - 1) as f32;
    let moves = [(layer.running_mean, &mean, 1.0), (layer.running_variance, &variance, unbiased)];
    let parameters = tape.parameters_mut();
    for (id, new, factor) in moves {
        let running = parameters.get_mut(id).value.buffer_mut()?;
        backend.axpby(g.channels, layer.momentum * factor, new.buffer(), 1.0 - layer.momentum, running)?;
    }
    parameters.counters_mut()[layer.counter].1 += 1;
    Ok((x, mean, variance))
}
