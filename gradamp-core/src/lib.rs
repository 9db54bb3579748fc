//! The core of gradamp: tensors, a [`Backend`] trait with a small [`Reference`] implementation, a tape with backward
//! hooks, gradient amplification, layers, SGD and a trainer. The feature `conformance` adds the laws that every backend
//! must keep. The fast backends are crates of their own: `gradamp-cpu` and `gradamp-wgpu`.

#![forbid(unsafe_code)]

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
mod reference;
pub mod tape;
pub mod tensor;
pub mod train;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use backend::Backend;
pub use batch::{Batch, BatchSource};
pub use error::{Error, Result};
pub use gradient::Gradient;
pub use hook::{BackwardHook, GradientAction, HookGuard, Hooks, LayerKind, Site};
pub use nn::Module;
pub use parameters::{Initial, ParameterId, Parameters, Role};
pub use pass::{Gradients, Pass};
pub use reference::Reference;
pub use tape::{BackwardRule, Mode, Tape, Trace, Var};
pub use tensor::{Shape, Tensor};
