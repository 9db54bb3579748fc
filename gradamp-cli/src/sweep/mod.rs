//! `gradamp sweep`: the runs of a study, each a process of its own.

mod args;
mod board;
mod child;
mod command;
mod estimate;
mod planning;
mod preflight;
mod runner;
mod show;

pub use args::SweepArgs;
pub use command::sweep;
