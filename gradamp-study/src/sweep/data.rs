//! The data in a sweep's folder: the source of comparisons and reports.

use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::plan::{Plan, Role, plain};
use super::results::ResultLine;
use crate::columns::{columns, header};
use crate::run_folder::{Error, Result, RunStatus, VERSION};
use crate::shell;
use crate::statistics::Summary;

pub(super) const PLAN: &str = "plan.json";
pub(super) const RESULTS: &str = "results.jsonl";
pub(super) const CSV: &str = "results.csv";

/// The data in the folder of a sweep that is finished, interrupted or going on.
#[derive(Clone, Debug)]
pub struct SweepData {
    /// The folder.
    pub root: PathBuf,
    /// `plan.json`
    pub plan: Plan,
    /// `results.jsonl`: a line for each run of the plan, in plan order.
    pub results: Vec<ResultLine>,
    /// Warnings for the reader, such as results of another version of the program.
    pub warnings: Vec<String>,
}

/// All runs that differ in the seed only.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The cell's name.
    pub name: String,
    /// The role of its runs.
    pub role: Role,
    /// Its value on each axis, as text.
    pub axes: Vec<(String, String)>,
    /// The cell that this cell is compared with, if there is a baseline.
    pub baseline: Option<String>,
    /// Its runs by seed, in plan order.
    pub runs: Vec<ResultLine>,
}

/// How many cells of each role there are, in words: `54 cells, 6 baselines, 54 controls`.
pub fn roles_in_words(roles: impl Iterator<Item = Role> + Clone) -> String {
    let count = |role: Role| roles.clone().filter(|other| *other == role).count();
    let told = |(role, one): (Role, &str)| match count(role) {
        0 if role != Role::Cell => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    let all = [(Role::Cell, "cell"), (Role::Baseline, "baseline"), (Role::Control, "control")];
    all.into_iter().filter_map(told).collect::<Vec<_>>().join(", ")
}

impl SweepData {
    /// Reads the sweep in `root`.
    ///
    /// **Errors:** a folder that holds no sweep; a plan or results that are damaged, half-written or of another form,
    /// with the line; results of other runs than the plan's.
    pub fn read(root: &Path) -> Result<Self> {
        let path = Self::plan_of(root)?;
        let plan = Plan::read(&path)?;
        let path = root.join(RESULTS);
        let results = read_results(&path, root)?;
        let again = format!("; {}", collect_again(root));
        if let Some(stray) = results.iter().find(|line| plan.run(&line.run).is_none()) {
            let message = format!("holds the run {}, which is not in {PLAN}{again}", stray.run);
            return Err(Error::broken(&path, message));
        }
        if results.len() != plan.runs.len() || !results.iter().zip(&plan.runs).all(|(a, b)| a.run == b.name) {
            let (found, expected) = (results.len(), plan.runs.len());
            let message =
                format!("expected the {expected} runs of {PLAN} in its order, found {found} lines{again}");
            return Err(Error::broken(&path, message));
        }
        let warnings = foreign_versions(&results);
        Ok(Self { root: root.to_owned(), plan, results, warnings })
    }

    /// The whole lines of `results.jsonl` of the sweep in `root`, for a reader that follows a sweep that is going on.
    ///
    /// **Errors:** a file that is missing; a line that is changed or of another version, with its number.
    pub fn results_so_far(root: &Path) -> Result<Vec<ResultLine>> {
        let path = root.join(RESULTS);
        let text = read_text(&path, root)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        parse_results(&path, root, whole)
    }

    /// Whether every line of the results has a seal.
    pub(super) fn are_results_sealed(root: &Path) -> bool {
        let text = files::read_to_string(&root.join(RESULTS)).unwrap_or_default();
        text.lines().all(ResultLine::is_sealed)
    }

    /// The plan of the sweep in `root`.
    ///
    /// **Errors:** a folder that holds no sweep.
    pub fn plan_of(root: &Path) -> Result<PathBuf> {
        let path = root.join(PLAN);
        match (root.is_dir(), path.is_file()) {
            (true, true) => Ok(path),
            (true, false) => {
                Err(Error::broken(root, format!("expected the folder of a sweep, found no {PLAN} in it")))
            }
            _ => Err(Error::broken(root, "expected the folder of a sweep, found no such folder")),
        }
    }

    /// Whether the folder at `root` looks like that of a sweep rather than that of a run.
    pub fn is_sweep(root: &Path) -> bool {
        root.join(PLAN).is_file()
    }

    /// The cells in plan order.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for (run, line) in self.plan.runs.iter().zip(&self.results) {
            match cells.last_mut() {
                Some(cell) if cell.name == run.cell => cell.runs.push(line.clone()),
                _ => cells.push(Cell {
                    name: run.cell.clone(),
                    role: run.role,
                    axes: run.axes.iter().map(|(axis, value)| (axis.clone(), plain(value))).collect(),
                    baseline: run.baseline.clone(),
                    runs: vec![line.clone()],
                }),
            }
        }
        cells
    }

    /// `plan.json` and `results.jsonl` of the sweep in `root`, for a reader that follows a sweep that is going on.
    pub fn files(root: &Path) -> [PathBuf; 2] {
        [root.join(PLAN), root.join(RESULTS)]
    }

    /// The folder of the run called `name` in the sweep in `root`.
    pub fn run_dir_in(root: &Path, name: &str) -> PathBuf {
        run_dir(root, name)
    }

    /// The settings of the run called `name` in the sweep in `root`.
    pub fn config_path_in(root: &Path, name: &str) -> PathBuf {
        config_path(root, name)
    }

    /// The folder of the run called `name`.
    pub fn run_dir(&self, name: &str) -> PathBuf {
        run_dir(&self.root, name)
    }

    /// The settings of the run called `name`, from which the run can be trained without the sweep.
    pub fn config_path(&self, name: &str) -> PathBuf {
        config_path(&self.root, name)
    }

    /// The runs that are not finished.
    pub fn unfinished(&self) -> impl Iterator<Item = &ResultLine> {
        self.results.iter().filter(|line| line.status != RunStatus::Finished)
    }
}

impl Cell {
    /// The finished runs.
    pub fn finished(&self) -> impl Iterator<Item = &ResultLine> {
        self.runs.iter().filter(|run| run.status == RunStatus::Finished)
    }
}

pub(super) fn run_dir(root: &Path, name: &str) -> PathBuf {
    root.join("runs").join(name)
}

pub(super) fn config_path(root: &Path, name: &str) -> PathBuf {
    root.join("configs").join(format!("{name}.toml"))
}

/// How to repair a damaged file of results.
pub(super) fn collect_again(root: &Path) -> String {
    let (program, root) = (shell::program(), shell::path(root));
    format!("`{program} sweep --collect {root}` writes the file again from the run folders")
}

fn read_text(path: &Path, root: &Path) -> Result<String> {
    let bytes = files::read(path).map_err(Error::io(path, "read"))?;
    String::from_utf8(bytes).map_err(|error| {
        Error::broken(
            path,
            format!("is damaged: expected UTF-8: {}; {}", error.utf8_error(), collect_again(root)),
        )
    })
}

/// The lines of `results.jsonl`.
fn read_results(path: &Path, root: &Path) -> Result<Vec<ResultLine>> {
    let text = read_text(path, root)?;
    if !text.is_empty() && !text.ends_with('\n') {
        let line = text.lines().count();
        return Err(Error::broken(path, format!("line {line}: is half-written; {}", collect_again(root))));
    }
    parse_results(path, root, &text)
}

fn parse_results(path: &Path, root: &Path, text: &str) -> Result<Vec<ResultLine>> {
    let line = |(i, line): (usize, &str)| {
        ResultLine::parse(line).map_err(|message| {
            Error::broken(path, format!("line {}: {message}; {}", i + 1, collect_again(root)))
        })
    };
    text.lines().enumerate().map(line).collect()
}

/// A warning if runs were made by other versions of gradamp than this one.
fn foreign_versions(results: &[ResultLine]) -> Vec<String> {
    let mut others: Vec<&str> = results.iter().map(|line| line.version.as_str()).collect();
    others.retain(|version| !version.is_empty() && *version != VERSION);
    others.sort_unstable();
    let runs = others.len();
    others.dedup();
    match runs {
        0 => Vec::new(),
        _ => vec![format!(
            "{runs} of {} runs were made by gradamp {}; this is {}",
            results.len(),
            others.join(", "),
            shell::program_version()
        )],
    }
}

/// The table of a sweep's cells: test accuracy over the seeds, mean and standard deviation.
pub fn cell_table(cells: &[Cell]) -> String {
    let mut rows =
        vec![header(["cell", "role", "finished", "test accuracy, last", "at best epoch", "best validation"])];
    for cell in cells {
        let of = |value: fn(&ResultLine) -> Option<f64>| {
            mean_and_deviation(&cell.finished().filter_map(value).collect::<Vec<_>>())
        };
        let finished = cell.finished().count();
        let stopped = cell.runs.iter().filter(|run| run.status == RunStatus::StoppedEarly).count();
        let note = if stopped > 0 { ", stopped early" } else { "" };
        rows.push(vec![
            cell.name.clone(),
            cell.role.to_string(),
            format!("{finished}/{}{note}", cell.runs.len()),
            of(|run| run.last_test_accuracy),
            of(|run| run.test_accuracy_at_best),
            of(|run| run.best_validation_accuracy),
        ]);
    }
    columns(&rows, "<<>>>>")
}

/// The mean and the standard deviation of a sample, such as `45.1 ± 0.8 %`; `-` without values.
fn mean_and_deviation(values: &[f64]) -> String {
    let Summary { n, mean, sd, .. } = Summary::of_values(values);
    match sd {
        _ if n == 0 => "-".into(),
        None => format!("{:.1} %", 100.0 * mean),
        Some(sd) => format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * sd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_the_deviation_of_a_sample() {
        assert_eq!(mean_and_deviation(&[]), "-");
        assert_eq!(mean_and_deviation(&[0.5]), "50.0 %");
        assert_eq!(mean_and_deviation(&[0.4, 0.5, 0.6]), "50.0 ± 10.0 %");
    }
}
