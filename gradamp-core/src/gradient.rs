//! A gradient on its way down: a tensor and a scalar.
//!
//! Backward is linear in dy. So whoever scales a gradient scales a number, every backward rule passes that number on,
//! and it meets the values only where values meet anyway: in the optimiser's read of a parameter's gradient and at
//! the sum of two branches. Amplification therefore costs no pass over memory.

use std::cell::OnceCell;
use std::fmt;

use crate::backend::{Backend, Statistics};
use crate::{Error, Result, Shape, Tensor};

type Compute<B> = Box<dyn Fn() -> Result<Tensor<B>>>;

/// The gradient of the loss with respect to some tensor: `scale` times some values.
pub struct Gradient<B: Backend> {
    source: Source<B>,
    shape: Shape,
    scale: f32,
    sums: Option<Sums<B>>,
}

/// Σ_r dz · x̂ and Σ_r dz over a gradient's values before the scalar, with dz what the rectifier under them lets through: where the
/// operation that made them found them on its way.
#[derive(Clone)]
pub(crate) struct Sums<B: Backend> {
    pub(crate) dgamma: Tensor<B>,
    pub(crate) dbeta: Tensor<B>,
}

enum Source<B: Backend> {
    Tensor(Tensor<B>),
    /// Ones everywhere: where a backward pass begins.
    Ones(B, OnceCell<Tensor<B>>),
    /// The values inside a fused operation, computed only if somebody asks.
    Deferred(Compute<B>, OnceCell<Tensor<B>>),
}

impl<B: Backend> Gradient<B> {
    /// The gradient whose values are `values`.
    pub fn new(values: Tensor<B>) -> Self {
        Self { shape: *values.shape(), source: Source::Tensor(values), scale: 1.0, sums: None }
    }

    /// A gradient of ones.
    pub fn ones(backend: &B, shape: Shape) -> Self {
        Self { source: Source::Ones(backend.clone(), OnceCell::new()), shape, scale: 1.0, sums: None }
    }

    /// A gradient inside a fused operation: `compute` runs only if a hook asks for values, and not if they are `known`.
    pub fn deferred(
        shape: Shape,
        known: Option<Tensor<B>>,
        compute: impl Fn() -> Result<Tensor<B>> + 'static,
    ) -> Self {
        let cell = known.map_or_else(OnceCell::new, OnceCell::from);
        Self { source: Source::Deferred(Box::new(compute), cell), shape, scale: 1.0, sums: None }
    }

    pub(crate) fn with_sums(self, sums: Sums<B>) -> Self {
        Self { sums: Some(sums), ..self }
    }

    /// The sums that a batch norm's backward begins with, where they are known.
    pub(crate) fn sums(&self) -> Option<&Sums<B>> {
        self.sums.as_ref()
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
    pub fn unscaled(&self) -> Result<&Tensor<B>> {
        match &self.source {
            Source::Tensor(values) => Ok(values),
            Source::Ones(backend, cell) => remember(cell, || Tensor::full(backend, &self.shape, 1.0)),
            Source::Deferred(compute, cell) => remember(cell, compute),
        }
    }

    /// The true values: unscaled values times the scalar, in a tensor of their own where the scalar is not 1.
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

    /// Whether these are ones everywhere, so that a rule may use the scalar alone.
    pub fn is_ones(&self) -> bool {
        matches!(self.source, Source::Ones(..))
    }

    /// Whether these are the values inside a fused operation, which no hook has replaced.
    pub fn is_deferred(&self) -> bool {
        matches!(self.source, Source::Deferred(..))
    }

    /// The values before the scalar, by value; `None` for deferred values that nobody asked for.
    pub fn into_computed(self) -> Result<Option<Tensor<B>>> {
        match self.source {
            Source::Deferred(_, cell) => Ok(cell.into_inner()),
            _ => self.into_unscaled().map(Some),
        }
    }

    /// The values before the scalar, by value.
    pub fn into_unscaled(self) -> Result<Tensor<B>> {
        self.unscaled()?;
        match self.source {
            Source::Tensor(values) => Ok(values),
            Source::Ones(_, cell) | Source::Deferred(_, cell) => cell.into_inner().ok_or_else(|| {
                Error::external("a gradient's values were computed and not kept") // unscaled() fills the cell
            }),
        }
    }

    /// The sum of two gradients: a + b, where the scalars enter as the coefficients of one pass.
    ///
    /// **Errors:** unequal shapes.
    pub fn sum(a: Self, b: Self) -> Result<Self> {
        if a.shape != b.shape {
            return Err(Error::shape(
                "gradient sum",
                format!("shares of shapes {:?} and {:?}", a.shape, b.shape),
            ));
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
}

fn remember<B: Backend>(
    cell: &OnceCell<Tensor<B>>,
    compute: impl Fn() -> Result<Tensor<B>>,
) -> Result<&Tensor<B>> {
    if let Some(values) = cell.get() {
        return Ok(values);
    }
    let values = compute()?;
    Ok(cell.get_or_init(|| values))
}

impl<B: Backend> fmt::Debug for Gradient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gradient{:?} × {}", self.shape, self.scale)
    }
}
