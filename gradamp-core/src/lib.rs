//! The core of gradamp: tensors, a [`Backend`] trait, a tape with backward hooks, gradient amplification, layers,
//! SGD and a trainer. With the feature `cpu` (default) a multithreaded CPU backend, with the feature `conformance`
//! the laws that every backend must keep.

pub mod amplify;
pub mod augment;
pub mod backend;
pub mod batch;
pub mod error;
pub mod files;
pub mod folding;
pub mod geometry;
mod glob;
pub mod gradient;
pub mod hook;
pub mod keep_images;
pub mod memory;
pub mod nn;
mod operands;
pub mod ops;
pub mod optim;
pub mod parameters;
pub mod pass;
mod provided;
pub mod random;
pub mod tape;
pub mod tensor;
pub mod train;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "cpu")]
#[allow(unsafe_code, reason = "vector instructions, and the memory and threads beneath them")]
pub mod cpu;

pub use backend::Backend;
pub use batch::{Batch, BatchSource};
#[cfg(feature = "cpu")]
pub use cpu::Cpu;
pub use error::{Error, Result};
pub use gradient::Gradient;
pub use hook::{BackwardHook, GradientAction, HookGuard, Hooks, LayerKind, Site};
pub use nn::Module;
pub use parameters::{Initial, ParameterId, Parameters, Role};
pub use pass::{Gradients, Pass};
pub use tape::{BackwardRule, Mode, Tape, Trace, Var};
pub use tensor::{Shape, Tensor};
