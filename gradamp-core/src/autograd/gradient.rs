//! Gradients: a tensor and a scalar.
//!
//! Backward is linear in dy. Scaling a gradient multiplies its scalar, and every backward rule passes the scalar on. The scalar is
//! multiplied into values only by kernels that read the values anyway: the optimiser's step, and the sum of two branches.
//! Amplification therefore needs no pass over memory of its own.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::backend::{Backend, Statistics};
use crate::fusion::{GradientRecipe, LazyGradient, Normalization, Shares, Sums};
use crate::{Error, Result, Shape, Tensor};

/// The gradient of the loss with respect to some tensor: `scale` times some values. Clones share the values.
///
/// Scaling multiplies the scalar and touches no value, which is why amplification is free.
///
/// ```
/// use gradamp_core::prelude::*;
///
/// let values = Tensor::from_slice(&Reference, &[2], &[1.0, -3.0])?;
/// let gradient = Gradient::new(values).scaled(2.0);
/// assert_eq!(gradient.scale(), 2.0);
/// assert_eq!(gradient.unscaled()?.to_vec()?, [1.0, -3.0]);
/// assert_eq!(gradient.values()?.to_vec()?, [2.0, -6.0]);
/// # Ok::<(), gradamp_core::Error>(())
/// ```
pub struct Gradient<B: Backend> {
    source: Source<B>,
    shape: Shape,
    scale: f32,
}

/// Where the values before the scalar come from.
enum Source<B: Backend> {
    /// A tensor, with or without the sums over it with which the gradient of a batch norm begins.
    Tensor(Tensor<B>, Option<Sums<B>>),
    /// Ones everywhere. A backward pass begins with this gradient.
    Ones(B, OnceCell<Tensor<B>>),
    /// Computed at the first read. A fused kernel may make this unnecessary.
    Lazy(Rc<LazyGradient<B>>),
}

impl<B: Backend> Gradient<B> {
    /// The gradient whose values are `values`.
    pub fn new(values: Tensor<B>) -> Self {
        Self { shape: *values.shape(), source: Source::Tensor(values, None), scale: 1.0 }
    }

    /// A gradient of ones.
    pub fn ones(backend: &B, shape: Shape) -> Self {
        Self { source: Source::Ones(backend.clone(), OnceCell::new()), shape, scale: 1.0 }
    }

    pub(crate) fn with_sums((values, sums): (Tensor<B>, Sums<B>)) -> Self {
        Self { shape: *values.shape(), source: Source::Tensor(values, Some(sums)), scale: 1.0 }
    }

    pub(crate) fn lazy(shape: Shape, recipe: GradientRecipe<B>) -> Self {
        Self { source: Source::Lazy(Rc::new(LazyGradient::new(recipe))), shape, scale: 1.0 }
    }

    /// The same gradient with its scalar multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f32) -> Self {
        self.scale *= factor;
        self
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The scalar that multiplies [`Gradient::unscaled`].
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The values before the scalar.
    ///
    /// **Errors:** out of memory, if the values are computed now.
    pub fn unscaled(&self) -> Result<&Tensor<B>> {
        match &self.source {
            Source::Tensor(values, _) => Ok(values),
            Source::Ones(backend, cell) => {
                if let Some(ones) = cell.get() {
                    return Ok(ones);
                }
                let ones = Tensor::full(backend, &self.shape, 1.0)?;
                Ok(cell.get_or_init(|| ones))
            }
            Source::Lazy(lazy) => lazy.values(),
        }
    }

    /// The true values: the unscaled values times the scalar. The tensor is a new one unless the scalar is 1.
    pub fn values(&self) -> Result<Tensor<B>> {
        let unscaled = self.unscaled()?;
        if self.scale == 1.0 {
            return Ok(unscaled.clone());
        }
        Tensor::build(unscaled.backend(), &self.shape, |out| {
            unscaled.backend().axpby(unscaled.elements(), self.scale, unscaled.buffer(), 0.0, out)
        })
    }

    /// Statistics of the true values; the scalar is applied to the five numbers.
    pub fn statistics(&self) -> Result<Statistics> {
        Ok(self.unscaled()?.statistics()?.scaled(self.scale))
    }

    /// Whether all values are 1, so that a rule may use the scalar alone.
    pub fn is_ones(&self) -> bool {
        matches!(self.source, Source::Ones(..))
    }

    /// The values before the scalar, by value.
    ///
    /// **Errors:** as [`Gradient::unscaled`].
    pub fn into_unscaled(self) -> Result<Tensor<B>> {
        self.into_unscaled_with_sums().map(|(values, _)| values)
    }

    /// The values before the scalar, and the sums over them if these are known.
    pub(crate) fn into_unscaled_with_sums(self) -> Result<(Tensor<B>, Option<Sums<B>>)> {
        match self.source {
            Source::Tensor(values, sums) => Ok((values, sums)),
            Source::Lazy(lazy) => lazy.into_values(),
            Source::Ones(..) => self.unscaled().cloned().map(|ones| (ones, None)),
        }
    }

    /// The gradients that `norm` computes if this is the gradient of its output, before the scalar.
    pub(crate) fn through_batch_norm(self, norm: &Arc<Normalization<B>>) -> Result<Shares<B>> {
        if let Source::Lazy(lazy) = &self.source
            && let Some(shares) = lazy.through_batch_norm(norm)?
        {
            return Ok(shares);
        }
        norm.backward(&self.into_unscaled()?)
    }

    /// The sum a + b of two gradients. One pass over memory adds them, with the scalars as its coefficients.
    ///
    /// **Errors:** unequal shapes.
    pub fn sum(a: Self, b: Self) -> Result<Self> {
        if a.shape != b.shape {
            return Err(Error::shape(
                "gradient sum",
                format!("shares of shapes {:?} and {:?}", a.shape, b.shape),
            ));
        }
        match (&a.source, &b.source) {
            (_, Source::Lazy(lazy)) if lazy.adds() => return Self::fused_sum(lazy.clone(), b.scale, a),
            (Source::Lazy(lazy), _) if lazy.adds() => return Self::fused_sum(lazy.clone(), a.scale, b),
            _ => {}
        }
        let (a_scale, b_scale) = (a.scale, b.scale);
        let (a, b) = (a.into_unscaled()?, b.into_unscaled()?);
        // Write into the one that nobody else holds, so that no copy is made.
        let ((mut y, y_scale), (x, x_scale)) =
            if a.is_unique() { ((a, a_scale), (b, b_scale)) } else { ((b, b_scale), (a, a_scale)) };
        let backend = y.backend().clone();
        backend.axpby(x.elements(), x_scale, x.buffer(), y_scale, y.buffer_mut()?)?;
        Ok(Self::new(y))
    }

    /// own · lazy + other, in the kernel that computes the lazy one.
    fn fused_sum(lazy: Rc<LazyGradient<B>>, own: f32, other: Self) -> Result<Self> {
        let scale = other.scale;
        let other = other.into_unscaled()?;
        lazy.with(own, &other, scale).map(Self::with_sums)
    }
}

impl<B: Backend> Clone for Gradient<B> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Tensor(values, sums) => Source::Tensor(values.clone(), sums.clone()),
            Source::Ones(backend, cell) => Source::Ones(backend.clone(), cell.clone()),
            Source::Lazy(lazy) => Source::Lazy(lazy.clone()),
        };
        Self { source, shape: self.shape, scale: self.scale }
    }
}

impl<B: Backend> fmt::Debug for Gradient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gradient{:?} × {}", self.shape, self.scale)
    }
}
