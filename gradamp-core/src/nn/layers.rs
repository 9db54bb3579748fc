use std::sync::Arc;

use super::{Module, join};
use crate::parameters::{Initial, Role};
use crate::{Backend, ParameterId, Parameters, Result, Tape, Var, ops};

/// A convolution; see [`ops::conv2d`].
#[derive(Clone, Debug)]
pub struct Conv2d {
    path: Arc<str>,
    layer: ops::Convolution,
}

impl Conv2d {
    /// A convolution with a square kernel of `size`, and PyTorch's default initialisation.
    pub fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c_out]: [usize; 2],
        size: usize,
        stride: usize,
        padding: usize,
        bias: bool,
    ) -> Result<Self> {
        let initial = Initial::Uniform { fan_in: size * size * c_in };
        let weight =
            parameters.add(&join(path, "weight"), Role::ConvWeight, &[size, size, c_in, c_out], initial)?;
        let bias = match bias {
            true => Some(parameters.add(&join(path, "bias"), Role::Bias, &[c_out], initial)?),
            false => None,
        };
        let layer = ops::Convolution { weight, bias, stride, padding };
        Ok(Self { path: path.into(), layer })
    }
}

impl<B: Backend> Module<B> for Conv2d {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::conv2d(tape, &x, &self.layer, &self.path)
    }
}

/// A batch norm; see [`ops::batch_norm`].
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    path: Arc<str>,
    layer: ops::BatchNorm,
}

impl BatchNorm2d {
    /// A batch norm over `c` channels with PyTorch's defaults: epsilon 1e-5, momentum 0.1, gamma 1, beta 0.
    pub fn new<B: Backend>(parameters: &mut Parameters<B>, path: &str, c: usize) -> Result<Self> {
        let mut add =
            |name, role, value| parameters.add(&join(path, name), role, &[c], Initial::Constant(value));
        let (gamma, beta) = (add("weight", Role::Gamma, 1.0)?, add("bias", Role::Beta, 0.0)?);
        let running_mean = add("running_mean", Role::Running, 0.0)?;
        let running_variance = add("running_var", Role::Running, 1.0)?;
        let counter = parameters.add_counter(&join(path, "num_batches_tracked"));
        let layer = ops::BatchNorm {
            gamma,
            beta,
            running_mean,
            running_variance,
            counter,
            epsilon: 1e-5,
            momentum: 0.1,
        };
        Ok(Self { path: path.into(), layer })
    }
}

impl<B: Backend> Module<B> for BatchNorm2d {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::batch_norm(tape, &x, &self.layer, &self.path)
    }
}

/// A rectifier; see [`ops::relu`].
#[derive(Clone, Debug)]
pub struct Relu {
    path: Arc<str>,
}

impl Relu {
    /// A rectifier at `path`.
    pub fn new(path: &str) -> Self {
        Self { path: path.into() }
    }
}

impl<B: Backend> Module<B> for Relu {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::relu(tape, &x, &self.path)
    }
}

/// A max-pool; see [`ops::max_pool2d`].
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    path: Arc<str>,
    size: usize,
    stride: usize,
}

impl MaxPool2d {
    /// Windows of `size` at `stride`, without padding.
    pub fn new(path: &str, size: usize, stride: usize) -> Self {
        Self { path: path.into(), size, stride }
    }
}

impl<B: Backend> Module<B> for MaxPool2d {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::max_pool2d(tape, &x, self.size, self.stride, &self.path)
    }
}

/// A mean over all pixels; see [`ops::mean_pool`].
#[derive(Clone, Debug)]
pub struct MeanPool2d {
    path: Arc<str>,
}

impl MeanPool2d {
    /// A mean at `path`.
    pub fn new(path: &str) -> Self {
        Self { path: path.into() }
    }
}

impl<B: Backend> Module<B> for MeanPool2d {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::mean_pool(tape, &x, &self.path)
    }
}

/// A fully connected layer; see [`ops::linear`].
#[derive(Clone, Debug)]
pub struct Linear {
    path: Arc<str>,
    weight: ParameterId,
    bias: ParameterId,
}

impl Linear {
    /// A layer with PyTorch's default initialisation.
    pub fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c_out]: [usize; 2],
    ) -> Result<Self> {
        let initial = Initial::Uniform { fan_in: c_in };
        let weight = parameters.add(&join(path, "weight"), Role::LinearWeight, &[c_in, c_out], initial)?;
        let bias = parameters.add(&join(path, "bias"), Role::Bias, &[c_out], initial)?;
        Ok(Self { path: path.into(), weight, bias })
    }
}

impl<B: Backend> Module<B> for Linear {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::linear(tape, &x, self.weight, self.bias, &self.path)
    }
}
