//! `gradamp report`: writes an HTML page about a run, several runs or a sweep. The page needs no network and no
//! scripts.

use std::path::{Path, PathBuf};

use clap::Args;
use gradamp_models::file_behind;
use gradamp_study::compare::{Options, Targets};
use gradamp_study::config::number::real;
use gradamp_study::report;
use gradamp_study::run_folder::{check_not_owned, write_file};

use crate::compare::{accuracies, smallest_difference};
use crate::failure::{Failure, Result};
use crate::output;

/// `gradamp report`
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The folder of a run or a sweep, or the folders of several runs to show side by side.
    #[arg(required = true, value_name = "RUN|SWEEP")]
    pub folders: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, short, default_value = "report.html", value_name = "FILE")]
    pub output: PathBuf,
    /// For a sweep, or for runs side by side: measure the time until each of these test accuracies is reached, in
    /// percent, such as 60,70,75. Default: the targets that `gradamp compare` uses by default.
    #[arg(long, value_name = "ACCURACY", value_delimiter = ',', value_parser = real)]
    pub target: Vec<f64>,
    /// For a sweep: the smallest difference in accuracy that matters, in percentage points. With this option, also
    /// test whether each cell is equivalent to its baseline up to this difference.
    #[arg(long, value_name = "POINTS", value_parser = real)]
    pub smallest_difference: Option<f64>,
    /// Also write every figure as an SVG file into this folder.
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Also write the page's tables into this file, in LaTeX for the package booktabs.
    #[arg(long, value_name = "FILE")]
    pub latex: Option<PathBuf>,
}

/// Writes the page, and its figures if a folder is given for them.
pub fn report(args: &ReportArgs) -> Result<()> {
    check(&args.output)?; // checked before the runs are read, which may take long
    if let Some(path) = &args.latex {
        check(path)?;
    }
    if let Some(folder) = &args.figures {
        check_not_owned(&folder.join("figure.svg"))?;
    }
    let targets = match args.target.as_slice() {
        [] => Targets::Default,
        asked => Targets::Fixed(accuracies(asked)?, "as asked".into()),
    };
    let smallest_difference = args.smallest_difference.map(smallest_difference).transpose()?;
    let options = Options::default().with_targets(targets).with_smallest_difference(smallest_difference);
    let page = report::page_with(&args.folders, &options)?;
    write(&args.output, &page.html())?;
    output::message(format_args!("report: {}", args.output.display()));
    if let Some(path) = &args.latex {
        write(path, &page.latex())?;
        output::message(format_args!("tables: {}", path.display()));
    }
    if let Some(folder) = &args.figures {
        let figures = page.figures();
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::failed(format!("{}: cannot make this folder: {error}", folder.display()))
        })?;
        for figure in &figures {
            write(&folder.join(format!("{}.svg", figure.id)), &figure.file())?;
        }
        output::message(format_args!("{} figures: {}", figures.len(), folder.display()));
    }
    Ok(())
}

/// Writes a file completely or not at all.
fn write(path: &Path, text: &str) -> Result<()> {
    check(path)?;
    Ok(write_file(path, text.as_bytes())?)
}

/// Checks that a page can be written to `path`.
///
/// **Errors:** no file can be written at `path`, or it is a file of a run or a sweep.
fn check(path: &Path) -> Result<()> {
    let file = file_behind(path)?;
    Ok(check_not_owned(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_page_is_kept_if_a_new_one_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/report.html");
        assert!(write(&missing, "text").unwrap_err().to_string().contains("no/such"));
        let error = write(folder.path(), "text").unwrap_err().to_string();
        assert!(error.contains("found a folder"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no other file may be left");
    }
}
