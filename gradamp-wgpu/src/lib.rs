//! The gradamp backend in WGSL compute shaders, for Vulkan, Metal and DX12.

mod adapter;
mod backend;
mod batch_norm;
mod conv2d;
mod elementwise;
mod faults;
mod gemm;
mod gpu;
mod im2col;
mod keep_images;
mod kernel;
mod loss;
mod memory;
mod pool;
mod product;
mod rows;
mod self_test;
mod sgd;
mod shaders;
mod statistics;
mod stream;
mod strips;
mod template;
mod tune;
mod winograd;

pub use adapter::{Adapter, Api, Choice, FastPaths, Kind, Limits, adapters};
pub use gpu::{Made, Options, Precision, Wgpu};
pub use memory::Buffer;
pub use tune::{Tuned, Tuning};
