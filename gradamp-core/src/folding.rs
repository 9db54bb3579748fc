//! relu(batch_norm(x)) folded into the convolution that reads it: computed where it is read, and kept in no memory.
//!
//! Forward saves the pass that writes it and the memory that holds it from then on; the weight's gradient, which reads it more than
//! once, has it computed again. Backward saves a pass too, for the convolution's input gradient is the batch norm's output
//! gradient: the sums over it are found while it is in cache. So they are where somebody wrote z, and where others read it too: their
//! share is added first; and where a pool reads it.

use std::fmt::Debug;

use crate::Result;
use crate::backend::{BatchNormOperands, Memory};
use crate::geometry::{Conv2d, Pool2d, Rows};

/// z = relu(batch_norm(x) + residual), as what it is computed from.
///
/// **Shapes:** x and z `[rows, c]`, the operands `[c]`.
#[derive(Debug)]
pub struct Rectified<'a, B: Memory> {
    /// What the batch norm reads.
    pub x: &'a B::Buffer,
    /// The batch norm's operands.
    pub p: BatchNormOperands<'a, B>,
    /// What was written, where a residual is part of it; without one x tells where z is above 0.
    pub z: Option<&'a B::Buffer>,
}

/// What other readers of a value have for its gradient, to be added to a convolution's: own · dz + scale · values.
#[derive(Debug)]
pub struct Share<'a, B: Memory> {
    /// Theirs, of the value's shape.
    pub values: &'a B::Buffer,
    /// The scalar of theirs.
    pub scale: f32,
    /// The scalar of the convolution's own.
    pub own: f32,
}

/// A backend whose convolutions read z = relu(batch_norm(x)) without anybody having written it, and which finds the sums of z's
/// gradient while it is written; see [`Device::folding`](crate::backend::Device::folding).
///
/// All values are those of the methods of [`Backend`](crate::Backend) that these stand for, up to the order of sums.
pub trait Folding<B: Memory>: Debug {
    /// Whether convolutions of this shape do so: where not, there is no such way, or it is not the faster one.
    fn folds(&self, g: &Conv2d) -> bool;

    /// y = conv2d(z, w) + bias for a z without residual; with `moments`, the mean and variance of y's channels, as [`Device::conv2d_with_moments`](crate::backend::Device::conv2d_with_moments)
    /// gives them.
    fn conv2d(
        &self,
        g: &Conv2d,
        z: &Rectified<'_, B>,
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
        z: &Rectified<'_, B>,
        w: &B::Buffer,
        dy: &B::Buffer,
        others: Option<Share<'_, B>>,
        dz: &mut B::Buffer,
        dgamma: &mut B::Buffer,
        dbeta: &mut B::Buffer,
    ) -> Result<()>;

    /// The gradient at z, as [`Layers::max_pool2d_backward`](crate::backend::Layers::max_pool2d_backward) gives it, and the two sums over it.
    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        z: &Rectified<'_, B>,
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
        z: &Rectified<'_, B>,
        dgamma: &B::Buffer,
        dbeta: &B::Buffer,
        dz: &mut B::Buffer,
        dx: Option<&mut B::Buffer>,
    ) -> Result<()>;
}
