//! Mixed precision: convolutions and products of matrices whose factors are rounded to bf16, with products and sums in f32.
//!
//! Factors are rounded as they are read: images to a grid of pixels (`grid.rs`), weights to tiles (`weights.rs`). A micro-kernel
//! (`bf16/kernel.rs`) reads both where they lie, since its steps along the summed dimension are a list of places. Everything else
//! stays in f32: tensors, statistics, weights and optimiser.
//!
//! A matrix unit multiplies sixteen times as fast as vectors do, so that 3x3 convolutions are direct sums there, and not Winograd's.

mod backward_weight;
mod convolution;
mod grid;
mod linear;
#[cfg(test)]
mod tests;
mod tiles;
mod weights;

pub(crate) use backward_weight::backward_weight;
pub(crate) use convolution::{backward_input, conv2d};
pub(crate) use linear::gemm;
