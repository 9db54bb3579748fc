//! The core of gradamp: tensors, a [`Backend`] trait with a small [`Reference`] implementation, a tape with backward hooks,
//! gradient amplification, layers, SGD and a trainer. The fast backends are crates of their own: `gradamp-cpu` and
//! `gradamp-wgpu`.
//!
//! | to | begin with |
//! |---|---|
//! | compute a gradient | [`Tape`], [`ops`], [`Gradients`] |
//! | look at a layer's gradient, or change it | [`Hooks`], [`BackwardHook`] |
//! | amplify gradients | [`amplify::AmplificationSettings`]; [`amplify::AmplificationPolicy`] for a policy of your own |
//! | write a model | [`nn`], [`Module`], [`Parameters`] |
//! | train | [`train::Trainer`] |
//! | write a backend | [`Backend`], and the feature `conformance`: the laws that every backend must keep |

#![forbid(unsafe_code)]

pub mod amplify;
pub mod augment;
mod autograd;
pub mod backend;
pub mod batch;
pub mod error;
pub mod files;
mod fusion;
pub mod geometry;
mod glob;
pub mod keep_images;
pub mod memory;
pub mod nn;
pub mod objective;
pub mod ops;
pub mod optim;
pub mod parameters;
pub mod random;
mod reference;
pub mod registry;
pub mod tensor;
pub mod train;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use autograd::{
    BackwardHook, BackwardRule, Gradient, GradientAction, Gradients, HookGuard, Hooks, LayerKind, Mode, Pass,
    Probe, Site, SiteId, Tape, Trace, TraceNode, Var,
};
pub use backend::Backend;
pub use batch::{Batch, BatchSource};
pub use error::{Error, Result};
pub use nn::Module;
pub use parameters::{Initial, InitialScheme, Initialisation, ParameterId, Parameters, Role};
pub use reference::Reference;
pub use tensor::{Shape, Tensor};

/// What nearly every user of this crate names: `use gradamp_core::prelude::*;`
pub mod prelude {
    pub use crate::backend::{Backend, Device, Layers, LinearAlgebra, Memory, OptimizerKernels};
    pub use crate::{
        BackwardHook, BackwardRule, Gradient, GradientAction, Hooks, LayerKind, Module, Parameters, Pass,
        Reference, Site, Tape, Tensor, Var,
    };
}

/// The code blocks of docs/adding-a-backend.md are compiled and run as tests of the documentation.
#[cfg(all(doctest, feature = "conformance"))]
#[doc = include_str!("../../docs/adding-a-backend.md")]
mod adding_a_backend {}

/// The code block of docs/adding-an-operation.md is compiled and run, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding-an-operation.md")]
mod adding_an_operation {}
