//! The analysis of a sweep that [`SweepComparison`](super::SweepComparison) and reports share: the finished runs of each cell, each
//! cell against its baseline, and the best cell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::arrival::Target;
use super::contrast::Contrast;
use super::course::{Course, doubt_about_seconds};
use super::member::RunNumbers;
use super::options::{Options, method};
use super::page::points;
use crate::Result;
use crate::run_folder::{RunData, RunStatus};
use crate::statistics::{Correction, Method, Summary};
use crate::sweep::{Cell, ResultLine, Role, SweepData};

/// A sweep, cell by cell.
#[derive(Clone, Debug)]
pub struct SweepAnalysis {
    /// How the p-values are corrected: over all cells, and over all controls.
    pub correction: Correction,
    /// The cells in plan order, baselines and controls among them.
    pub cells: Vec<CellAnalysis>,
    /// The best of the studied cells; `None` if none of them has a finished run.
    pub best: Option<BestCell>,
    /// Whether seconds can be compared; if not, the notes say why.
    pub has_seconds: bool,
    /// Notes on the times to a target accuracy: why there are none in seconds, and which targets no run reaches.
    pub notes: Vec<String>,
}

/// A cell and its runs.
#[derive(Clone, Debug)]
pub struct CellRuns {
    /// The cell.
    pub cell: Cell,
    /// The finished runs.
    pub runs: Vec<RunNumbers>,
    /// The runs that diverged. They never reach a target accuracy, and train nothing.
    pub diverged: Vec<Course>,
}

/// The number of runs that train at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trained {
    /// Finished runs whose last test accuracy is above chance.
    pub trained: usize,
    /// Runs that are finished or diverged.
    pub runs: usize,
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
    /// The runs that diverged.
    pub diverged: Vec<Course>,
    /// How many runs train at all; `None` if that is not known of some run.
    pub trained: Option<Trained>,
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
    /// The times to target accuracies; none if the folder of a run was removed.
    pub targets: Vec<Target>,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The runs that are compared, by seed.
    pub runs: &'a [RunNumbers],
    /// Further runs, which diverged and are no part of `runs`.
    pub diverged: &'a [Course],
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
        Self::read_with(data, &Options::default())
    }

    /// Analyses the sweep as [`read`](Self::read) does, with these options.
    pub fn read_with(data: &SweepData, options: &Options) -> Result<Self> {
        let mut cells = Vec::new();
        for cell in data.cells() {
            let mut runs = Vec::new();
            for line in cell.finished() {
                let folder = data.run_dir(&line.run);
                if !folder.exists() {
                    runs.extend(RunNumbers::of_line(&folder, line));
                } else if let (Some(record), epochs) = RunData::outline(&folder)? {
                    let examples = RunData::test_examples(&folder)?;
                    runs.extend(RunNumbers::of_epochs(&folder, &record, &epochs, examples));
                }
            }
            let diverged = diverged(data, &cell);
            cells.push(CellRuns { cell, runs, diverged });
        }
        Ok(Self::new(cells, &options.for_sweep(&data.plan), Correction::default(), None))
    }

    /// Analyses cells with their finished runs, each cell against its own baseline or against the cell called `baseline`.
    pub fn new(
        cells: Vec<CellRuns>,
        options: &Options,
        correction: Correction,
        baseline: Option<&str>,
    ) -> Self {
        let mut cells: Vec<CellAnalysis> =
            cells.into_iter().map(|cell| CellAnalysis::new(cell, baseline)).collect();
        let doubt = doubt_about_seconds(cells.iter().flat_map(CellAnalysis::known_courses));
        let against: Vec<Option<Contrasts>> = cells
            .iter()
            .map(|cell| {
                let baseline = cells.iter().find(|other| Some(&other.cell.name) == cell.baseline.as_ref())?;
                let sides = (baseline.side(), cell.side());
                Contrasts::between(sides.0, sides.1, options, "the baseline's", doubt.is_none())
            })
            .collect();
        cells.iter_mut().zip(against).for_each(|(cell, against)| cell.against = against);
        correct(&mut cells, correction);
        let has_seconds = doubt.is_none();
        let notes = doubt.into_iter().chain(unreached(&cells)).collect();
        Self { correction, best: best(&cells), has_seconds, notes, cells }
    }

    /// Whether some finished run of the sweep does not train at all, or some run diverged: the shares of runs that train then say
    /// more than mean accuracies.
    pub fn has_untrained(&self) -> bool {
        self.cells.iter().filter_map(|cell| cell.trained).any(|share| share.trained < share.runs)
    }

    /// Whether every finished run has a validation accuracy, so that the test examples need not choose. `false` if no run
    /// is finished.
    pub fn is_validated(&self) -> bool {
        is_validated(&self.cells)
    }
}

impl CellAnalysis {
    fn new(CellRuns { cell, mut runs, diverged }: CellRuns, baseline: Option<&str>) -> Self {
        runs.sort_by_key(|run| run.seed);
        let trained =
            runs.iter().map(|run| run.trained).collect::<Option<Vec<bool>>>().map(|trained| Trained {
                trained: trained.iter().filter(|is| **is).count(),
                runs: trained.len() + diverged.len(),
            });
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
            trained,
            cell,
            runs,
            diverged,
        }
    }

    fn side(&self) -> Side<'_> {
        Side { runs: &self.runs, diverged: &self.diverged }
    }

    pub(super) fn known_courses(&self) -> impl Iterator<Item = &Course> + Clone {
        self.runs.iter().filter_map(|run| run.course.as_ref()).chain(&self.diverged)
    }
}

impl Contrasts {
    /// Compares two groups, both sorted by seed; `None` if a group is empty. `name_of_a` is A's name in the genitive, and
    /// `with_seconds` says whether seconds can be compared.
    pub fn between(
        side_a: Side<'_>,
        side_b: Side<'_>,
        options: &Options,
        name_of_a: &str,
        with_seconds: bool,
    ) -> Option<Self> {
        let (a, b) = (side_a.runs, side_b.runs);
        let seeds = |runs: &[RunNumbers]| runs.iter().map(|run| run.seed).collect::<Vec<_>>();
        let method = method(&seeds(a), &seeds(b));
        let contrast = |value: fn(&RunNumbers) -> Option<f64>| {
            let values = |runs: &[RunNumbers]| runs.iter().map(value).collect::<Option<Vec<f64>>>();
            Contrast::between(&values(a)?, &values(b)?, method, options)
        };
        let last = |runs: &[RunNumbers]| runs.iter().map(|run| run.last_test_accuracy).collect::<Vec<_>>();
        let chosen = options.targets.resolve(&last(a), &last(b), name_of_a);
        let targets = match (side_a.courses(), side_b.courses()) {
            (Some(a), Some(b)) => {
                chosen.into_iter().filter_map(|target| Target::timed(target, &a, &b, with_seconds)).collect()
            }
            _ => Vec::new(),
        };
        Some(Self {
            method,
            last: contrast(|run| Some(run.last_test_accuracy))?,
            best: contrast(|run| run.test_accuracy_at_best),
            targets,
        })
    }
}

impl<'a> Side<'a> {
    /// The courses of all runs, by seed; `None` if the folder of a run was removed.
    fn courses(&self) -> Option<Vec<&'a Course>> {
        let courses: Option<Vec<&Course>> = self.runs.iter().map(|run| run.course.as_ref()).collect();
        let mut courses = courses?;
        courses.extend(self.diverged);
        courses.sort_by_key(|course| course.seed);
        Some(courses)
    }
}

/// The courses of a cell's runs that diverged.
pub(super) fn diverged(data: &SweepData, cell: &Cell) -> Vec<Course> {
    let lines = cell.runs.iter().filter(|line| line.status == RunStatus::Diverged);
    let course = |line: &ResultLine| match RunData::outline(&data.run_dir(&line.run)) {
        Ok((Some(record), epochs)) if record.outcome == RunStatus::Diverged => Course::new(&record, &epochs),
        _ => Course::diverged(line.seed),
    };
    lines.map(course).collect()
}

/// Corrects the p-values of each kind over all cells; those of the times in one unit over all targets too. Controls are a family of
/// their own: how many controls a sweep has changes nothing for its cells.
fn correct(cells: &mut [CellAnalysis], correction: Correction) {
    let mut families: BTreeMap<(bool, &str, usize), Vec<&mut Option<f64>>> = BTreeMap::new();
    for cell in cells {
        let is_control = cell.cell.role == Role::Control;
        let Some(against) = cell.against.as_mut() else { continue };
        for (name, contrast) in [("last", Some(&mut against.last)), ("best", against.best.as_mut())] {
            for (kind, p) in contrast.into_iter().flat_map(|it| it.corrected().into_iter().enumerate()) {
                families.entry((is_control, name, kind)).or_default().push(p);
            }
        }
        for (unit, contest) in against.targets.iter_mut().flat_map(Target::contests_mut) {
            let kinds = [&mut contest.corrected_p, &mut contest.corrected_log_rank_p];
            for (kind, p) in kinds.into_iter().enumerate() {
                families.entry((is_control, unit.name(), kind)).or_default().push(p);
            }
        }
    }
    families.into_values().for_each(|family| correction.correct(family));
}

/// A note for each target that no run reaches.
fn unreached(cells: &[CellAnalysis]) -> Vec<String> {
    let targets = cells.iter().filter_map(|cell| cell.against.as_ref()).flat_map(|against| &against.targets);
    let courses = cells.iter().flat_map(CellAnalysis::known_courses);
    notes_on_unreached(targets, courses)
}

/// A note for each of the targets that none of the runs with these courses reaches.
pub(super) fn notes_on_unreached<'a>(
    targets: impl Iterator<Item = &'a Target>,
    courses: impl Iterator<Item = &'a Course>,
) -> Vec<String> {
    let highest = courses.filter(|course| !course.diverged).filter_map(Course::highest).fold(0.0, f64::max);
    let mut missed: Vec<f64> = targets.map(|target| target.accuracy).filter(|it| *it > highest).collect();
    missed.sort_by(f64::total_cmp);
    missed.dedup();
    let note = |target: f64| {
        format!(
            "no run reaches a test accuracy of {} %, so that there are no times to it: the highest is {} %",
            points(target),
            points(highest)
        )
    };
    missed.into_iter().map(note).collect()
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
