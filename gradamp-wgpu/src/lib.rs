//! The gradamp backend in WGSL compute shaders, for Vulkan, Metal and DX12.
//!
//! [`Wgpu`] implements [`Backend`](gradamp_core::Backend): every operation and its gradient, the optimiser, gradient
//! statistics, and data sets that stay on the device. It passes the core's conformance suite.
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
//! `docs/architecture.md` follows one convolution from the model to the shader and back. The modules form layers, from the
//! lowest to the highest: `shaders` and `device`; `algorithm`; `gpu`, the opened adapter; `ops`, the kernels of each
//! operation; `backend`, `self_test` and `tune`; `open`.

mod algorithm;
mod backend;
mod custom;
mod device;
mod gpu;
mod open;
mod ops;
mod self_test;
mod shaders;
pub mod testing;
mod tune;

pub use algorithm::ConvOp;
pub use custom::CustomKernel;
pub use device::adapter::{Adapter, Api, Choice, FastPaths, Kind, Limits, NoAdapter, adapters};
pub use device::memory::Buffer;
pub use gpu::{Counters, Wgpu};
pub use gradamp_core::backend::Precision;
pub use open::{OpenError, Options};
pub use tune::{Tuned, Tuning};
