//! Fusion by laziness: values and gradients that are computed at their first ordinary read.
//!
//! Operations record one node each, as written: `relu(bn(conv(x)))` is three nodes with three sites. What an operation
//! leaves on the tape may be a [`Recipe`] instead of a tensor. An operation that knows the recipe takes it in place of
//! the tensor and runs one kernel where two or three would run; any other reader gets the tensor.
//!
//! | forward: who reads | a recipe for | runs |
//! |---|---|---|
//! | batch norm (training) | a convolution | `conv2d_with_moments`: the statistics while y is in cache |
//! | rectifier | a batch norm, perhaps plus a residual | `batch_norm_relu` |
//! | convolution | a rectified batch norm that nobody else reads | [`FusedKernels::conv2d`](crate::backend::FusedKernels::conv2d) |
//!
//! Backward has recipes of its own, in [`LazyGradient`]: what a rectifier hands to its batch norm, and what a
//! convolution hands to a rectified batch norm.
//!
//! Recipes change neither values nor hooks: a hook that asks for a gradient's values gets them, and the fused kernel
//! runs as if nobody had asked. This module is private; models, hooks and third parties never see a recipe.

mod gradient;
mod normalization;
mod value;

pub(crate) use gradient::{
    ConvInputGradient, LazyGradient, MaskedGradient, Recipe as GradientRecipe, Sums, relu_backward,
};
pub(crate) use normalization::{Normalization, Shares};
pub(crate) use value::{Convolution, ConvolutionInput, Recipe, RectifiedBatchNorm, Value};
