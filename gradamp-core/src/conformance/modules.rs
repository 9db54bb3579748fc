//! Small modules whose gradients are checked: combinations of layers and operations.

use std::sync::Arc;

use crate::nn::{Activation, BatchNorm2d, Conv2d, MaxPool2d, Module};
use crate::{Backend, ParameterId, Result, Tape, Tensor, Var, ops};

/// relu(batch_norm(x) + x), or without the sum.
pub(super) struct Fused {
    pub(super) bn: BatchNorm2d,
    pub(super) relu: Activation,
    pub(super) residual: bool,
}

impl<B: Backend> Module<B> for Fused {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let mut y = self.bn.forward(tape, x.clone())?;
        if self.residual {
            y = ops::add(tape, &y, &x)?;
        }
        self.relu.forward(tape, y)
    }
}

/// conv(relu(batch_norm(x)))
pub(super) struct Chain(pub(super) BatchNorm2d, pub(super) Activation, pub(super) Conv2d);

impl<B: Backend> Module<B> for Chain {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let Self(bn, relu, conv) = self;
        let y = bn.forward(tape, x)?;
        let y = relu.forward(tape, y)?;
        conv.forward(tape, y)
    }
}

/// conv(z) + z + relu(z) with z = relu(batch_norm(x) + x), or z = relu(batch_norm(x)). In backward, the share of the convolution is
/// neither the first nor the last one.
pub(super) struct Skipped(pub(super) Fused, pub(super) Conv2d, pub(super) Activation);

impl<B: Backend> Module<B> for Skipped {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let z = self.0.forward(tape, x)?;
        let last = self.2.forward(tape, z.clone())?;
        let y = self.1.forward(tape, z.clone())?;
        let y = ops::add(tape, &y, &z)?;
        ops::add(tape, &y, &last)
    }
}

/// max_pool2d(relu(batch_norm(x) + x)), or without the sum.
pub(super) struct Pooled(pub(super) Fused, pub(super) MaxPool2d);

impl<B: Backend> Module<B> for Pooled {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let z = self.0.forward(tape, x)?;
        self.1.forward(tape, z)
    }
}

/// x + relu(x): the gradient of x is the sum of two shares.
pub(super) struct Add(pub(super) Activation);

impl<B: Backend> Module<B> for Add {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let y = self.0.forward(tape, x.clone())?;
        ops::add(tape, &x, &y)
    }
}

/// The mean loss against labels 0, 1, 2...
pub(super) struct Loss {
    pub(super) smoothing: f32,
}

impl<B: Backend> Module<B> for Loss {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let labels: Vec<f32> = (0..x.shape()[0]).map(|label| label as f32).collect();
        let labels = Tensor::from_slice(&tape.backend(), &[labels.len()], &labels)?;
        Ok(ops::softmax_cross_entropy(tape, &x, &labels, self.smoothing)?.mean)
    }
}

/// The mean loss against shares of classes that differ from row to row.
pub(super) struct SoftLoss {
    pub(super) smoothing: f32,
}

impl<B: Backend> Module<B> for SoftLoss {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let shares = targets(tape, &x)?;
        Ok(ops::softmax_cross_entropy(tape, &x, &shares, self.smoothing)?.mean)
    }
}

/// The mean squared error.
pub(super) struct SquaredError;

impl<B: Backend> Module<B> for SquaredError {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let targets = targets(tape, &x)?;
        Ok(ops::squared_error(tape, &x, &targets)?.mean)
    }
}

/// 0, 0.25, 0.5, 0.75, 0... in the shape of `x`.
fn targets<B: Backend>(tape: &Tape<'_, B>, x: &Var<B>) -> Result<Tensor<B>> {
    let values: Vec<f32> = (0..x.shape().iter().product()).map(|i| (i % 4) as f32 / 4.0).collect();
    Tensor::from_slice(&tape.backend(), x.shape(), &values)
}

pub(super) struct LossScale(pub(super) f32);

impl<B: Backend> Module<B> for LossScale {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::loss_scale(tape, &x, self.0)
    }
}

/// Two convolutions with the same weight: the gradient of the weight is the sum of two shares.
pub(super) struct Shared(pub(super) ParameterId);

impl<B: Backend> Module<B> for Shared {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let [first, second]: [Arc<str>; 2] = ["first".into(), "second".into()];
        let layer = ops::Convolution { weight: self.0, bias: None, stride: 1, padding: 1 };
        let y = ops::conv2d(tape, &x, &layer, &first)?;
        ops::conv2d(tape, &y, &layer, &second)
    }
}
