//! `gradamp compare`: what a difference between runs is worth.
//!
//! Two groups of runs, A and B, or a sweep's cells and their baselines. Every difference is **B − A**, and groups with the
//! same seeds are compared pair by pair, since runs of one seed begin with the same parameters and see the same images in
//! the same order.

mod args;
mod arrival;
mod command;
mod comparison;
mod contrast;
mod examples;
mod folders;
mod member;
mod page;
mod settings;
mod show;
mod sweep;
mod sweep_show;
#[cfg(test)]
mod tests;
mod warnings;

pub use args::CompareArgs;
pub use arrival::{Arrivals, Contest, Target};
pub use command::compare;
pub use comparison::{Asked, Comparison, Group, Options, method};
pub use contrast::{Contrast, SeedsNeeded};
pub use examples::{Examples, PairOfRuns};
pub use member::{Member, RunNumbers};
pub use settings::SettingDifference;
pub use sweep::{CellComparison, SweepComparison};
