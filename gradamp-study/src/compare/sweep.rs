//! The cells of a sweep, each compared with its baseline.

use serde::{Deserialize, Serialize};

use super::analysis::{CellAnalysis, CellRuns, ChosenBy, Contrasts, SweepAnalysis, Trained, diverged};
use super::comparison::Comparison;
use super::course::Course;
use super::declared::ContrastResult;
use super::examples::Examples;
use super::member::{Group, Member, RunNumbers};
use super::options::Options;
use super::warnings;
use crate::run_folder::{RunData, RunStatus};
use crate::statistics::{Correction, Method, Summary};
use crate::sweep::{Cell, ResultLine, Role, SweepData, roles_in_words};
use crate::{Error, Result};

/// A sweep, cell by cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepComparison {
    /// The sweep's folder.
    pub root: String,
    /// The study's name.
    pub name: String,
    /// How the p-values of its cells are corrected.
    pub correction: Correction,
    /// The cells in plan order, baselines and controls among them.
    pub cells: Vec<CellComparison>,
    /// The contrasts that the study declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contrasts: Vec<ContrastResult>,
    /// The studied cell with the highest validation accuracy; `None` if a finished run has no validation accuracy. Baselines
    /// and controls are never chosen.
    pub chosen: Option<String>,
    /// Warnings that a reader should know before relying on the comparison.
    pub warnings: Vec<String>,
}

/// A cell of a sweep, and its difference to its baseline (A).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellComparison {
    /// Its name.
    pub name: String,
    /// Its role in the sweep.
    pub role: Role,
    /// Its value on each axis.
    pub axes: Vec<(String, String)>,
    /// The cell that it is compared with.
    pub baseline: Option<String>,
    /// The number of runs in the plan.
    pub planned: usize,
    /// The runs that are finished, by seed.
    pub runs: Vec<RunNumbers>,
    /// Test accuracy at the last evaluation.
    pub last: Option<Summary>,
    /// Validation accuracy in the best epochs.
    pub validation: Option<Summary>,
    /// Test accuracy in the best epochs.
    pub best: Option<Summary>,
    /// How many runs train at all; `None` if that is not known of some run.
    #[serde(default)]
    pub trained: Option<Trained>,
    /// The cell (B) against its baseline (A), where both have finished runs. `corrected_p` is over all cells of the sweep, or
    /// for a control over all controls.
    pub comparison: Option<Comparison>,
}

/// A cell, its finished runs, and those that diverged.
struct Row {
    cell: Cell,
    members: Vec<Member>,
    diverged: Vec<Course>,
}

impl SweepComparison {
    /// Compares every cell with its baseline, or against the cell called `baseline`.
    ///
    /// Runs that are not finished are left out, with a warning. If a run's folder was removed, its numbers come from
    /// `results.jsonl`.
    ///
    /// **Errors:** no cell is called `baseline`; no cell has a baseline; a damaged run folder.
    pub fn read(
        data: &SweepData,
        options: &Options,
        correction: Correction,
        baseline: Option<&str>,
    ) -> Result<Self> {
        let mut warnings = data.warnings.clone();
        let rows = rows(data, &mut warnings)?;
        check_baselines(&rows, data, baseline)?;
        let options = &options.for_sweep(&data.plan);
        let cell_runs = |row: &Row| CellRuns {
            cell: row.cell.clone(),
            runs: row.members.iter().map(|member| member.numbers.clone()).collect(),
            diverged: row.diverged.clone(),
        };
        let analysis =
            SweepAnalysis::new(rows.iter().map(cell_runs).collect(), options, correction, baseline);
        let mut notes = analysis.notes;
        let (contrasts, remarks) = ContrastResult::all(&data.plan, &analysis.cells);
        notes.extend(remarks);
        let chosen = analysis.best.filter(|best| best.chosen_by == ChosenBy::Validation);
        let mut cells = Vec::new();
        for (cell, row) in analysis.cells.into_iter().zip(&rows) {
            let baseline = find(&rows, cell.baseline.as_deref());
            cells.push(CellComparison::new(cell, row, baseline, options)?);
        }
        compare_examples(&mut cells, &rows, options.resamples);
        let mut all = Self {
            root: data.root.display().to_string(),
            name: data.plan.name.clone(),
            correction,
            contrasts,
            chosen: chosen.map(|best| best.name),
            cells,
            warnings,
        };
        all.warn(&rows);
        all.warnings.extend(notes);
        Ok(all)
    }

    /// The cells that are compared with `baseline`, in plan order.
    pub fn against(&self, baseline: Option<&str>) -> impl Iterator<Item = &CellComparison> {
        self.cells.iter().filter(move |cell| cell.baseline.as_deref() == baseline)
    }

    fn warn(&mut self, rows: &[Row]) {
        let all = || rows.iter().flat_map(|row| &row.members);
        if all().any(|member| member.numbers.best_validation_accuracy.is_none()) {
            self.warnings.insert(0, warnings::NO_VALIDATION.to_owned());
        }
        self.warnings.extend(warnings::places(all().filter_map(|member| member.data.as_ref())));
        let few = |cell: &&CellComparison| cell.planned < warnings::FEW_SEEDS;
        let few = self.cells.iter().filter(few).count();
        if few > 0 {
            let roles = roles_in_words(self.cells.iter().map(|cell| cell.role));
            self.warnings.push(format!(
                "{few} of {roles} have fewer than {} seeds: too few to estimate how much results vary between seeds",
                warnings::FEW_SEEDS
            ));
        }
        for cell in &self.cells {
            let Some(comparison) = &cell.comparison else { continue };
            if comparison.a.seeds() != comparison.b.seeds() {
                self.warnings.push(format!(
                    "{} and its baseline have different seeds: the test compares their means and not pairs of runs, and detects only \
                     larger differences",
                    cell.name
                ));
            }
        }
    }
}

impl CellComparison {
    fn new(analysis: CellAnalysis, row: &Row, baseline: Option<&Row>, options: &Options) -> Result<Self> {
        let comparison = match (baseline, analysis.against) {
            (Some(baseline), Some(contrasts)) => Some(compare(baseline, row, contrasts, options)?),
            _ => None,
        };
        let cell = analysis.cell;
        Ok(Self {
            planned: cell.runs.len(),
            name: cell.name,
            role: cell.role,
            axes: cell.axes,
            baseline: analysis.baseline,
            runs: analysis.runs,
            last: analysis.last,
            validation: analysis.validation,
            best: analysis.best,
            trained: analysis.trained,
            comparison,
        })
    }
}

/// The row of the cell with this name.
fn find<'a>(rows: &'a [Row], name: Option<&str>) -> Option<&'a Row> {
    rows.iter().find(|row| Some(row.cell.name.as_str()) == name)
}

/// Compares a cell (B) with its baseline (A), without the test examples.
fn compare(baseline: &Row, row: &Row, contrasts: Contrasts, options: &Options) -> Result<Comparison> {
    fn group(row: &Row) -> (Group, &[Member]) {
        (Group::new(&row.cell.name, &row.members), &row.members)
    }
    let diverged = [baseline.diverged.as_slice(), &row.diverged];
    let options = &Options { resamples: 0, ..options.clone() };
    Ok(Comparison::of_contrasts(group(baseline), group(row), diverged, contrasts, options)?)
}

/// Compares all cells with their baselines on the test examples.
fn compare_examples(cells: &mut [CellComparison], rows: &[Row], resamples: usize) {
    let mut compared: Vec<&mut Comparison> = Vec::new();
    let mut groups: Vec<(&[Member], &[Member], bool)> = Vec::new();
    for (cell, row) in cells.iter_mut().zip(rows) {
        let baseline = find(rows, cell.baseline.as_deref());
        if let (Some(comparison), Some(baseline)) = (cell.comparison.as_mut(), baseline) {
            groups.push((&baseline.members, &row.members, comparison.method == Method::Paired));
            compared.push(comparison);
        }
    }
    for (comparison, examples) in compared.into_iter().zip(Examples::between_each(&groups, resamples)) {
        comparison.examples = examples;
    }
}

/// The finished runs of every cell.
fn rows(data: &SweepData, warnings: &mut Vec<String>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for cell in data.cells() {
        let mut members = Vec::new();
        for line in cell.finished() {
            members.extend(member(data, line, warnings)?);
        }
        for status in [
            RunStatus::Diverged,
            RunStatus::Failed,
            RunStatus::Interrupted,
            RunStatus::StoppedEarly,
            RunStatus::Pending,
        ] {
            let runs: Vec<&str> =
                cell.runs.iter().filter(|run| run.status == status).map(|run| run.run.as_str()).collect();
            if !runs.is_empty() {
                warnings.push(left_out(&cell, status, &runs));
            }
        }
        members.sort_by_key(|member| member.numbers.seed);
        let diverged = diverged(data, &cell);
        rows.push(Row { cell, members, diverged });
    }
    Ok(rows)
}

fn left_out(cell: &Cell, status: RunStatus, runs: &[&str]) -> String {
    let (n, all) = (runs.len(), cell.runs.len());
    let name = &cell.name;
    match status {
        RunStatus::Diverged => format!(
            "{name}: {n} of {all} runs diverged and are left out of the means, so that the means of this cell are too high: {}",
            runs.join(", ")
        ),
        RunStatus::Pending => format!("{name}: {n} of {all} runs have not ended yet"),
        RunStatus::StoppedEarly => {
            format!(
                "{name}: {n} of {all} runs were stopped early, at a rung of successive halving, and are left out"
            )
        }
        _ => format!("{name}: {n} of {all} runs are left out ({status}): {}", runs.join(", ")),
    }
}

/// Reads a finished run from its folder, or from its line in `results.jsonl` if the folder was removed.
fn member(data: &SweepData, line: &ResultLine, warnings: &mut Vec<String>) -> Result<Option<Member>> {
    let folder = data.run_dir(&line.run);
    if folder.exists() {
        return Ok(Member::new(RunData::read(&folder)?));
    }
    warnings.push(format!(
        "{}: this run's folder was removed; its accuracies come from results.jsonl, and its cell has no time to a target and no \
         test over examples",
        folder.display()
    ));
    Ok(RunNumbers::of_line(&folder, line).map(|numbers| Member { numbers, data: None }))
}

/// **Errors:** no cell is called `baseline`; without `baseline`, no cell of the sweep has a baseline.
fn check_baselines(rows: &[Row], data: &SweepData, baseline: Option<&str>) -> Result<()> {
    let names = || rows.iter().map(|row| row.cell.name.as_str()).collect::<Vec<_>>().join(", ");
    let root = data.root.display();
    match baseline {
        Some(name) if rows.iter().all(|row| row.cell.name != name) => {
            Err(Error::request(format!("--baseline: {root} has no cell {name}; expected one of {}", names())))
        }
        None if rows.iter().all(|row| row.cell.baseline.is_none()) => Err(Error::request(format!(
            "{root}: this sweep has no baseline; name the cell to compare with: --baseline CELL, one of {}",
            names()
        ))),
        _ => Ok(()),
    }
}
