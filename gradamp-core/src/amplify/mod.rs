//! Gradient amplification: what to amplify, how much, and when.
//!
//! During a backward pass the gradients of some layers are multiplied by a factor. The [`AmplificationSettings`] name
//! the eligible layers, the [`AmplificationPolicy`] that decides among them, and the place where gradients are
//! multiplied. The [`Strategy`] names the epochs and their learning rates. The [`Amplifier`] is the backward hook that
//! multiplies. Since backward is linear in dy, the factor only multiplies a gradient's scalar: amplification needs no
//! pass over memory.
//!
//! **Order.** Amplification comes first, then gradient clipping, then weight decay (which is not amplified), then
//! momentum.
//!
//! **Factors compound.** k amplified layers on one path multiply the gradient upstream of all of them by factor^k: eight
//! layers at factor 2 give the first layer 256 times its gradient. [`gain`] computes the gain of every parameter.
//!
//! **Source:** S. Basodi, C. Ji, H. Zhang, Y. Pan, "Gradient Amplification: An Efficient Way to Train Deep Neural
//! Networks", Big Data Mining and Analytics 3(3), 196-207, 2020. What the paper leaves open is a setting here; no
//! default and no preset is claimed to be the paper's.

mod amplifier;
mod draw;
pub mod gain;
mod history;
mod policy;
mod policy_name;
mod policy_settings;
mod schedule;
mod selection;
mod settings;
mod strategy;

pub use amplifier::Amplifier;
pub use draw::{Draw, DrawRecord};
pub use gain::{Gain, ParameterGain};
pub use history::{EpochStatistics, History, Moments, SiteStatistics};
pub use policy::{AmplificationPolicy, PolicyContext, Predictability, Timing};
pub use policy_name::PolicyName;
pub use policy_settings::{
    DepthSettings, EqualiseSettings, FluctuationSettings, Measure, Measured, Profile, Side,
};
pub use schedule::{Curve, LearningRate, Moment, Schedule, Score, WarmUp};
pub use selection::{Selection, register_policy, registered_policies};
pub use settings::{AmplificationSettings, Draws, Placement, Redraw, Through};
pub use strategy::{Amplify, Phase, Strategy};

#[cfg(test)]
mod tests;
