//! The command line of `gradamp watch`.

use std::path::PathBuf;

use clap::Args;

/// `gradamp watch`
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The folder of a run, finished or not, or of a sweep.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print one frame as plain text and leave.
    #[arg(long)]
    pub once: bool,
    /// With --once: columns and rows of the frame.
    #[arg(long, value_name = "COLUMNSxROWS", requires = "once", value_parser = size, allow_hyphen_values = true, default_value = "100x30")]
    pub size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let size =
        text.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    size.filter(|&(columns, rows)| (10..=1000).contains(&columns) && (3..=1000).contains(&rows)).ok_or_else(
        || {
            format!(
                "found {text:?}, expected columns and rows such as 100x30, 10x3 at the least and 1000x1000 at the most"
            )
        },
    )
}
