//! The analysis of a sweep that [`SweepComparison`](super::SweepComparison) and reports share: the finished runs of each cell, each
//! cell against its baseline, and the best cell.

use super::contrast::Contrast;
use super::member::RunNumbers;
use super::options::{Options, method};
use crate::Result;
use crate::run_folder::RunData;
use crate::statistics::{ALPHA, Correction, Method, Summary};
use crate::sweep::{Cell, Role, SweepData};

/// A sweep, cell by cell.
#[derive(Clone, Debug)]
pub struct SweepAnalysis {
    /// How the p-values are corrected for the number of cells.
    pub correction: Correction,
    /// The cells in plan order, baselines and controls among them.
    pub cells: Vec<CellAnalysis>,
    /// The best of the studied cells; `None` if none of them has a finished run.
    pub best: Option<BestCell>,
}

/// A cell of a sweep, and its difference to its baseline.
#[derive(Clone, Debug)]
pub struct CellAnalysis {
    /// The cell.
    pub cell: Cell,
    /// The cell that it is compared with.
    pub baseline: Option<String>,
    /// The finished runs, by seed.
    pub runs: Vec<RunNumbers>,
    /// Test accuracy at the last evaluation.
    pub last: Option<Summary>,
    /// Validation accuracy in the best epochs; `None` if a run has none.
    pub validation: Option<Summary>,
    /// Test accuracy in the best epochs; `None` if a run has none.
    pub best: Option<Summary>,
    /// The cell (B) against its baseline (A); `None` if one of the two has no finished run.
    pub against: Option<Contrasts>,
}

/// Two groups of runs, compared by their accuracies on the test examples.
#[derive(Clone, Debug)]
pub struct Contrasts {
    /// How the groups are compared.
    pub method: Method,
    /// At the last evaluation.
    pub last: Contrast,
    /// In the best epochs; `None` if a run has none.
    pub best: Option<Contrast>,
}

/// The best cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestCell {
    /// Its name.
    pub name: String,
    /// Which examples chose it.
    pub chosen_by: ChosenBy,
}

/// Which examples chose the best cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The validation examples.
    Validation,
    /// The test examples at the last evaluation, because a run has no validation accuracy. The accuracy of the best cell
    /// is too high then.
    Test,
}

impl SweepAnalysis {
    /// Analyses the sweep with the default options. Reads the epochs of each finished run from its folder, or the numbers in
    /// `results.jsonl` if the folder was removed.
    ///
    /// **Errors:** a damaged run folder.
    pub fn read(data: &SweepData) -> Result<Self> {
        let mut cells = Vec::new();
        for cell in data.cells() {
            let mut runs = Vec::new();
            for line in cell.finished() {
                let folder = data.run_dir(&line.run);
                if !folder.exists() {
                    runs.extend(RunNumbers::of_line(&folder, line));
                } else if let (Some(record), epochs) = RunData::outline(&folder)? {
                    runs.extend(RunNumbers::of_epochs(&folder, &record, &epochs));
                }
            }
            cells.push((cell, runs));
        }
        Ok(Self::new(cells, &Options::default(), Correction::default(), None))
    }

    /// Analyses cells with their finished runs, each cell against its own baseline or against the cell called `baseline`.
    pub fn new(
        cells: Vec<(Cell, Vec<RunNumbers>)>,
        options: &Options,
        correction: Correction,
        baseline: Option<&str>,
    ) -> Self {
        let mut cells: Vec<CellAnalysis> =
            cells.into_iter().map(|(cell, runs)| CellAnalysis::new(cell, runs, baseline)).collect();
        let against: Vec<Option<Contrasts>> = cells
            .iter()
            .map(|cell| {
                let baseline = cells.iter().find(|other| Some(&other.cell.name) == cell.baseline.as_ref())?;
                Contrasts::between(&baseline.runs, &cell.runs, options)
            })
            .collect();
        cells.iter_mut().zip(against).for_each(|(cell, against)| cell.against = against);
        let (mut last, mut at_best) = (Vec::new(), Vec::new());
        for against in cells.iter_mut().filter_map(|cell| cell.against.as_mut()) {
            last.push(&mut against.last.corrected_p);
            at_best.extend(against.best.as_mut().map(|best| &mut best.corrected_p));
        }
        correction.correct(last);
        correction.correct(at_best);
        Self { correction, best: best(&cells), cells }
    }

    /// Whether every finished run has a validation accuracy, so that the test examples need not choose. `false` if no run
    /// is finished.
    pub fn is_validated(&self) -> bool {
        is_validated(&self.cells)
    }
}

impl CellAnalysis {
    fn new(cell: Cell, mut runs: Vec<RunNumbers>, baseline: Option<&str>) -> Self {
        runs.sort_by_key(|run| run.seed);
        let summary = |value: fn(&RunNumbers) -> Option<f64>| {
            let values: Option<Vec<f64>> = runs.iter().map(value).collect();
            values.filter(|values| !values.is_empty()).map(|values| Summary::of_values(&values))
        };
        Self {
            last: summary(|run| Some(run.last_test_accuracy)),
            validation: summary(|run| run.best_validation_accuracy),
            best: summary(|run| run.test_accuracy_at_best),
            baseline: match baseline {
                Some(name) => Some(name.to_owned()),
                None => cell.baseline.clone(),
            }
            .filter(|name| *name != cell.name),
            against: None,
            cell,
            runs,
        }
    }
}

impl Contrasts {
    /// Compares two groups, both sorted by seed; `None` if a group is empty.
    pub fn between(a: &[RunNumbers], b: &[RunNumbers], options: &Options) -> Option<Self> {
        let seeds = |runs: &[RunNumbers]| runs.iter().map(|run| run.seed).collect::<Vec<_>>();
        let method = method(&seeds(a), &seeds(b));
        let contrast = |value: fn(&RunNumbers) -> Option<f64>| {
            let values = |runs: &[RunNumbers]| runs.iter().map(value).collect::<Option<Vec<f64>>>();
            Contrast::between(&values(a)?, &values(b)?, method, options)
        };
        Some(Self {
            method,
            last: contrast(|run| Some(run.last_test_accuracy))?,
            best: contrast(|run| run.test_accuracy_at_best),
        })
    }
}

impl Contrast {
    /// Whether the corrected p-value is below the level of all tests.
    pub fn is_clear(&self) -> bool {
        self.corrected_p.is_some_and(|p| p < ALPHA)
    }
}

fn is_validated(cells: &[CellAnalysis]) -> bool {
    let mut runs = cells.iter().flat_map(|cell| &cell.runs).peekable();
    runs.peek().is_some() && runs.all(|run| run.best_validation_accuracy.is_some())
}

/// The best of the studied cells. Baselines and controls are what the cells are compared with and cannot be the best cell.
fn best(cells: &[CellAnalysis]) -> Option<BestCell> {
    let chosen_by = if is_validated(cells) { ChosenBy::Validation } else { ChosenBy::Test };
    let accuracy = |cell: &CellAnalysis| match chosen_by {
        ChosenBy::Validation => cell.validation,
        ChosenBy::Test => cell.last,
    };
    let studied = cells.iter().filter(|cell| cell.cell.role == Role::Cell);
    let accuracies = studied.filter_map(|cell| Some((cell, accuracy(cell)?.mean)));
    let (best, _) = accuracies.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(BestCell { name: best.cell.name.clone(), chosen_by })
}
