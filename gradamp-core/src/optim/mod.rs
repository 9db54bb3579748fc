//! Optimisers: stochastic gradient descent as in PyTorch, and what may happen to gradients on their way to it.
//!
//! **Order.** A gradient comes from the backward pass, amplified. Then, each where it is asked for:
//!
//! 1. centralisation ([`SgdSettings::centralise`]),
//! 2. adaptive clipping, unit by unit ([`AdaptiveClip`]),
//! 3. noise ([`GradientNoise`]),
//! 4. clipping by the norm of all gradients together, then by value,
//! 5. weight decay, which none of the above touches,
//! 6. the trust ratio of its layer ([`Lars`]), on gradient and decay alike,
//! 7. momentum,
//! 8. the learning rate, times that of its layer ([`LayerRate`]).
//!
//! All of them act on true values: amplification and loss scaling multiply a gradient's lazy scalar, which each method
//! takes into account. A gradient that is not finite stays so on this way, hence a step that skips what is not finite still
//! does. What is switched off costs nothing and changes no bit.

mod adaptive_clip;
mod centralise;
mod incoming;
mod lars;
mod layer_rates;
mod noise;
mod rate;
mod settings;
mod sgd;

pub use adaptive_clip::AdaptiveClip;
pub use lars::Lars;
pub use layer_rates::LayerRate;
pub use noise::GradientNoise;
pub use rate::Rate;
pub use settings::{ParameterSet, SgdSettings};
pub use sgd::Sgd;
