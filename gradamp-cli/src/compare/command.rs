//! `gradamp compare`

use std::path::PathBuf;

use super::args::{CompareArgs, Question, group_name};
use super::comparison::Comparison;
use super::folders::run_folders;
use super::page::Form;
use super::sweep::SweepComparison;
use super::{show, sweep_show};
use crate::failure::{Failure, Result};
use crate::output;
use crate::run_folder::RunData;
use crate::sweep::SweepData;

/// Compares, and prints what is asked for.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let options = args.options()?;
    let form = if args.markdown { Form::Markdown } else { Form::Text };
    match args.question()? {
        Question::Sweep(root) => {
            let data = SweepData::read(&root)?;
            let sweep = SweepComparison::of(&data, &options, args.correction, args.baseline.as_deref())?;
            if args.json {
                print_json(&sweep, &sweep.warnings)?;
            } else {
                output::result(sweep_show::page(&sweep, form));
            }
        }
        Question::Groups(a, b) => {
            if args.baseline.is_some() {
                return Err(Failure::usage("--baseline names a cell of a sweep; found two groups of runs"));
            }
            let (folders_a, folders_b) = (run_folders("A", &a)?, run_folders("B", &b)?);
            check_apart(&folders_a, &folders_b)?;
            let (name_a, name_b) = (group_name(&a, &folders_a), group_name(&b, &folders_b));
            let a = (name_a.as_str(), read(&folders_a)?);
            let b = (name_b.as_str(), read(&folders_b)?);
            let comparison = Comparison::of_runs(a, b, &options)?;
            if args.json {
                print_json(&comparison, &comparison.warnings)?;
            } else {
                output::result(show::page(&comparison, form));
            }
        }
    }
    Ok(())
}

fn read(folders: &[PathBuf]) -> Result<Vec<RunData>> {
    folders.iter().map(|folder| RunData::read(folder)).collect()
}

/// **Errors:** a run that stands on both sides.
fn check_apart(a: &[PathBuf], b: &[PathBuf]) -> Result<()> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let on_both_sides = a.iter().find(|path| b.iter().any(|other| real(other) == real(path)));
    on_both_sides.map_or(Ok(()), |path| {
        Err(Failure::usage(format!("{} is in both groups; expected different runs", path.display())))
    })
}

/// Prints a document, and its warnings for those who see only what a filter leaves of it.
fn print_json(document: &impl serde::Serialize, warnings: &[String]) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::failed(format!("the comparison cannot be put as JSON: {error}")))?;
    warnings.iter().for_each(|warning| output::message(format_args!("warning: {warning}")));
    output::result(text);
    Ok(())
}
