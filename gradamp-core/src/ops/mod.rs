//! The operations. Each file holds the forward of an operation and, right below it, its backward rule.
//!
//! Every public item of these files is an operation or an operand of one. Every forward has the same four steps: check (geometry), allocate, call (the backend), record (on the tape).

mod activation;
mod add;
mod batch_norm;
mod conv2d;
mod dropout;
mod linear;
mod loss;
mod loss_scale;
mod pool;
mod relu;

pub use activation::*;
pub use add::*;
pub use batch_norm::*;
pub use conv2d::*;
pub use dropout::*;
pub use linear::*;
pub use loss::*;
pub use loss_scale::*;
pub use pool::*;
pub use relu::*;
