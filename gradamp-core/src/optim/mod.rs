//! Optimisers: stochastic gradient descent as in PyTorch, and methods that change gradients before the step.
//!
//! **Order.** The backward pass computes a gradient and amplifies it. These methods follow, each if it is switched on:
//!
//! 1. centralisation ([`SgdSettings::centralise`]),
//! 2. normalisation, layer by layer or weight by weight ([`Normalise`]),
//! 3. adaptive clipping, unit by unit ([`AdaptiveClip`]),
//! 4. noise ([`GradientNoise`]),
//! 5. clipping by the norm of all gradients together, then by value,
//! 6. weight decay, which none of the methods above changes,
//! 7. the trust ratio of its layer ([`Lars`]), on gradient and decay alike,
//! 8. momentum,
//! 9. the learning rate, times that of its layer ([`LayerRate`]).
//!
//! All methods act on true values: amplification and loss scaling multiply a gradient's scalar, which each method takes
//! into account. A gradient that is not finite stays so, so that the step can still be skipped. A method that is switched
//! off costs nothing and changes no bit.

mod adaptive_clip;
mod incoming;
mod lars;
mod layer_rates;
mod noise;
mod normalise;
mod settings;
mod sgd;

pub use adaptive_clip::AdaptiveClip;
pub use lars::Lars;
pub use layer_rates::LayerRate;
pub use noise::GradientNoise;
pub use normalise::Normalise;
pub use settings::SgdSettings;
pub use sgd::Sgd;

pub use crate::parameters::ParameterSet;
