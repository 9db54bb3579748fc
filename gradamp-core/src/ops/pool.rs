use std::sync::Arc;

use crate::fusion::RectifiedBatchNorm;
use crate::geometry::{MeanPool, Pool2d};
use crate::{Backend, BackwardRule, Gradient, LayerKind, Pass, Result, Tape, Tensor, Var};

/// y = the largest value of each window; see [`Pool2d`].
///
/// **Shapes:** x `[n, h, w, c]`, y `[n, h_out, w_out, c]`.
/// **Errors:** a window that does not fit.
pub fn max_pool2d<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    size: usize,
    stride: usize,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let g = Pool2d::new(x.shape(), size, stride)?;
    let (backend, input) = (tape.backend(), x.tensor()?);
    let mut index = backend.allocate(g.y_shape().iter().product())?;
    let y = Tensor::build(&backend, &g.y_shape(), |y| backend.max_pool2d(&g, input.buffer(), y, &mut index))?;
    let z = x.value().rectified().filter(|_| backend.fused_kernels().is_some());
    let site = Some(tape.add_site(site, LayerKind::Pool)?);
    tape.record("max_pool2d", &[x], &[], site, y, MaxRule { g, index, z })
}

/// Keeps the position of each maximum: a quarter of x's elements for windows of 2. Positions are exact even if values are equal.
struct MaxRule<B: Backend> {
    g: Pool2d,
    index: B::Buffer,
    /// The operations that have computed x, if x is a rectified batch norm whose sums the kernel can compute.
    z: Option<RectifiedBatchNorm<B>>,
}

impl<B: Backend> BackwardRule<B> for MaxRule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let Self { g, index, z } = *self;
        let dx = match z {
            Some(z) => Gradient::with_sums(z.gradient(|fused, z, dz, [dgamma, dbeta]| {
                fused.max_pool2d_backward(&g, z, &index, dy.buffer(), dz, dgamma, dbeta)
            })?),
            None => Gradient::new(Tensor::build(dy.backend(), &g.x_shape(), |dx| {
                dy.backend().max_pool2d_backward(&g, &index, dy.buffer(), dx)
            })?),
        };
        drop(dy);
        pass.give(0, dx.scaled(scale))
    }
}

/// y = the mean over each image's pixels; see [`MeanPool`].
///
/// **Shapes:** x `[n, h, w, c]`, y `[n, c]`.
/// **Errors:** another rank.
pub fn mean_pool<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    let g = MeanPool::new(x.shape())?;
    let (backend, input) = (tape.backend(), x.tensor()?);
    let y = Tensor::build(&backend, &[g.n, g.c], |y| backend.mean_pool(&g, input.buffer(), y))?;
    let site = Some(tape.add_site(site, LayerKind::Pool)?);
    tape.record("mean_pool", &[x], &[], site, y, MeanRule { g, x_shape: x.shape().to_vec() })
}

/// Keeps no values, since dx = dy / pixels everywhere.
struct MeanRule {
    g: MeanPool,
    x_shape: Vec<usize>,
}

impl<B: Backend> BackwardRule<B> for MeanRule {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let dx = Tensor::build(dy.backend(), &self.x_shape, |dx| {
            dy.backend().mean_pool_backward(&self.g, dy.buffer(), dx)
        })?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}
