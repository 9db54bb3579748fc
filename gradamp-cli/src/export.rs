//! `gradamp export`: one table of all epochs of runs, as CSV or Parquet.

use std::path::PathBuf;

use clap::Args;
use gradamp_models::file_behind;
use gradamp_study::export::{epochs, to_csv, to_parquet};
use gradamp_study::run_folder::{check_not_owned, write_file};

use crate::failure::{Failure, Result};
use crate::output;

/// `gradamp export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The folders of runs or sweeps. A sweep, or a folder that contains run folders, stands for all of its runs. *
    /// and ? are wildcards.
    #[arg(required = true, value_name = "RUN|SWEEP")]
    pub folders: Vec<PathBuf>,
    /// Write comma-separated values. This is the default.
    #[arg(long, conflicts_with = "parquet")]
    pub csv: bool,
    /// Write a Parquet file, which --output names.
    #[arg(long)]
    pub parquet: bool,
    /// The file to write. Without it, CSV is printed.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "output")]
    pub force: bool,
}

/// Writes the table.
///
/// **Errors:** Parquet is requested without a file to write; the file exists and `--force` is not given; a folder
/// holds no run; the file cannot be written.
pub fn export(args: &ExportArgs) -> Result<()> {
    if args.parquet && args.output.is_none() {
        return Err(Failure::usage("--parquet: expected a file to write, as in --output table.parquet"));
    }
    if let Some(path) = &args.output {
        check_not_owned(&file_behind(path)?)?; // checked before the runs are read, which may take long
        if path.exists() && !args.force {
            let message = "exists; expected the name of a new file, or --force to replace it";
            return Err(Failure::usage(format!("{}: {message}", path.display())));
        }
    }
    let table = epochs(&args.folders)?;
    let Some(path) = &args.output else {
        output::result(to_csv(&table).trim_end());
        return Ok(());
    };
    let bytes = if args.parquet { to_parquet(&table, path)? } else { to_csv(&table).into_bytes() };
    write_file(path, &bytes)?;
    output::message(format_args!(
        "{} rows of {} columns: {}",
        table.rows(),
        table.columns.len(),
        path.display()
    ));
    Ok(())
}
