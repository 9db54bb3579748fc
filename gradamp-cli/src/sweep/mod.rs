//! `gradamp sweep`: trains the runs of a study, each in its own process.

mod args;
mod board;
mod child;
mod command;
mod estimate;
mod jobs;
mod planning;
mod preflight;
mod runner;
mod show;
mod submit;

pub use args::SweepArgs;
pub use command::sweep;
