//! relu(batch_norm(x)) folded into the convolution that reads it: computed where it is read, and kept in no memory.
//!
//! Forward saves the pass that writes it and the memory that holds it from then on; the weight's gradient, which reads it more than
//! once, has it computed again. Backward saves a pass too, for the convolution's input gradient is the batch norm's output
//! gradient: the sums over it are found while it is in cache.

use std::fmt::Debug;

use crate::backend::BatchNormOperands;
use crate::geometry::Conv2d;
use crate::{Backend, Result};

/// z = relu(batch_norm(x)), as what it is computed from.
///
/// **Shapes:** x `[rows, c]`, the operands `[c]`.
#[derive(Debug)]
pub struct Folded<'a, B: Backend> {
    /// What the batch norm reads.
    pub x: &'a B::Buffer,
    /// The batch norm's operands.
    pub p: BatchNormOperands<'a, B>,
}

/// A backend whose convolutions read z = relu(batch_norm(x)) without anybody having written it; see [`Backend::folding`].
///
/// All values are those of the methods of [`Backend`] that these stand for, up to the order of sums.
pub trait Folding<B: Backend>: Debug {
    /// y = conv2d(z, w) + bias; with `moments`, the mean and variance of y's channels, as [`Backend::conv2d_with_moments`]
    /// gives them.
    fn conv2d(
        &self,
        g: &Conv2d,
        z: &Folded<'_, B>,
        w: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
        moments: Option<[&mut B::Buffer; 2]>,
    ) -> Result<()>;

    /// The gradient at z, as [`Backend::conv2d_backward_input`] gives it, and the two sums over it that
    /// [`Backend::batch_norm_relu_backward`] begins with: dgamma and dbeta.
    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &Folded<'_, B>,
        w: &B::Buffer,
        dy: &B::Buffer,
        dz: &mut B::Buffer,
        dgamma: &mut B::Buffer,
        dbeta: &mut B::Buffer,
    ) -> Result<()>;

    /// The rest of [`Backend::batch_norm_relu_backward`], with the sums that are known: dx takes dz's place.
    fn batch_norm_relu_backward(
        &self,
        g: &Conv2d,
        z: &Folded<'_, B>,
        dgamma: &B::Buffer,
        dbeta: &B::Buffer,
        dz: &mut B::Buffer,
    ) -> Result<()>;
}
