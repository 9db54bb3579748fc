use std::sync::Arc;

use derive_setters::Setters;
use serde::{Deserialize, Serialize};

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
    /// A convolution of `[c_in, c_out]` channels with a kernel of `size` × `size`, and the initialisation of
    /// `parameters`.
    pub fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c_out]: [usize; 2],
        size: usize,
        options: Conv2dOptions,
    ) -> Result<Self> {
        let Conv2dOptions { stride, padding, bias } = options;
        let (fan_in, fan_out) = (size * size * c_in, size * size * c_out);
        let initial = Initial::Weight { fan_in, fan_out };
        let weight =
            parameters.add(&join(path, "weight"), Role::ConvWeight, &[size, size, c_in, c_out], initial)?;
        let bias = match bias {
            true => {
                Some(parameters.add(&join(path, "bias"), Role::Bias, &[c_out], Initial::Bias { fan_in })?)
            }
            false => None,
        };
        let layer = ops::Convolution { weight, bias, stride, padding };
        Ok(Self { path: path.into(), layer })
    }
}

/// What [`Conv2d::new`] need not be told; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Conv2dOptions {
    /// The distance between windows, in pixels, in both directions. Default: 1.
    pub stride: usize,
    /// Zeros around the image, in pixels, on each side. Default: 0.
    pub padding: usize,
    /// Whether each output channel has a bias. Default: true.
    pub bias: bool,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: 1, padding: 0, bias: true }
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

/// An activation function, applied element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivationFunction {
    /// max(x, 0); see [`ops::relu`].
    #[default]
    Relu,
    /// tanh(x); see [`ops::tanh`].
    Tanh,
    /// 1 / (1 + exp(−x)); see [`ops::sigmoid`].
    Sigmoid,
}

impl ActivationFunction {
    /// Every activation function.
    pub const ALL: [Self; 3] = [Self::Relu, Self::Tanh, Self::Sigmoid];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// A layer that applies an [`ActivationFunction`].
#[derive(Clone, Debug)]
pub struct Activation {
    path: Arc<str>,
    function: ActivationFunction,
}

impl Activation {
    /// A layer at `path` that applies `function`.
    pub fn new(path: &str, function: ActivationFunction) -> Self {
        Self { path: path.into(), function }
    }

    /// A rectifier at `path`: max(x, 0).
    pub fn relu(path: &str) -> Self {
        Self::new(path, ActivationFunction::Relu)
    }
}

impl<B: Backend> Module<B> for Activation {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        match self.function {
            ActivationFunction::Relu => ops::relu(tape, &x, &self.path),
            ActivationFunction::Tanh => ops::tanh(tape, &x, &self.path),
            ActivationFunction::Sigmoid => ops::sigmoid(tape, &x, &self.path),
        }
    }
}

/// A dropout; see [`ops::dropout`]. It has no site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability with which an element is dropped, in [0, 1).
    pub p: f32,
}

impl<B: Backend> Module<B> for Dropout {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::dropout(tape, &x, self.p)
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
    /// A layer with the initialisation of `parameters`.
    pub fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c_out]: [usize; 2],
    ) -> Result<Self> {
        Self::with_inputs(parameters, path, &[c_in], c_out)
    }

    /// A layer that reads images `[n, h, w, c]`, with a weight `[h, w, c, c_out]` and the initialisation of `parameters`.
    ///
    /// In PyTorch, a flattened image is ordered by channel, row and column. The weight's shape lets its values be converted.
    pub fn on_images<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        image: [usize; 3],
        c_out: usize,
    ) -> Result<Self> {
        Self::with_inputs(parameters, path, &image, c_out)
    }

    fn with_inputs<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        inputs: &[usize],
        c_out: usize,
    ) -> Result<Self> {
        let fan_in = inputs.iter().product();
        let shape = [inputs, &[c_out]].concat();
        let initial = Initial::Weight { fan_in, fan_out: c_out };
        let weight = parameters.add(&join(path, "weight"), Role::LinearWeight, &shape, initial)?;
        let bias = parameters.add(&join(path, "bias"), Role::Bias, &[c_out], Initial::Bias { fan_in })?;
        Ok(Self { path: path.into(), weight, bias })
    }
}

impl<B: Backend> Module<B> for Linear {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        ops::linear(tape, &x, self.weight, self.bias, &self.path)
    }
}
