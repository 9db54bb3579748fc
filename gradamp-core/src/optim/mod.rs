//! Optimisers: SGD and AdamW as in PyTorch, a trait for others, and methods that change gradients before the step.
//!
//! **Order.** The backward pass computes a gradient and amplifies it. These methods follow, each if it is switched on:
//!
//! 1. centralisation ([`SgdSettings::centralise`]),
//! 2. normalisation, layer by layer or weight by weight ([`Normalise`]),
//! 3. adaptive clipping, unit by unit ([`AdaptiveClip`]),
//! 4. noise ([`GradientNoise`]),
//! 5. clipping by the norm of all gradients together, then by value,
//! 6. weight decay, which none of the methods above changes,
//! 7. the trust ratio of its layer ([`Lars`], with SGD), on gradient and decay alike,
//! 8. momentum, or the averages of [`AdamW`],
//! 9. the learning rate, times that of its layer ([`LayerRate`]).
//!
//! All methods act on true values: amplification and loss scaling multiply a gradient's scalar, which each method takes
//! into account. A gradient that is not finite stays so, so that the step can still be skipped. A method that is switched
//! off costs nothing and changes no bit.

mod adamw;
mod adaptive_clip;
mod choice;
mod incoming;
mod lars;
mod layer_rates;
mod methods;
mod noise;
mod normalise;
mod optimizer;
mod settings;
mod sgd;

pub use adamw::{AdamW, AdamWSettings};
pub use adaptive_clip::AdaptiveClip;
pub use choice::OptimizerSettings;
pub use lars::Lars;
pub use layer_rates::LayerRate;
pub use noise::GradientNoise;
pub use normalise::Normalise;
pub use optimizer::{Optimizer, StateTensor};
pub use settings::SgdSettings;
pub use sgd::Sgd;

pub use crate::parameters::ParameterSet;
use crate::{Backend, ParameterId, Tensor};

/// The state called `name` of the parameters that have one.
fn tensors<'a, B: Backend>(name: &'a str, state: &'a [Option<Tensor<B>>]) -> Vec<StateTensor<'a, B>> {
    let by_parameter =
        state.iter().enumerate().filter_map(|(i, tensor)| Some((ParameterId::at(i), tensor.as_ref()?)));
    by_parameter.map(|(id, tensor)| StateTensor { name, parameter: Some(id), tensor }).collect()
}
