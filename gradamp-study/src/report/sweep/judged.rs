//! The cells of a sweep, each held against its baseline, as `gradamp compare` does it. The page takes the numbers of
//! `results.jsonl`, so that it is there whatever has become of the run folders.

use crate::compare::{Contrast, Options, method};
use crate::statistics::{Correction, Summary};
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
    /// Against its baseline (A); its p is corrected for all cells.
    pub against: Option<Contrast>,
}

impl Judged {
    /// Whether the difference to the baseline is there at a level of 5 %, corrected.
    pub fn is_clear(&self) -> bool {
        self.against.as_ref().and_then(|against| against.corrected_p).is_some_and(|p| p < 0.05)
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
    let judged = |cell: &Cell| {
        let baseline = cells.iter().find(|other| Some(&other.name) == cell.baseline.as_ref());
        let of = |value: fn(&ResultLine) -> Option<f64>| -> Vec<f64> {
            cell.finished().filter_map(value).collect()
        };
        let validation = of(|run| run.best_validation_accuracy);
        Judged {
            accuracy: Summary::of(&values(cell, measure).1),
            last: Summary::of(&of(|run| run.last_test_accuracy)),
            validation: (!validation.is_empty()).then(|| Summary::of(&validation).mean),
            seconds: Summary::of(&of(|run| Some(run.seconds))).mean,
            against: baseline.and_then(|baseline| held_against(baseline, cell, measure)),
            cell: cell.clone(),
        }
    };
    let mut all: Vec<Judged> = cells.iter().map(judged).collect();
    let against = all.iter_mut().filter_map(|cell| cell.against.as_mut());
    Correction::Holm.correct(against.map(|against| &mut against.corrected_p).collect());
    all
}

/// The seeds, in order, and the accuracies of a cell's finished runs.
fn values(cell: &Cell, measure: Measure) -> (Vec<u64>, Vec<f64>) {
    let mut values: Vec<(u64, f64)> =
        cell.finished().filter_map(|run| Some((run.seed, measure.of(run)?))).collect();
    values.sort_by_key(|(seed, _)| *seed);
    values.into_iter().unzip()
}

fn held_against(baseline: &Cell, cell: &Cell, measure: Measure) -> Option<Contrast> {
    let ((seeds_a, a), (seeds_b, b)) = (values(baseline, measure), values(cell, measure));
    Contrast::of(&a, &b, method(&seeds_a, &seeds_b), &Options::default())
}
