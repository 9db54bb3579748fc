//! What a device must be able to do, as traits of one purpose each.
//!
//! | trait | purpose | required methods | provided methods |
//! |---|---|---|---|
//! | [`Memory`] | buffers, and copies from and to the host | 4 | 1 |
//! | [`LinearAlgebra`] | matrix products, windows as matrices, scaled sums | 6 | 2 |
//! | [`Layers`] | the layers' kernels, forward and backward | 10 | 14 |
//! | [`OptimizerKernels`] | the step, and numbers about gradients | 2 | 6 |
//! | [`Device`] | what only some devices do | 0 | 7 |
//!
//! A type that implements all five is a [`Backend`]. **Required** methods are what no other method can replace. **Provided**
//! methods are correct as they stand; a backend overrides those that it computes faster.
//!
//! The laws of every method are in the conformance suite (feature `conformance`). The [reference backend](crate::Reference)
//! is a small implementation to copy.
//!
//! ```
//! use gradamp_core::backend::{Backend, LinearAlgebra, Memory};
//! use gradamp_core::{Reference, Result};
//!
//! /// x + y, on any backend.
//! fn add<B: Backend>(backend: &B, x: &[f32], y: &[f32]) -> Result<Vec<f32>> {
//!     let (mut on_device, mut sum) = (backend.allocate(x.len())?, backend.allocate(x.len())?);
//!     backend.write(x, &mut on_device)?;
//!     backend.write(y, &mut sum)?;
//!     backend.axpby(x.len(), 1.0, &on_device, 1.0, &mut sum)?;
//!     let mut values = vec![0.0; x.len()];
//!     backend.read(&sum, &mut values)?;
//!     Ok(values)
//! }
//!
//! assert_eq!(add(&Reference, &[1.0, 2.0], &[0.5, 0.25])?, [1.5, 2.25]);
//! # Ok::<(), gradamp_core::Error>(())
//! ```

mod adamw;
mod device;
mod forward;
mod fused;
mod layers;
mod linear_algebra;
mod memory;
pub(crate) mod on_host;
mod optimizer;
mod precision;

pub use adamw::{AdamWCorrections, AdamWSlot, AdamWStep};
pub use device::Device;
pub use fused::{BatchNormRelu, FusedKernels, GradientShare};
pub use layers::{BatchNormOperands, Layers};
pub use linear_algebra::LinearAlgebra;
pub use memory::Memory;
pub use optimizer::{GateInput, OptimizerKernels, SgdSlot, SgdStep, Statistics, StepGate};
pub use precision::Precision;

/// A device that can train. Every type that implements the five traits is a backend.
pub trait Backend: Memory + LinearAlgebra + Layers + OptimizerKernels + Device {}

impl<B: Memory + LinearAlgebra + Layers + OptimizerKernels + Device> Backend for B {}
