//! `gradamp report`

use std::path::PathBuf;

use clap::Args;

/// `gradamp report`
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The folder of a run or of a sweep, or the folders of several runs to be laid side by side.
    #[arg(required = true, value_name = "RUN|SWEEP")]
    pub folders: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, short, default_value = "report.html", value_name = "FILE")]
    pub output: PathBuf,
    /// Write every figure as an SVG file into this folder too.
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
}
