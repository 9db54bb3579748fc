//! The command line of `gradamp lr-find`.

use std::path::PathBuf;

use clap::Args;
use gradamp_study::config::number::{LARGEST, real, whole};

use crate::args::settings::SettingsArgs;

/// `gradamp lr-find`
#[derive(Args, Debug)]
pub struct LrFindArgs {
    /// The settings of the run whose learning rate is looked for.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The learning rate of the first step.
    #[arg(long, default_value_t = 1e-5, value_parser = real)]
    pub from: f64,
    /// The learning rate of the last step.
    #[arg(long, default_value_t = 10.0, value_parser = real)]
    pub to: f64,
    /// The number of steps; a test ends sooner where the loss diverges.
    #[arg(long, default_value_t = 100, value_parser = whole::<u64>(2..=LARGEST))]
    pub steps: u64,
    /// The share of the mean loss that each step keeps, in [0, 1).
    #[arg(long, default_value_t = 0.9, value_parser = real)]
    pub smoothing: f64,
    /// Also write a page with the curves.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print all steps and the suggested rates as one line of JSON.
    #[arg(long)]
    pub json: bool,
}
