//! A value on the tape: a tensor, or a recipe for a tensor.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Normalization;
use crate::backend::{BatchNormRelu, FusedKernels};
use crate::geometry::Conv2d;
use crate::{Backend, Error, Result, Shape, Tensor};

/// How to compute a value that nobody has read yet.
pub(crate) enum Recipe<B: Backend> {
    /// conv2d(x, w) + bias
    Convolution(Convolution<B>),
    /// batch_norm(x)
    BatchNorm(Arc<Normalization<B>>),
    /// batch_norm(x) + residual
    BatchNormSum(Arc<Normalization<B>>, Tensor<B>),
    /// relu(batch_norm(x))
    BatchNormRelu(Arc<Normalization<B>>),
}

/// A convolution whose kernel has not run.
pub(crate) struct Convolution<B: Backend> {
    pub(crate) g: Conv2d,
    pub(crate) x: ConvolutionInput<B>,
    pub(crate) w: Tensor<B>,
    pub(crate) bias: Option<Tensor<B>>,
}

/// The input of a convolution.
pub(crate) enum ConvolutionInput<B: Backend> {
    Tensor(Tensor<B>),
    /// relu(batch_norm(x)), which the kernel computes while it reads x. The result is not stored.
    BatchNormRelu(Arc<Normalization<B>>),
}

/// The operations that have computed z = relu(batch_norm(x) + residual), for the fused backward of the readers of z.
pub(crate) struct RectifiedBatchNorm<B: Backend> {
    pub(crate) norm: Arc<Normalization<B>>,
    /// The values of z, if there is a residual. Without a residual, kernels compute from x where z is above 0.
    pub(crate) z: Option<Tensor<B>>,
}

impl<B: Backend> Clone for RectifiedBatchNorm<B> {
    fn clone(&self) -> Self {
        Self { norm: self.norm.clone(), z: self.z.clone() }
    }
}

impl<B: Backend> RectifiedBatchNorm<B> {
    pub(crate) fn operands(&self) -> BatchNormRelu<'_, B> {
        BatchNormRelu {
            x: self.norm.x.buffer(),
            p: self.norm.operands(),
            z: self.z.as_ref().map(Tensor::buffer),
        }
    }
}

/// A tensor, and the mean and biased variance of its channels if the kernel that computed the tensor has computed these too.
pub(crate) type WithMoments<B> = (Tensor<B>, Option<[Tensor<B>; 2]>);

/// A tensor that is computed at its first read. The values that operations pass on share it.
pub(crate) struct Value<B: Backend> {
    shape: Shape,
    state: Mutex<State<B>>,
}

struct State<B: Backend> {
    tensor: Option<Tensor<B>>,
    recipe: Option<Recipe<B>>,
    /// In training mode, which rectified batch norm the tensor is.
    rectified: Option<RectifiedBatchNorm<B>>,
}

impl<B: Backend> Value<B> {
    pub(crate) fn computed(tensor: Tensor<B>) -> Self {
        let shape = *tensor.shape();
        Self { shape, state: Mutex::new(State { tensor: Some(tensor), recipe: None, rectified: None }) }
    }

    pub(crate) fn lazy(shape: Shape, recipe: Recipe<B>) -> Self {
        let rectified = match &recipe {
            Recipe::BatchNormRelu(norm) if norm.is_of_batch => {
                Some(RectifiedBatchNorm { norm: norm.clone(), z: None })
            }
            _ => None,
        };
        Self { shape, state: Mutex::new(State { tensor: None, recipe: Some(recipe), rectified }) }
    }

    /// z = relu(batch_norm(x) + residual), which is computed now.
    pub(crate) fn rectified_sum(norm: Arc<Normalization<B>>, residual: &Tensor<B>) -> Result<Self> {
        let z = norm.rectify(Some(residual))?;
        let rectified = norm.is_of_batch.then(|| RectifiedBatchNorm { norm, z: Some(z.clone()) });
        let shape = *z.shape();
        Ok(Self { shape, state: Mutex::new(State { tensor: Some(z), recipe: None, rectified }) })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The tensor. The first read computes it, and later reads return the same tensor.
    pub(crate) fn tensor(&self) -> Result<Tensor<B>> {
        let mut state = self.lock();
        if state.tensor.is_none() {
            let tensor = state.compute()?;
            state.keep(tensor);
        }
        state.tensor()
    }

    /// The tensor. If nobody has read it before, it is computed for this reader only and not kept.
    pub(crate) fn transient(&self) -> Result<Tensor<B>> {
        let state = self.lock();
        match &state.tensor {
            Some(tensor) => Ok(tensor.clone()),
            None => state.compute(),
        }
    }

    /// The tensor; and if the value is a convolution that nobody has read, also the mean and the biased variance of its channels.
    pub(crate) fn with_moments(&self) -> Result<WithMoments<B>> {
        let mut state = self.lock();
        let mut moments = None;
        if let (None, Some(Recipe::Convolution(convolution))) = (&state.tensor, &state.recipe) {
            let backend = convolution.w.backend();
            let channels = convolution.g.c_out;
            let mut found = [backend.allocate(channels)?, backend.allocate(channels)?];
            let tensor = convolution.compute(Some(found.each_mut()))?;
            let [mean, variance] = found.map(|buffer| Tensor::from_buffer(backend, &[channels], buffer));
            moments = Some([mean?, variance?]);
            state.keep(tensor);
        }
        drop(state);
        Ok((self.tensor()?, moments))
    }

    /// The batch norm, if this value is batch_norm(x) and nobody has read it yet.
    pub(crate) fn batch_norm(&self) -> Option<Arc<Normalization<B>>> {
        match &self.lock().recipe {
            Some(Recipe::BatchNorm(norm)) => Some(norm.clone()),
            _ => None,
        }
    }

    /// The batch norm and the residual, if this value is batch_norm(x) + residual and nobody has read it yet.
    pub(crate) fn batch_norm_sum(&self) -> Option<(Arc<Normalization<B>>, Tensor<B>)> {
        match &self.lock().recipe {
            Some(Recipe::BatchNormSum(norm, residual)) => Some((norm.clone(), residual.clone())),
            _ => None,
        }
    }

    /// The batch norm, if this value is relu(batch_norm(x)) and nobody has read it yet.
    pub(crate) fn unread_batch_norm_relu(&self) -> Option<Arc<Normalization<B>>> {
        match &self.lock().recipe {
            Some(Recipe::BatchNormRelu(norm)) => Some(norm.clone()),
            _ => None,
        }
    }

    /// The rectified batch norm, if this value is one, whether it was read or not. `None` in evaluation mode.
    pub(crate) fn rectified(&self) -> Option<RectifiedBatchNorm<B>> {
        self.lock().rectified.clone()
    }

    /// A panic in a kernel leaves the state as it was before the kernel.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> State<B> {
    fn compute(&self) -> Result<Tensor<B>> {
        match self.recipe.as_ref() {
            Some(Recipe::Convolution(convolution)) => convolution.compute(None),
            Some(Recipe::BatchNorm(norm)) => norm.normalize(),
            Some(Recipe::BatchNormSum(norm, residual)) => {
                let mut y = norm.normalize()?;
                let backend = residual.backend();
                backend.axpby(y.elements(), 1.0, residual.buffer(), 1.0, y.buffer_mut()?)?;
                Ok(y)
            }
            Some(Recipe::BatchNormRelu(norm)) => norm.rectify(None),
            None => self.tensor(),
        }
    }

    /// Keeps the tensor, and frees the recipe with its inputs.
    fn keep(&mut self, tensor: Tensor<B>) {
        self.tensor = Some(tensor);
        self.recipe = None;
    }

    fn tensor(&self) -> Result<Tensor<B>> {
        self.tensor.clone().ok_or_else(|| Error::external("a value has neither a tensor nor a recipe"))
    }
}

impl<B: Backend> Convolution<B> {
    /// y; with `moments`, the mean and biased variance of each channel are written there.
    fn compute(&self, moments: Option<[&mut B::Buffer; 2]>) -> Result<Tensor<B>> {
        let Self { g, x, w, bias } = self;
        let backend = w.backend();
        Tensor::build(backend, &g.y_shape(), |y| {
            let (w, bias) = (w.buffer(), bias.as_ref().map(Tensor::buffer));
            match (x, moments) {
                (ConvolutionInput::BatchNormRelu(norm), moments) => {
                    let z = BatchNormRelu { x: norm.x.buffer(), p: norm.operands(), z: None };
                    fused_kernels(backend)?.conv2d(g, &z, w, bias, y, moments)
                }
                (ConvolutionInput::Tensor(x), None) => backend.conv2d(g, x.buffer(), w, bias, y),
                (ConvolutionInput::Tensor(x), Some([mean, variance])) => {
                    backend.conv2d_with_moments(g, x.buffer(), w, bias, y, mean, variance)
                }
            }
        })
    }
}

/// The backend's fused kernels.
///
/// **Errors:** a backend that returned some when the recipe was made, and returns none now.
pub(super) fn fused_kernels<B: Backend>(backend: &B) -> Result<&dyn FusedKernels<B>> {
    backend.fused_kernels().ok_or_else(|| Error::Backend {
        backend: backend.name(),
        message: "offers fused kernels at one time and not at another".into(),
    })
}

impl<B: Backend> fmt::Debug for Value<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let what = match (&state.tensor, &state.recipe) {
            (Some(tensor), _) => return write!(f, "{tensor:?}"),
            (None, Some(Recipe::Convolution(_))) => "convolution",
            (None, Some(Recipe::BatchNorm(_))) => "batch norm",
            (None, Some(Recipe::BatchNormSum(..))) => "batch norm + residual",
            (None, Some(Recipe::BatchNormRelu(_))) => "batch norm + ReLU",
            (None, None) => "nothing",
        };
        write!(f, "{what}{:?}, not computed yet", self.shape)
    }
}
