//! Optimisers: stochastic gradient descent as in PyTorch.

mod sgd;

pub use sgd::{NoDecay, Sgd, SgdSettings};
