//! Optimisers: stochastic gradient descent as in PyTorch.

mod rate;
mod sgd;

pub use rate::Rate;
pub use sgd::{NoDecay, Sgd, SgdSettings};
