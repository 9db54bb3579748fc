//! The operations. Each file holds the forward of an operation and, right below it, its backward rule.
//!
//! Every forward has the same four steps: check (geometry), allocate, call (the backend), record (on the tape).

mod activation;
mod add;
mod batch_norm;
mod conv2d;
mod linear;
mod loss;
mod loss_scale;
mod pool;
mod relu;

pub use activation::{sigmoid, tanh};
pub use add::add;
pub use batch_norm::{BatchNorm, batch_norm};
pub use conv2d::{Convolution, conv2d};
pub use linear::linear;
pub use loss::{Loss, softmax_cross_entropy};
pub use loss_scale::loss_scale;
pub use pool::{max_pool2d, mean_pool};
pub use relu::relu;
