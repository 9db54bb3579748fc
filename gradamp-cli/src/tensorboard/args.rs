//! The command line of `gradamp tensorboard`.

use std::path::PathBuf;

use clap::Args;

/// `gradamp tensorboard`
#[derive(Args, Debug)]
pub struct TensorboardArgs {
    /// Run folders, none of them still in training.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
}
