//! What a batch norm's operations have in common, whatever stands before or behind it.

use std::sync::Arc;

use super::batch_norm::BatchNorm;
use super::relu::relu_backward;
use crate::backend::BatchNormOperands;
use crate::geometry::Rows;
use crate::tape::{Known, Mode, Tape, Var};
use crate::{Backend, Error, Gradient, Pass, Result, Tensor, folding};

/// What a batch norm's forward reads and its backward keeps: x (x̂ is cheap to recompute) and the statistics.
#[derive(Debug)]
pub(super) struct Normaliser<B: Backend> {
    pub(super) g: Rows,
    pub(super) x: Tensor<B>,
    mean: Tensor<B>,
    variance: Tensor<B>,
    gamma: Tensor<B>,
    beta: Tensor<B>,
    epsilon: f32,
    pub(super) mode: Mode,
}

/// relu(batch_norm(x) + residual), by what it was computed from.
#[derive(Clone, Debug)]
pub(crate) struct Rectified<B: Backend> {
    pub(super) s: Arc<Normaliser<B>>,
    /// What was written, where a residual is part of it.
    pub(super) z: Option<Tensor<B>>,
}

impl<B: Backend> Rectified<B> {
    pub(super) fn operands(&self) -> folding::Rectified<'_, B> {
        let s = &self.s;
        folding::Rectified { x: s.x.buffer(), p: s.operands(), z: self.z.as_ref().map(Tensor::buffer) }
    }
}

impl<B: Backend> Normaliser<B> {
    pub(super) fn new(tape: &mut Tape<'_, B>, x: &Var<B>, layer: &BatchNorm) -> Result<Self> {
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

    pub(super) fn operands(&self) -> BatchNormOperands<'_, B> {
        BatchNormOperands {
            mean: self.mean.buffer(),
            variance: self.variance.buffer(),
            gamma: self.gamma.buffer(),
            beta: self.beta.buffer(),
            epsilon: self.epsilon,
        }
    }

    /// relu(batch_norm(x) + residual)
    pub(super) fn rectify(&self, residual: Option<&Tensor<B>>) -> Result<Tensor<B>> {
        let backend = self.x.backend();
        Tensor::build(backend, self.x.shape(), |y| {
            backend.batch_norm_relu(
                &self.g,
                &self.operands(),
                self.x.buffer(),
                residual.map(Tensor::buffer),
                y,
            )
        })
    }

    /// y as it was written; computed again where it was not.
    pub(super) fn rectified(&self, y: Option<&Tensor<B>>) -> Result<Tensor<B>> {
        y.map_or_else(|| self.rectify(None), |y| Ok(y.clone()))
    }

    /// Shares from dy at the batch norm's output.
    pub(super) fn backward(&self, dy: &Tensor<B>, scale: f32, pass: &mut Pass<B>) -> Result<()> {
        let (backend, p) = (self.x.backend(), self.operands());
        let mut shares = Shares::new(self)?;
        let Shares { dx, dgamma, dbeta } = &mut shares;
        backend.batch_norm_backward(&self.g, &p, self.x.buffer(), dy.buffer(), dx, dgamma, dbeta)?;
        if self.mode == Mode::Evaluate {
            // Constant statistics: dx = gamma / sqrt(variance + epsilon) · dy, a batch norm of dy around 0.
            let zero = Tensor::full(backend, &[self.g.channels], 0.0)?;
            let p = BatchNormOperands { mean: zero.buffer(), beta: zero.buffer(), ..p };
            backend.batch_norm(&self.g, &p, dy.buffer(), dx)?;
        }
        shares.give(self, scale, pass)
    }

    /// Shares from dy at the output y of the rectifier behind the batch norm; one for the residual, if there is one, with its
    /// own scale.
    pub(super) fn backward_masked(
        &self,
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
        let mut shares = Shares::new(self)?;
        let Shares { dx, dgamma, dbeta } = &mut shares;
        let (x, dy) = (self.x.buffer(), dy.buffer());
        backend.batch_norm_relu_backward(&self.g, &p, x, y.buffer(), dy, dz.as_mut(), dx, dgamma, dbeta)?;
        if let (Some(dz), Some(scale)) = (dz, residual_scale) {
            let dz = Tensor::from_buffer(backend, y.shape(), dz)?;
            pass.share(1, Gradient::new(dz).scaled(scale))?;
        }
        shares.give(self, scale, pass)
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
    let [mean, variance] = match x.known() {
        Known::Moments(moments) => moments.clone(),
        _ => {
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
