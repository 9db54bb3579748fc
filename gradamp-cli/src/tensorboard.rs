//! `gradamp tensorboard`: the event files of runs that are over.

use std::path::PathBuf;

use clap::Args;
use gradamp_study::tensorboard;

use crate::failure::Result;
use crate::output;

/// `gradamp tensorboard`
#[derive(Args, Debug)]
pub struct TensorboardArgs {
    /// Run folders, none of them still in training.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
}

/// Makes the event file of each run anew, and prints its path.
pub fn convert(args: &TensorboardArgs) -> Result<()> {
    for run in &args.runs {
        output::result(tensorboard::convert(run)?.display());
    }
    Ok(())
}
