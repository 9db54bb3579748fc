//! An example of a crate that extends gradamp with an amplification policy, a backward hook, two operations, three
//! models and a data set.
//!
//! `main.rs` is a program that uses all of them. `tests/training.rs` trains with the libraries only, without the
//! program.

mod data;
mod gelu;
mod model;
mod operation;
mod plain_vgg;
mod policy;
mod wide_resnet;

pub use data::stripes;
pub use gelu::gelu;
pub use model::LeakyNet;
pub use operation::leaky_relu;
pub use plain_vgg::PlainVgg11;
pub use policy::{Ceiling, Faded};
pub use wide_resnet::WideResNet10;
