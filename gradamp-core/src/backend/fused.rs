//! Kernels that compute relu(batch_norm(x)) together with the operation that reads it.
//!
//! Forward, a convolution computes relu(batch_norm(x)) as it reads x. The result is written nowhere, which saves a pass
//! over memory and the memory itself; the convolution's weight gradient computes it a second time.
//!
//! Backward, the gradient at the rectifier's output is written by the operation that reads it: a convolution or a
//! max-pool. The batch norm's gradient begins with two sums over that gradient. The kernel finds them while each block is
//! in cache, after it has added the gradient that other readers handed over.

use std::fmt::Debug;

use super::layers::BatchNormOperands;
use super::memory::Memory;
use crate::Result;
use crate::geometry::{Conv2d, Pool2d, Rows};

/// z = relu(batch_norm(x) + residual), as what it is computed from.
///
/// **Shapes:** x and z `[rows, c]`, the operands `[c]`.
#[derive(Debug)]
pub struct BatchNormRelu<'a, B: Memory> {
    /// What the batch norm reads.
    pub x: &'a B::Buffer,
    /// The batch norm's operands.
    pub p: BatchNormOperands<'a, B>,
    /// What was written, where a residual is part of it; without one x tells where z is above 0.
    pub z: Option<&'a B::Buffer>,
}

/// The gradient that other readers of a value have handed over. A kernel adds it to its own: own · dz + scale · values.
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
/// Each kernel stands for two or three methods of [`Backend`](super::Backend) and gives their values, up to the order of
/// sums.
pub trait FusedKernels<B: Memory>: Debug {
    /// Whether convolutions of this shape have fused kernels. For other shapes the methods return an error.
    fn fuses(&self, g: &Conv2d) -> bool;

    /// y = conv2d(z, w) + bias for a z without residual. With `moments`, the mean and variance of y's channels are written
    /// too, as [`Device::conv2d_with_moments`](super::Device::conv2d_with_moments) writes them.
    fn conv2d(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, B>,
        w: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
        moments: Option<[&mut B::Buffer; 2]>,
    ) -> Result<()>;

    /// The gradient at z, as [`Layers::conv2d_backward_input`](crate::backend::Layers::conv2d_backward_input) gives it, plus what `others` have; and the two sums over it that
    /// [`Layers::batch_norm_relu_backward`](crate::backend::Layers::batch_norm_relu_backward) begins with: dgamma and dbeta.
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

    /// The gradient at z, as [`Layers::max_pool2d_backward`](crate::backend::Layers::max_pool2d_backward) gives it, and the two sums over it.
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

    /// The rest of [`Layers::batch_norm_relu_backward`](crate::backend::Layers::batch_norm_relu_backward), with the sums that are known: dx takes dz's place. With a residual dx has a
    /// place of its own, and what the rectifier lets through takes dz's.
    ///
    /// **Errors:** a residual without that place; a place without a residual.
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
