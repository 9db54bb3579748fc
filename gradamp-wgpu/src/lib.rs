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

mod algorithm;
mod backend;
mod device;
mod gpu;
mod open;
mod ops;
mod self_test;
mod shaders;
pub mod testing;
mod tune;

pub use device::adapter::{Adapter, Api, Choice, FastPaths, Kind, Limits, adapters};
pub use device::memory::Buffer;
pub use gpu::{Made, Wgpu};
pub use open::{Options, Precision};
pub use ops::conv2d::implicit_gemm::Pass;
pub use tune::{Tuned, Tuning};
