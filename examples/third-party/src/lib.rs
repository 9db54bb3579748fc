//! What a third party adds to gradamp in its own crate: an amplification policy, a backward hook, an operation, a model
//! and a data set.
//!
//! `main.rs` makes a program of its own of them; `tests/training.rs` trains with the library alone.

mod data;
mod model;
mod operation;
mod plain_vgg;
mod policy;

pub use data::stripes;
pub use model::LeakyNet;
pub use operation::leaky_relu;
pub use plain_vgg::PlainVgg11;
pub use policy::{Ceiling, Faded};
