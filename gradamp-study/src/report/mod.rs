//! A run, several runs or a sweep as one page that needs neither network nor script.
//!
//! First the folders are read. Then each section is made of text, tables and figures. The chart of a figure is drawn for every
//! width that the page can have.

mod chart;
mod compared;
mod figure;
mod html;
mod range_test;
mod run;
mod subject;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use figure::Figure;
pub use html::Page;
pub use range_test::range_page;
use subject::Subject;

use crate::compare::Options;
use crate::run_folder::{RunData, RunFolder, commit, timestamp};
use crate::shell;
use crate::sweep::{SweepData, roles_in_words};
use crate::{Error, Result};

/// The most runs of a page: each has a colour of its own.
const MOST_RUNS: usize = chart::colour::SERIES;

/// The page about one run, one sweep, or several runs side by side.
///
/// **Errors:** a folder that holds neither a run nor a sweep; damaged files; more runs than there are colours.
pub fn page(folders: &[PathBuf]) -> Result<Page> {
    page_with(folders, &Options::default())
}

/// The page as [`page`] makes it, with the target accuracies and the smallest difference of these options.
pub fn page_with(folders: &[PathBuf], options: &Options) -> Result<Page> {
    match folders {
        [one] if SweepData::is_sweep(one) => page_of_sweep(one, options),
        [one] => page_of_run(one),
        several => page_of_runs(several, options),
    }
}

fn page_of_run(folder: &Path) -> Result<Page> {
    if folder.is_dir() && RunFolder::config_of(folder).is_err() {
        let message =
            "expected the folder of a run or of a sweep, found neither config.toml nor plan.json in it";
        return Err(Error::failed(format!("{}: {message}", folder.display())));
    }
    let data = RunData::read(folder)?;
    let run = Subject { name: data.name(), prefix: String::new(), data };
    let record = &run.data.record;
    let lead =
        format!("{} on {}, seed {}: {}.", record.model, record.dataset, record.seed, run::status(&run.data));
    Ok(Page {
        title: run.name.clone(),
        lead,
        sections: run::sections_of_run(&run)?,
        foot: foot(&[folder.to_owned()]),
    })
}

fn page_of_sweep(folder: &Path, options: &Options) -> Result<Page> {
    let sweep = SweepData::read(folder)?;
    let (runs, axes) = (sweep.plan.runs.len(), sweep.plan.axes.join(", "));
    let cells = roles_in_words(sweep.cells().iter().map(|cell| cell.role));
    let over = if axes.is_empty() { String::new() } else { format!(" over {axes}") };
    let lead = format!("A sweep{over}: {cells}; {runs} runs.");
    let sections = sweep::sections(&sweep, options)?;
    Ok(Page { title: sweep.plan.name, lead, sections, foot: foot(&[folder.to_owned()]) })
}

fn page_of_runs(folders: &[PathBuf], options: &Options) -> Result<Page> {
    if folders.len() > MOST_RUNS {
        let message = format!(
            "found {} runs, expected at most {MOST_RUNS} side by side; the folder of a sweep may hold any number",
            folders.len()
        );
        return Err(Error::request(message));
    }
    let runs = folders.iter().map(|folder| RunData::read(folder)).collect::<Result<Vec<_>>>()?;
    let subject = |(i, data): (usize, RunData)| {
        let is_twin =
            folders.iter().enumerate().any(|(j, other)| i != j && other.file_name() == data.root.file_name());
        let name = if is_twin { data.root.display().to_string() } else { data.name() };
        let letter = char::from(b'a'.wrapping_add(i as u8));
        Subject { name, prefix: format!("{letter}-"), data }
    };
    let runs: Vec<Subject> = runs.into_iter().enumerate().map(subject).collect();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let (summary, rest) = run::sections_of_runs(&runs)?;
    let mut sections = vec![summary];
    sections.extend(compared::section(&runs, options)?);
    sections.extend(rest);
    let lead = format!("{} runs side by side.", runs.len());
    Ok(Page { title: names.join(" · "), lead, sections, foot: foot(folders) })
}

fn foot(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let commit = commit().map(|commit| format!(" ({})", commit.chars().take(12).collect::<String>()));
    format!(
        "Made by {}{} from {} at {}.",
        shell::program_version(),
        commit.unwrap_or_default(),
        folders.join(", "),
        timestamp().rfc3339()
    )
}
