//! Fusion by laziness: values and gradients that are computed at their first ordinary read.
//!
//! Operations record one node each: `relu(bn(conv(x)))` is three nodes with three sites. The output of an operation may be a
//! [`Recipe`] instead of a tensor. An operation that knows the recipe takes it in place of the tensor, and runs one kernel instead of
//! two or three. Any other reader gets the tensor.
//!
//! | forward: who reads | a recipe for | runs |
//! |---|---|---|
//! | batch norm (training) | a convolution | `conv2d_with_moments`: the statistics while y is in cache |
//! | rectifier | a batch norm, perhaps plus a residual | `batch_norm_relu` |
//! | convolution | a rectified batch norm that nobody else reads | [`FusedKernels::conv2d`](crate::backend::FusedKernels::conv2d) |
//!
//! In backward, a [`LazyGradient`] is a recipe for a gradient: for the one that a rectifier hands to its batch norm, or for the one that
//! a convolution hands to a rectified batch norm.
//!
//! Recipes are invisible to models and hooks. A hook that reads a gradient's values gets them, and the fused kernel runs afterwards as
//! if the hook had not read them.

mod gradient;
mod normalization;
mod value;

pub(crate) use gradient::{
    ConvInputGradient, LazyGradient, MaskedGradient, Recipe as GradientRecipe, Sums, relu_backward,
};
pub(crate) use normalization::{Normalization, Shares};
pub(crate) use value::{Convolution, ConvolutionInput, Recipe, RectifiedBatchNorm, Value};
