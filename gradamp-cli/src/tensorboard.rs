//! `gradamp tensorboard`: writes the event files of runs that have ended.

use std::path::PathBuf;

use clap::Args;
use gradamp_study::tensorboard;

use crate::failure::Result;
use crate::output;

/// `gradamp tensorboard`
#[derive(Args, Debug)]
pub struct TensorboardArgs {
    /// The folders of runs that have ended.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
}

/// Writes the event file of each run again, and prints its path.
pub fn convert(args: &TensorboardArgs) -> Result<()> {
    for run in &args.runs {
        output::result(tensorboard::convert(run)?.display());
    }
    Ok(())
}
