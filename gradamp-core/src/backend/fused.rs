//! Kernels that compute relu(batch_norm(x)) together with the operation that reads it.
//!
//! **Forward.** A convolution computes relu(batch_norm(x)) while it reads x. The result is not stored, which saves memory and a pass
//! over it. The convolution's weight gradient computes the result again: while it reads x, or before.
//!
//! **Backward.** A convolution or a max-pool that reads the rectifier's output writes the gradient of this output. The batch norm's
//! gradient begins with two sums over this gradient. The kernel adds the gradient that other readers have handed over, and computes
//! the sums while each block is in cache.

use std::fmt::Debug;

use super::layers::BatchNormOperands;
use super::memory::Memory;
use crate::geometry::{Conv2d, Pool2d, Rows};
use crate::{Error, Result};

/// z = relu(batch_norm(x) + residual), by its operands.
///
/// **Shapes:** x and z `[rows, c]`, the operands `[c]`.
#[derive(Debug)]
pub struct BatchNormRelu<'a, B: Memory> {
    /// The input of the batch norm.
    pub x: &'a B::Buffer,
    /// The batch norm's operands.
    pub p: BatchNormOperands<'a, B>,
    /// The values of z, if there is a residual. Without a residual, kernels compute from x where z is above 0.
    pub z: Option<&'a B::Buffer>,
}

/// The gradient that other readers of a value have handed over. A kernel adds it to its own gradient dz: own · dz + scale · values.
#[derive(Debug)]
pub struct GradientShare<'a, B: Memory> {
    /// The other readers' gradient before its scalar, of the value's shape.
    pub values: &'a B::Buffer,
    /// The scalar of the other readers' gradient.
    pub scale: f32,
    /// The scalar of the kernel's own gradient.
    pub own: f32,
}

/// Kernels of a backend that compute z = relu(batch_norm(x)) together with its reader; see
/// [`Device::fused_kernels`](super::Device::fused_kernels).
///
/// Each kernel takes the place of two or three methods of [`Backend`](super::Backend) and gives their values, up to the order of
/// sums.
pub trait FusedKernels<B: Memory>: Debug {
    /// Whether convolutions of this shape have fused kernels. For other shapes the methods return an error.
    fn fuses(&self, g: &Conv2d) -> bool;

    /// y = conv2d(z, w) + bias for a z without residual. If there are `moments`, the mean and variance of y's channels are written too,
    /// as by [`Device::conv2d_with_moments`](super::Device::conv2d_with_moments).
    fn conv2d(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, B>,
        w: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
        moments: Option<[&mut B::Buffer; 2]>,
    ) -> Result<()>;

    /// dz, the gradient of z: that of [`Layers::conv2d_backward_input`](crate::backend::Layers::conv2d_backward_input), plus the gradient
    /// of `others`. Also the two sums over dz with which
    /// [`Layers::batch_norm_relu_backward`](crate::backend::Layers::batch_norm_relu_backward) begins: dgamma and dbeta.
    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, B>,
        w: &B::Buffer,
        dy: &B::Buffer,
        others: Option<GradientShare<'_, B>>,
        dz: &mut B::Buffer,
        dgamma: &mut B::Buffer,
        dbeta: &mut B::Buffer,
    ) -> Result<()>;

    /// Whether [`FusedKernels::conv2d_backward_weight`] computes z while it reads x. If not, as by default, z is computed before, by
    /// [`Layers::batch_norm_relu`](crate::backend::Layers::batch_norm_relu), and its buffer is freed after
    /// [`Layers::conv2d_backward_weight`](crate::backend::Layers::conv2d_backward_weight).
    fn fuses_weight_gradient(&self, _g: &Conv2d) -> bool {
        false
    }

    /// dw, the weight gradient of y = conv2d(z, w) for a z without residual.
    ///
    /// **Errors:** by default, since nothing calls it.
    fn conv2d_backward_weight(
        &self,
        g: &Conv2d,
        _z: &BatchNormRelu<'_, B>,
        _dy: &B::Buffer,
        _dw: &mut B::Buffer,
    ) -> Result<()> {
        Err(Error::external(format!("the weight gradient of {g:?} is not fused")))
    }

    /// dz, the gradient of z: that of [`Layers::max_pool2d_backward`](crate::backend::Layers::max_pool2d_backward). Also the two sums
    /// over dz.
    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        z: &BatchNormRelu<'_, B>,
        index: &B::Buffer,
        dy: &B::Buffer,
        dz: &mut B::Buffer,
        dgamma: &mut B::Buffer,
        dbeta: &mut B::Buffer,
    ) -> Result<()>;

    /// The rest of [`Layers::batch_norm_relu_backward`](crate::backend::Layers::batch_norm_relu_backward), once its sums are known.
    ///
    /// Without a residual, the gradient of x overwrites `dz`. With a residual, it is written to `dx`, and the masked gradient, which is
    /// that of the residual, overwrites `dz`.
    ///
    /// **Errors:** a residual without a buffer `dx`; a buffer `dx` without a residual.
    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        z: &BatchNormRelu<'_, B>,
        dgamma: &B::Buffer,
        dbeta: &B::Buffer,
        dz: &mut B::Buffer,
        dx: Option<&mut B::Buffer>,
    ) -> Result<()>;
}
