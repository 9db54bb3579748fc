//! Gradient amplification: what to amplify, how much, and when.
//!
//! During a backward pass the gradients of some layers are multiplied by a factor. The [`AmplificationSettings`] say
//! which layers are eligible, how many of them are drawn, how often, and by what and where their gradients are
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
mod schedule;
mod selection;
mod settings;
mod strategy;

pub use amplifier::Amplifier;
pub use draw::{Draw, DrawRecord};
pub use gain::{Gain, ParameterGain};
pub use schedule::{Curve, Schedule, WarmUp};
pub use selection::Selection;
pub use settings::{AmplificationSettings, Overrides, Placement, Redraw};
pub use strategy::{Amplify, Phase, Strategy};

#[cfg(test)]
mod tests;
