//! The gradamp backend in WGSL compute shaders, for Vulkan, Metal and DX12.

mod adapter;
mod backend;
mod conv2d;
mod elementwise;
mod faults;
mod gemm;
mod gpu;
mod kernel;
mod pool;
mod self_test;
mod shaders;
mod stream;
mod template;

pub use adapter::{Adapter, Api, Choice, FastPaths, Kind, Limits, adapters};
pub use gpu::{Made, Options, Precision, Wgpu};
pub use pool::Buffer;
