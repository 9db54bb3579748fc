//! The core of gradamp: tensors, a [`Backend`] trait, a tape with backward hooks, gradient amplification, layers,
//! SGD and a trainer. With the feature `cpu` (default) a multithreaded CPU backend, with the feature `conformance`
//! the laws that every backend must keep.

pub mod backend;
pub mod batch;
pub mod error;
pub mod geometry;
pub mod random;
pub mod tensor;

#[cfg(feature = "cpu")]
pub mod cpu;

pub use backend::Backend;
pub use batch::{Batch, BatchSource};
#[cfg(feature = "cpu")]
pub use cpu::Cpu;
pub use error::{Error, Result};
pub use tensor::{Shape, Tensor};
