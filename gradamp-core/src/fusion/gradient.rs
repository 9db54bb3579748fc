//! Gradients that are computed at their first read.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::normalization::Shares;
use super::value::fused_kernels;
use super::{Normalization, RectifiedBatchNorm, Value};
use crate::backend::{BatchNormRelu, FusedKernels, GradientShare};
use crate::geometry::Conv2d;
use crate::{Backend, Error, Result, Tensor};

/// The values of a gradient, before its scalar, as a recipe. All handles of a gradient share the recipe, and the values are computed
/// at most once.
pub(crate) struct LazyGradient<B: Backend> {
    /// `None` after a fused kernel has taken the recipe.
    recipe: RefCell<Option<Recipe<B>>>,
    found: OnceCell<(Tensor<B>, Option<Sums<B>>)>,
}

pub(crate) enum Recipe<B: Backend> {
    Masked(MaskedGradient<B>),
    ConvInput(ConvInputGradient<B>),
}

/// dz = dy where y > 0, and 0 elsewhere: the gradient that a rectifier hands to the batch norm before it, directly or through a sum.
pub(crate) struct MaskedGradient<B: Backend> {
    pub(crate) rectified: RectifiedBatchNorm<B>,
    pub(crate) y: Arc<Value<B>>,
    pub(crate) dy: Tensor<B>,
    pub(crate) sums: Option<Sums<B>>,
}

/// The input gradient of a convolution that reads a rectified batch norm. The kernel also computes the batch norm's sums, and adds the
/// gradient that other readers of the same value have handed over before.
pub(crate) struct ConvInputGradient<B: Backend> {
    pub(crate) g: Conv2d,
    pub(crate) z: RectifiedBatchNorm<B>,
    pub(crate) w: Tensor<B>,
    pub(crate) dy: Tensor<B>,
}

/// dgamma = Σ_r dz · x̂ and dbeta = Σ_r dz over a gradient's values before the scalar. dz is the gradient after the rectifier of the
/// batch norm `norm` has masked it.
pub(crate) struct Sums<B: Backend> {
    norm: Arc<Normalization<B>>,
    dgamma: Tensor<B>,
    dbeta: Tensor<B>,
}

impl<B: Backend> Clone for Sums<B> {
    fn clone(&self) -> Self {
        Self { norm: self.norm.clone(), dgamma: self.dgamma.clone(), dbeta: self.dbeta.clone() }
    }
}

impl<B: Backend> Sums<B> {
    /// Whether these are the sums with which the gradient of `norm` begins.
    pub(crate) fn are_of(&self, norm: &Arc<Normalization<B>>) -> bool {
        Arc::ptr_eq(&self.norm, norm)
    }
}

impl<B: Backend> RectifiedBatchNorm<B> {
    /// The gradient at z as `kernel` writes it, and the sums over it, which `kernel` finds on the way.
    pub(crate) fn gradient(
        &self,
        kernel: impl FnOnce(
            &dyn FusedKernels<B>,
            &BatchNormRelu<'_, B>,
            &mut B::Buffer,
            [&mut B::Buffer; 2],
        ) -> Result<()>,
    ) -> Result<(Tensor<B>, Sums<B>)> {
        let (backend, channels) = (self.norm.x.backend(), self.norm.g.channels);
        let mut sums = [backend.allocate(channels)?, backend.allocate(channels)?];
        let dz = Tensor::build(backend, self.norm.x.shape(), |dz| {
            kernel(fused_kernels(backend)?, &self.operands(), dz, sums.each_mut())
        })?;
        let [dgamma, dbeta] = sums.map(|sum| Tensor::from_buffer(backend, &[channels], sum));
        Ok((dz, Sums { norm: self.norm.clone(), dgamma: dgamma?, dbeta: dbeta? }))
    }
}

impl<B: Backend> ConvInputGradient<B> {
    /// Computes own · dz + scale · values, where `values` is the gradient that the other readers have handed over.
    fn compute(&self, others: Option<GradientShare<'_, B>>) -> Result<(Tensor<B>, Sums<B>)> {
        let Self { g, z, w, dy } = self;
        z.gradient(|fused, z, dz, [dgamma, dbeta]| {
            fused.conv2d_backward_input(g, z, w.buffer(), dy.buffer(), others, dz, dgamma, dbeta)
        })
    }
}

impl<B: Backend> MaskedGradient<B> {
    fn compute(&self) -> Result<Tensor<B>> {
        relu_backward(&self.y.transient()?, &self.dy)
    }

    /// The shares of the batch norm, and dz if the kernel has written it. It writes dz if there is a residual, since dz is the
    /// residual's gradient.
    fn through_batch_norm(self, wants_dz: bool) -> Result<(Shares<B>, Option<Tensor<B>>)> {
        let Self { rectified, y, mut dy, sums } = self;
        let norm = &rectified.norm;
        let backend = dy.backend().clone();
        let Some(Sums { dgamma, dbeta, .. }) = sums else {
            let mut dz = wants_dz.then(|| backend.allocate(dy.elements())).transpose()?;
            let shares = norm.backward_through_relu(&y.transient()?, &dy, dz.as_mut())?;
            let dz = dz.map(|dz| Tensor::from_buffer(&backend, dy.shape(), dz)).transpose()?;
            return Ok((shares, dz));
        };
        // Without a residual, dx overwrites dy; with a residual, dz does. If there is another handle on dy, `buffer_mut` copies it.
        let mut dx = rectified.z.as_ref().map(|_| backend.allocate(dy.elements())).transpose()?;
        let (z, known) = (rectified.operands(), [dgamma.buffer(), dbeta.buffer()]);
        let fused = fused_kernels(&backend)?;
        fused.batch_norm_relu_backward(&norm.g, &z, known[0], known[1], dy.buffer_mut()?, dx.as_mut())?;
        Ok(match dx {
            None => (Shares { dx: dy, dgamma, dbeta }, None),
            Some(dx) => {
                let dx = Tensor::from_buffer(&backend, dy.shape(), dx)?;
                (Shares { dx, dgamma, dbeta }, Some(dy))
            }
        })
    }
}

impl<B: Backend> LazyGradient<B> {
    pub(crate) fn new(recipe: Recipe<B>) -> Self {
        Self { recipe: RefCell::new(Some(recipe)), found: OnceCell::new() }
    }

    /// The values, and the sums over them if these are known.
    fn found(&self) -> Result<&(Tensor<B>, Option<Sums<B>>)> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = match &*self.recipe.borrow() {
            Some(Recipe::Masked(masked)) => (masked.compute()?, None),
            Some(Recipe::ConvInput(gradient)) => {
                let (dz, sums) = gradient.compute(None)?;
                (dz, Some(sums))
            }
            None => return Err(Error::external("a gradient was read after a fused kernel had taken it")),
        };
        Ok(self.found.get_or_init(|| found))
    }

    pub(crate) fn values(&self) -> Result<&Tensor<B>> {
        self.found().map(|(values, _)| values)
    }

    /// The values and their sums. They are not copied if this is the last handle.
    pub(crate) fn into_values(self: Rc<Self>) -> Result<(Tensor<B>, Option<Sums<B>>)> {
        self.found()?;
        let found = match Rc::try_unwrap(self) {
            Ok(last) => last.found.into_inner(),
            Err(shared) => shared.found.get().cloned(),
        };
        found.ok_or_else(|| Error::external("a gradient's values were computed and not kept"))
    }

    /// The gradients that `norm` computes if this is the gradient of its output, in one kernel with the rectifier after the batch norm.
    /// `None` if this gradient does not come from that rectifier. Other handles of this gradient read the values that the kernel has
    /// written.
    pub(crate) fn through_batch_norm(
        self: &Rc<Self>,
        norm: &Arc<Normalization<B>>,
    ) -> Result<Option<Shares<B>>> {
        let has_residual = match &*self.recipe.borrow() {
            Some(Recipe::Masked(masked)) if Arc::ptr_eq(&masked.rectified.norm, norm) => {
                masked.rectified.z.is_some()
            }
            _ => return Ok(None),
        };
        let wants_dz = Rc::strong_count(self) > 1 && self.found.get().is_none();
        if wants_dz && !has_residual {
            self.found()?;
        }
        let Some(Recipe::Masked(masked)) = self.recipe.take() else { return Ok(None) };
        let (shares, dz) = masked.through_batch_norm(wants_dz && has_residual)?;
        if let Some(dz) = dz {
            self.found.get_or_init(|| (dz, None));
        }
        Ok(Some(shares))
    }

    /// Whether [`LazyGradient::with`] can add another gradient in the kernel that computes this one.
    pub(crate) fn adds(&self) -> bool {
        matches!(&*self.recipe.borrow(), Some(Recipe::ConvInput(_)))
    }

    /// own · values + scale · others, in the kernel that computes these values; and the sums over the result. If a hook has read the
    /// values before, the kernel computes them again, so that hooks which only read change no bit.
    ///
    /// **Errors:** [`LazyGradient::adds`] is false for this gradient.
    pub(crate) fn with(&self, own: f32, others: &Tensor<B>, scale: f32) -> Result<(Tensor<B>, Sums<B>)> {
        match &*self.recipe.borrow() {
            Some(Recipe::ConvInput(gradient)) => {
                gradient.compute(Some(GradientShare { values: others.buffer(), scale, own }))
            }
            _ => Err(Error::external("a gradient without a convolution cannot add another one on the way")),
        }
    }
}

/// dx = dy where y > 0, and 0 elsewhere.
pub(crate) fn relu_backward<B: Backend>(y: &Tensor<B>, dy: &Tensor<B>) -> Result<Tensor<B>> {
    Tensor::build(y.backend(), y.shape(), |dx| {
        y.backend().relu_backward(y.elements(), y.buffer(), dy.buffer(), dx)
    })
}
