use std::sync::Arc;

use super::relu::relu_backward;
use super::{add, relu};
use crate::backend::BatchNormOperands;
use crate::geometry::Rows;
use crate::tape::{BackwardRule, Mode, Tape, Var};
use crate::{Backend, Error, Gradient, LayerKind, ParameterId, Pass, Result, Tensor};

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
    let s = Normaliser::new(tape, x, layer)?;
    let y = Tensor::build(x.tensor().backend(), x.shape(), |y| {
        x.tensor().backend().batch_norm(&s.g, &s.operands(), s.x.buffer(), y)
    })?;
    let site = tape.add_site(site, LayerKind::BatchNorm)?;
    tape.record("batch_norm", &[x], &[layer.gamma, layer.beta], &[site], y, Rule { s })
}

/// Backward of [`batch_norm`]; all it keeps is in the normaliser.
struct Rule<B: Backend> {
    s: Normaliser<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        self.s.backward(&dy, scale, pass)
    }
}

/// y = relu(batch_norm(x) + residual) in one pass, with both sites: `bn_site` before the sum, `relu_site` after it.
///
/// **Shapes:** x, residual and y `[.., c]`.
/// **Errors:** as [`batch_norm`]; a residual of another shape.
pub fn batch_norm_relu<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &BatchNorm,
    residual: Option<&Var<B>>,
    bn_site: &Arc<str>,
    relu_site: &Arc<str>,
) -> Result<Var<B>> {
    if tape.is_probed() {
        let mut z = batch_norm(tape, x, layer, bn_site)?;
        if let Some(residual) = residual {
            z = add(tape, &z, residual)?;
        }
        return relu(tape, &z, relu_site);
    }
    if let Some(residual) = residual
        && residual.shape() != x.shape()
    {
        let message = format!("x {:?} and residual {:?} differ", x.shape(), residual.shape());
        return Err(Error::shape("batch_norm_relu", message));
    }
    let s = Normaliser::new(tape, x, layer)?;
    let y = Tensor::build(x.tensor().backend(), x.shape(), |y| {
        let residual = residual.map(|r| r.tensor().buffer());
        x.tensor().backend().batch_norm_relu(&s.g, &s.operands(), s.x.buffer(), residual, y)
    })?;
    let sites = [tape.add_site(bn_site, LayerKind::BatchNorm)?, tape.add_site(relu_site, LayerKind::Relu)?];
    let inputs: Vec<_> = [x].into_iter().chain(residual).collect();
    tape.record("batch_norm_relu", &inputs, &[layer.gamma, layer.beta], &sites, y.clone(), FusedRule { s, y })
}

/// Backward of [`batch_norm_relu`]. Keeps y for the rectifier's mask: the next layer keeps it too.
struct FusedRule<B: Backend> {
    s: Normaliser<B>,
    y: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for FusedRule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { s, y } = *self;
        let has_residual = pass.inputs() > 1 && pass.needs(1);
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        // dz = dy where y > 0: the gradient of the sum under the rectifier, on its way to the residual and to the batch norm.
        // Computed here only if a hook asks for its values, for the batch norm's own kernel masks dy as it reads it.
        let dz = || {
            let (y, dy) = (y.clone(), dy.clone());
            Gradient::deferred(*y.shape(), move || relu_backward(&y, &dy))
        };
        let sum = pass.at_input(1, dz().scaled(scale))?;
        let residual_scale = sum.scale();
        let seen = sum.into_computed()?;
        let inner = seen.clone().map_or_else(dz, Gradient::new);
        let inner = pass.at_output(0, inner.scaled(residual_scale))?;
        let scale = inner.scale();
        let Some(inner) = inner.into_computed()? else {
            return s.backward_masked(&y, &dy, scale, has_residual.then_some(residual_scale), pass);
        };
        if has_residual {
            let share = match seen {
                Some(dz) => dz,
                None => relu_backward(&y, &dy)?,
            };
            pass.share(1, Gradient::new(share).scaled(residual_scale))?;
        }
        s.backward(&inner, scale, pass)
    }
}

/// What a batch norm's forward reads and its backward keeps: x (x̂ is cheap to recompute) and the statistics.
struct Normaliser<B: Backend> {
    g: Rows,
    x: Tensor<B>,
    mean: Tensor<B>,
    variance: Tensor<B>,
    gamma: Tensor<B>,
    beta: Tensor<B>,
    epsilon: f32,
    mode: Mode,
}

impl<B: Backend> Normaliser<B> {
    fn new(tape: &mut Tape<'_, B>, x: &Var<B>, layer: &BatchNorm) -> Result<Self> {
        let g = Rows::new("batch_norm", x.shape())?;
        let (gamma, beta) = (tape.parameter(layer.gamma), tape.parameter(layer.beta));
        if gamma.elements() != g.channels {
            let message = format!("expects {} channels, got x {:?}", gamma.elements(), x.shape());
            return Err(Error::shape("batch_norm", message));
        }
        let mode = tape.mode();
        let (mean, variance) = match mode {
            Mode::Train => batch_statistics(tape, g, x, layer)?,
            Mode::Evaluate => (tape.parameter(layer.running_mean), tape.parameter(layer.running_variance)),
        };
        Ok(Self { g, x: x.tensor().clone(), mean, variance, gamma, beta, epsilon: layer.epsilon, mode })
    }

    fn operands(&self) -> BatchNormOperands<'_, B> {
        BatchNormOperands {
            mean: self.mean.buffer(),
            variance: self.variance.buffer(),
            gamma: self.gamma.buffer(),
            beta: self.beta.buffer(),
            epsilon: self.epsilon,
        }
    }

    /// Shares from dy at the batch norm's output.
    fn backward(self, dy: &Tensor<B>, scale: f32, pass: &mut Pass<B>) -> Result<()> {
        let (backend, p) = (self.x.backend(), self.operands());
        let mut shares = Shares::new(&self)?;
        let Shares { dx, dgamma, dbeta } = &mut shares;
        backend.batch_norm_backward(&self.g, &p, self.x.buffer(), dy.buffer(), dx, dgamma, dbeta)?;
        if self.mode == Mode::Evaluate {
            // Constant statistics: dx = gamma / sqrt(variance + epsilon) · dy, a batch norm of dy around 0.
            let zero = Tensor::full(backend, &[self.g.channels], 0.0)?;
            let p = BatchNormOperands { mean: zero.buffer(), beta: zero.buffer(), ..p };
            backend.batch_norm(&self.g, &p, dy.buffer(), dx)?;
        }
        shares.give(&self, scale, pass)
    }

    /// Shares from dy at the output y of the rectifier behind the batch norm; one for the residual, if there is one, with its
    /// own scale.
    fn backward_masked(
        self,
        y: &Tensor<B>,
        dy: &Tensor<B>,
        scale: f32,
        residual_scale: Option<f32>,
        pass: &mut Pass<B>,
    ) -> Result<()> {
        if self.mode == Mode::Evaluate {
            let dz = relu_backward(y, dy)?;
            if let Some(scale) = residual_scale {
                pass.share(1, Gradient::new(dz.clone()).scaled(scale))?;
            }
            return self.backward(&dz, scale, pass);
        }
        let (backend, p) = (self.x.backend(), self.operands());
        let mut dz = residual_scale.map(|_| backend.alloc(self.g.len())).transpose()?;
        let mut shares = Shares::new(&self)?;
        let Shares { dx, dgamma, dbeta } = &mut shares;
        let (x, dy) = (self.x.buffer(), dy.buffer());
        backend.batch_norm_relu_backward(&self.g, &p, x, y.buffer(), dy, dz.as_mut(), dx, dgamma, dbeta)?;
        if let (Some(dz), Some(scale)) = (dz, residual_scale) {
            let dz = Tensor::from_buffer(backend, y.shape(), dz)?;
            pass.share(1, Gradient::new(dz).scaled(scale))?;
        }
        shares.give(&self, scale, pass)
    }
}

/// What a batch norm's backward writes.
struct Shares<B: Backend> {
    dx: B::Buffer,
    dgamma: B::Buffer,
    dbeta: B::Buffer,
}

impl<B: Backend> Shares<B> {
    fn new(s: &Normaliser<B>) -> Result<Self> {
        let backend = s.x.backend();
        Ok(Self {
            dx: backend.alloc(s.g.len())?,
            dgamma: backend.alloc(s.g.channels)?,
            dbeta: backend.alloc(s.g.channels)?,
        })
    }

    fn give(self, s: &Normaliser<B>, scale: f32, pass: &mut Pass<B>) -> Result<()> {
        let wrap = |buffer, shape: &[usize]| -> Result<Gradient<B>> {
            Ok(Gradient::new(Tensor::from_buffer(s.x.backend(), shape, buffer)?).scaled(scale))
        };
        pass.parameter(0, wrap(self.dgamma, &[s.g.channels])?)?;
        pass.parameter(1, wrap(self.dbeta, &[s.g.channels])?)?;
        pass.give(0, wrap(self.dx, s.x.shape())?)
    }
}

/// The batch's mean and biased variance; moves the running ones.
fn batch_statistics<B: Backend>(
    tape: &mut Tape<'_, B>,
    g: Rows,
    x: &Var<B>,
    layer: &BatchNorm,
) -> Result<(Tensor<B>, Tensor<B>)> {
    if g.rows < 2 {
        let message = format!("expects more than 1 value per channel in training, got x {:?}", x.shape());
        return Err(Error::shape("batch_norm", message));
    }
    let backend = tape.backend();
    let [mean, variance] = match x.moments() {
        Some(moments) => moments.clone(),
        None => {
            let (mut mean, mut variance) = (backend.alloc(g.channels)?, backend.alloc(g.channels)?);
            backend.batch_norm_statistics(&g, x.tensor().buffer(), &mut mean, &mut variance)?;
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
    Ok((mean, variance))
}
