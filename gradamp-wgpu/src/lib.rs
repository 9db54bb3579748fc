//! The gradamp backend in WGSL compute shaders, for Vulkan, Metal and DX12.
//!
//! [`Wgpu`] implements [`Backend`](gradamp_core::Backend): every operation forward and backward, the optimiser, gradient
//! statistics, data sets that stay on the device. It keeps all laws of the core's conformance suite.
//!
//! ```no_run
//! use gradamp_core::Tensor;
//! use gradamp_wgpu::{Choice, Options, Wgpu, adapters};
//!
//! # fn main() -> gradamp_core::Result<()> {
//! let adapter = Choice::Best.find(adapters())?;
//! let gpu = Wgpu::open(&adapter, &Options::default())?;
//! let x = Tensor::from_slice(&gpu, &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! println!("on {adapter}: {:?}", x.statistics()?);
//! # Ok(())
//! # }
//! ```
//!
//! `docs/architecture.md` follows one convolution from the model to the shader and back.

mod adapter;
mod backend;
mod batch_norm;
mod columns;
mod conv2d;
#[allow(unsafe_code, reason = "handles of the graphics API")]
mod device_memory;
mod elementwise;
mod faults;
mod gemm;
mod gpu;
mod im2col;
mod keep_images;
mod kernel;
mod loss;
mod memory;
mod open;
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
pub mod testing;
mod tile;
mod tune;
mod uploads;
mod winograd;

pub use adapter::{Adapter, Api, Choice, FastPaths, Kind, Limits, adapters};
pub use gpu::{Made, Wgpu};
pub use memory::Buffer;
pub use open::{Options, Precision};
pub use product::Pass;
pub use tune::{Tuned, Tuning};
