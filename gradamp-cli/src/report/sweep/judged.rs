//! The cells of a sweep, each held against its baseline.

use crate::statistics::{MeanDifference, Summary, holm, paired, welch};
use crate::sweep::{Cell, ResultLine, Role, Status, SweepData};

/// Which accuracy on the test examples cells are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// After the epoch that the validation examples chose.
    AtBest,
    /// After the last epoch, where there are no validation examples: the test examples must not choose.
    AtLast,
}

impl Measure {
    /// What it is, in words.
    pub fn name(self) -> &'static str {
        match self {
            Measure::AtBest => "test accuracy at the best validation epoch",
            Measure::AtLast => "test accuracy after the last epoch",
        }
    }

    fn of(self, run: &ResultLine) -> Option<f64> {
        match self {
            Measure::AtBest => run.test_accuracy_at_best,
            Measure::AtLast => run.last_test_accuracy,
        }
    }
}

/// A cell and what can be said of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The cell.
    pub cell: Cell,
    /// The accuracies of its finished runs.
    pub accuracy: Summary,
    /// The same after the last epoch.
    pub last: Summary,
    /// The mean validation accuracy in the best epochs.
    pub validation: Option<f64>,
    /// Mean seconds of a run.
    pub seconds: f64,
    /// Against its baseline.
    pub against: Option<Against>,
}

/// A cell's difference to its baseline.
#[derive(Clone, Debug)]
pub struct Against {
    /// Mean of the cell less mean of the baseline.
    pub difference: f64,
    /// The test, where there are enough runs.
    pub test: Option<MeanDifference>,
    /// Its p, corrected for the number of cells.
    pub corrected: Option<f64>,
}

impl Judged {
    /// Whether the difference to the baseline is there at a level of 5 %, corrected.
    pub fn is_clear(&self) -> bool {
        self.against.as_ref().and_then(|against| against.corrected).is_some_and(|p| p < 0.05)
    }

    /// The difference to the baseline.
    pub fn difference(&self) -> Option<f64> {
        self.against.as_ref().map(|against| against.difference)
    }

    /// Whether it is what others are held against.
    pub fn is_baseline(&self) -> bool {
        self.cell.role == Role::Baseline
    }
}

/// The measure that the finished runs allow.
pub fn measure(sweep: &SweepData) -> Measure {
    let finished = || sweep.results.iter().filter(|run| run.status == Status::Finished);
    let is_validated = finished().all(|run| run.best_validation_accuracy.is_some());
    if is_validated && finished().next().is_some() { Measure::AtBest } else { Measure::AtLast }
}

/// Every cell in plan order.
pub fn judge(sweep: &SweepData, measure: Measure) -> Vec<Judged> {
    let cells = sweep.cells();
    let against: Vec<Option<Against>> = cells
        .iter()
        .map(|cell| {
            let baseline = cell.baseline.as_ref()?;
            let baseline = cells.iter().find(|other| other.name == *baseline)?;
            held_against(baseline, cell, measure)
        })
        .collect();
    let tested: Vec<f64> =
        against.iter().flatten().filter_map(|against| against.test.as_ref()).map(|test| test.p).collect();
    let mut corrected = holm(&tested).into_iter();
    let judged = |(cell, against): (Cell, Option<Against>)| {
        let against = against.map(|against| Against {
            corrected: against.test.as_ref().and_then(|_| corrected.next()),
            ..against
        });
        let of = |value: fn(&ResultLine) -> Option<f64>| -> Vec<f64> {
            cell.finished().filter_map(value).collect()
        };
        let validation = of(|run| run.best_validation_accuracy);
        Judged {
            accuracy: Summary::of(
                &values(&cell, measure).into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
            ),
            last: Summary::of(&of(|run| run.last_test_accuracy)),
            validation: (!validation.is_empty()).then(|| Summary::of(&validation).mean),
            seconds: Summary::of(&of(|run| Some(run.seconds))).mean,
            against,
            cell,
        }
    };
    cells.into_iter().zip(against).map(judged).collect()
}

/// The seeds and accuracies of a cell's finished runs.
fn values(cell: &Cell, measure: Measure) -> Vec<(u64, f64)> {
    cell.finished().filter_map(|run| Some((run.seed, measure.of(run)?))).collect()
}

/// By pairs of runs with the same seed where every seed has one, else by Welch's test.
fn held_against(baseline: &Cell, cell: &Cell, measure: Measure) -> Option<Against> {
    let (mut a, mut b) = (values(baseline, measure), values(cell, measure));
    a.sort_by_key(|(seed, _)| *seed);
    b.sort_by_key(|(seed, _)| *seed);
    let seeds = |values: &[(u64, f64)]| values.iter().map(|(seed, _)| *seed).collect::<Vec<_>>();
    let accuracies = |values: &[(u64, f64)]| values.iter().map(|(_, value)| *value).collect::<Vec<_>>();
    let is_paired = seeds(&a) == seeds(&b);
    let (a, b) = (accuracies(&a), accuracies(&b));
    let difference = Summary::of(&b).mean - Summary::of(&a).mean;
    let test = if is_paired { paired(&a, &b) } else { welch(&a, &b) };
    difference.is_finite().then_some(Against { difference, test, corrected: None })
}
