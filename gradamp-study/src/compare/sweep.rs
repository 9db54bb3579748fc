//! A sweep's cells, each held against its baseline.

use serde::{Deserialize, Serialize};

use super::comparison::{Asked, Comparison, Options};
use super::member::{Member, RunNumbers};
use super::warnings;
use crate::run_folder::RunData;
use crate::statistics::{Correction, Summary};
use crate::sweep::{Cell, ResultLine, Role, Status, SweepData};
use crate::{Error, Result};

/// All that is known of a sweep.
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
    /// The cell that is best on the validation examples, where every cell has any: the one to choose.
    pub chosen: Option<String>,
    /// What a reader has to know before believing any of it.
    pub warnings: Vec<String>,
}

/// A cell of a sweep, and how it does against its baseline (A).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellComparison {
    /// Its name.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// Where it stands on each axis.
    pub axes: Vec<(String, String)>,
    /// The cell that it is held against.
    pub baseline: Option<String>,
    /// How many runs it was to have.
    pub planned: usize,
    /// The runs that are finished, by seed.
    pub runs: Vec<RunNumbers>,
    /// Test accuracy at the last evaluation.
    pub last: Option<Summary>,
    /// Validation accuracy in the best epochs.
    pub validation: Option<Summary>,
    /// Test accuracy in the best epochs.
    pub best: Option<Summary>,
    /// The cell (B) against its baseline (A), where both have finished runs. `corrected_p` is over all cells of the sweep.
    pub comparison: Option<Comparison>,
}

/// A cell and its finished runs.
struct Row {
    cell: Cell,
    members: Vec<Member>,
}

impl SweepComparison {
    /// Holds every cell against its baseline, or against the cell called `baseline`.
    ///
    /// Runs that are not finished are left out and told of. A run whose folder is gone still has the numbers of
    /// `results.jsonl`.
    ///
    /// **Errors:** no such baseline; a sweep without any; a damaged run folder.
    pub fn of(
        data: &SweepData,
        options: &Options,
        correction: Correction,
        baseline: Option<&str>,
    ) -> Result<Self> {
        let mut warnings = data.warnings.clone();
        let rows = rows(data, &mut warnings)?;
        check_baselines(&rows, data, baseline)?;
        let mut cells = Vec::new();
        for row in &rows {
            cells.push(CellComparison::of(row, &rows, baseline, options)?);
        }
        let mut all = Self {
            root: data.root.display().to_string(),
            name: data.plan.name.clone(),
            correction,
            chosen: chosen(&cells),
            cells,
            warnings,
        };
        all.correct();
        all.warn(&rows);
        Ok(all)
    }

    /// Corrects the p-values of each measure over all cells.
    fn correct(&mut self) {
        let (mut last, mut best, mut epochs, mut seconds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for comparison in self.cells.iter_mut().filter_map(|cell| cell.comparison.as_mut()) {
            last.push(&mut comparison.last.corrected_p);
            best.extend(comparison.best.as_mut().map(|best| &mut best.corrected_p));
            if let Some(target) = &mut comparison.target {
                epochs.push(&mut target.epochs.corrected_p);
                seconds.push(&mut target.seconds.corrected_p);
            }
        }
        [last, best, epochs, seconds].into_iter().for_each(|places| self.correction.correct(places));
    }

    /// The cells that are held against `baseline`, in plan order.
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
            let n = self.cells.len();
            self.warnings.push(format!(
                "{few} of {n} cells have fewer than {} seeds: how much chance there is between seeds is not known",
                warnings::FEW_SEEDS
            ));
        }
        for cell in &self.cells {
            let Some(comparison) = &cell.comparison else { continue };
            if comparison.a.seeds() != comparison.b.seeds() {
                self.warnings.push(format!(
                    "{} has not the seeds of its baseline: they are compared as a whole and not pair by pair, which sees less",
                    cell.name
                ));
            }
        }
    }
}

impl CellComparison {
    fn of(row: &Row, rows: &[Row], baseline: Option<&str>, options: &Options) -> Result<Self> {
        let Row { cell, members } = row;
        let baseline = match baseline {
            Some(name) => (name != cell.name).then(|| name.to_owned()),
            None => cell.baseline.clone().filter(|name| *name != cell.name),
        };
        let against = baseline.as_ref().and_then(|name| rows.iter().find(|row| row.cell.name == *name));
        let comparison = match against {
            Some(against) => compare(against, row, options)?,
            None => None,
        };
        let mut runs: Vec<RunNumbers> = members.iter().map(|member| member.numbers.clone()).collect();
        runs.sort_by_key(|run| run.seed);
        let summary = |of: fn(&RunNumbers) -> Option<f64>| {
            let values: Option<Vec<f64>> = runs.iter().map(of).collect();
            values.filter(|values| !values.is_empty()).map(|values| Summary::of(&values))
        };
        Ok(Self {
            last: summary(|run| Some(run.last_test_accuracy)),
            validation: summary(|run| run.best_validation_accuracy),
            best: summary(|run| run.test_accuracy_at_best),
            name: cell.name.clone(),
            role: cell.role,
            axes: cell.axes.clone(),
            baseline,
            planned: cell.runs.len(),
            runs,
            comparison,
        })
    }
}

/// A cell (B) against its baseline (A). All cells of a baseline race to the same accuracy: by default the baseline's own.
fn compare(baseline: &Row, row: &Row, options: &Options) -> Result<Option<Comparison>> {
    let last: Vec<f64> = baseline.members.iter().map(|member| member.numbers.last_test_accuracy).collect();
    let own = || (Summary::of(&last).mean, "the baseline's mean last accuracy".to_owned());
    let options = Options {
        target: Some(options.target.clone().unwrap_or_else(own)),
        asked: Asked::Anything, // the study says what differs
        ..options.clone()
    };
    let group = |row: &Row| (row.cell.name.clone(), row.members.clone());
    let ((name_a, a), (name_b, b)) = (group(baseline), group(row));
    Ok(Comparison::of_members((&name_a, a), (&name_b, b), &options)?)
}

/// The finished runs of every cell.
fn rows(data: &SweepData, warnings: &mut Vec<String>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for cell in data.cells() {
        let mut members = Vec::new();
        for line in cell.finished() {
            members.extend(member(data, line, warnings)?);
        }
        for status in
            [Status::Diverged, Status::Failed, Status::Interrupted, Status::StoppedEarly, Status::Pending]
        {
            let runs: Vec<&str> =
                cell.runs.iter().filter(|run| run.status == status).map(|run| run.run.as_str()).collect();
            if !runs.is_empty() {
                warnings.push(left_out(&cell, status, &runs));
            }
        }
        rows.push(Row { cell, members });
    }
    Ok(rows)
}

fn left_out(cell: &Cell, status: Status, runs: &[&str]) -> String {
    let (n, all) = (runs.len(), cell.runs.len());
    let name = &cell.name;
    match status {
        Status::Diverged => format!(
            "{name}: {n} of {all} runs diverged and are in no mean, which is kinder to this cell than it deserves: {}",
            runs.join(", ")
        ),
        Status::Pending => format!("{name}: {n} of {all} runs have not ended yet"),
        Status::StoppedEarly => {
            format!("{name}: {n} of {all} runs were stopped early, as hopeless, and are left out")
        }
        _ => format!("{name}: {n} of {all} runs are left out ({status}): {}", runs.join(", ")),
    }
}

/// A finished run, by its folder or by what is left of it.
fn member(data: &SweepData, line: &ResultLine, warnings: &mut Vec<String>) -> Result<Option<Member>> {
    let folder = data.run_dir(&line.run);
    if folder.exists() {
        return Ok(Member::new(RunData::read(&folder)?));
    }
    warnings.push(format!(
        "{}: this run's folder is gone; its accuracies are those of results.jsonl, and its cell has no time to target and no \
         test over examples",
        folder.display()
    ));
    Ok(line.last_test_accuracy.map(|last_test_accuracy| Member {
        numbers: RunNumbers {
            run: folder.display().to_string(),
            seed: line.seed,
            outcome: line.status.name().to_owned(),
            epochs: line.epochs,
            last_test_accuracy,
            best_epoch: line.best_epoch,
            best_validation_accuracy: line.best_validation_accuracy,
            test_accuracy_at_best: line.test_accuracy_at_best,
            seconds: line.seconds,
        },
        data: None,
    }))
}

/// **Errors:** no cell called `baseline`; a sweep in which nothing has one.
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

/// The cell with the best validation accuracy.
fn chosen(cells: &[CellComparison]) -> Option<String> {
    let with_runs: Vec<&CellComparison> = cells.iter().filter(|cell| !cell.runs.is_empty()).collect();
    let accuracies: Option<Vec<f64>> =
        with_runs.iter().map(|cell| cell.validation.map(|validation| validation.mean)).collect();
    let best = with_runs.into_iter().zip(accuracies?).max_by(|a, b| a.1.total_cmp(&b.1));
    best.map(|(cell, _)| cell.name.clone())
}
