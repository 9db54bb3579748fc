//! Gradient amplification: what to amplify, how much, and when.
//!
//! During a backward pass the gradients of some layers are multiplied by a factor. The [`AmplificationSettings`] say
//! which layers are eligible, which [`AmplificationPolicy`] decides among them, and where their gradients are
//! multiplied; the [`Strategy`] says in which epochs, under which learning rates; the [`Amplifier`] is the backward hook
//! that does it. Since backward is linear in dy, the factor only multiplies a gradient's scalar: amplification costs
//! no pass over memory.
//!
//! **Order.** Amplification comes first, then gradient clipping, then weight decay (which is not amplified), then
//! momentum.
//!
//! **It compounds.** k amplified layers on one path multiply what arrives upstream of all of them by factor^k: eight
//! layers at factor 2 give the first layer 256 times its gradient. [`gain`] computes what every parameter gets.
//!
//! **Source:** S. Basodi, C. Ji, H. Zhang, Y. Pan, "Gradient Amplification: An Efficient Way to Train Deep Neural
//! Networks", Big Data Mining and Analytics 3(3), 196-207, 2020. Settings that its readers must choose are settings
//! here, and no default or preset is claimed to be the paper's.

mod amplifier;
mod draw;
pub mod gain;
mod history;
mod overrides;
mod policy;
mod schedule;
mod selection;
mod settings;
mod strategy;
mod through;

pub use amplifier::Amplifier;
pub use draw::{Draw, DrawRecord};
pub use gain::{Gain, ParameterGain};
pub use history::{EpochStatistics, History, Moments, SiteStatistics};
pub use overrides::Overrides;
pub use policy::{
    AmplificationPolicy, DepthChanges, DepthSettings, EqualiseChanges, EqualiseSettings, FluctuationChanges,
    FluctuationSettings, Measure, Measured, PolicyContext, Predictability, Profile, Side, Timing,
};
pub use schedule::{Curve, Schedule, WarmUp};
pub use selection::Selection;
pub use settings::{AmplificationSettings, Placement, PolicyName, Redraw, Through};
pub use strategy::{Amplify, Phase, Strategy};

pub(crate) use selection::owns;

#[cfg(test)]
mod tests;
