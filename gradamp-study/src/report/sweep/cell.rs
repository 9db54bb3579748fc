//! A cell as a page shows it, with one measure of accuracy.

use crate::compare::{CellAnalysis, Contrast, SweepAnalysis, Trained};
use crate::statistics::Summary;
use crate::sweep::{Cell, Measure, Role};

/// The accuracy by which a page compares cells: in the best epoch if the validation examples chose this epoch, otherwise after the
/// last epoch, because the test examples must not choose.
pub fn accuracy_measure(analysis: &SweepAnalysis) -> Measure {
    if analysis.is_validated() { Measure::Best } else { Measure::Last }
}

/// A cell by one measure.
#[derive(Clone, Debug)]
pub struct MeasuredCell {
    /// The cell.
    pub cell: Cell,
    /// The accuracies of the finished runs; NaN without any. The interval ends at 0 and 1, as an accuracy does.
    pub accuracy: Summary,
    /// The accuracies after the last epoch.
    pub last: Summary,
    /// Mean seconds of a finished run, evaluations included.
    pub seconds: f64,
    /// How many runs train at all; `None` if that is not known of some run.
    pub trained: Option<Trained>,
    /// The comparison with the baseline (A), whose p-value is corrected for all cells.
    pub against: Option<Contrast>,
}

impl MeasuredCell {
    /// The cells of an analysis in plan order, by [`accuracy_measure`].
    pub fn all(analysis: &SweepAnalysis, measure: Measure) -> Vec<Self> {
        analysis.cells.iter().map(|cell| Self::new(cell, measure)).collect()
    }

    fn new(analysis: &CellAnalysis, measure: Measure) -> Self {
        let none = || Summary::of_values(&[]);
        let against = analysis.against.as_ref();
        let (accuracy, against) = match measure {
            Measure::Best => (analysis.best, against.and_then(|against| against.best.clone())),
            _ => (analysis.last, against.map(|against| against.last.clone())),
        };
        let seconds: Vec<f64> = analysis.cell.finished().map(|run| run.seconds).collect();
        Self {
            accuracy: within_shares(accuracy.unwrap_or_else(none)),
            last: analysis.last.unwrap_or_else(none),
            seconds: Summary::of_values(&seconds).mean,
            against,
            trained: analysis.trained,
            cell: analysis.cell.clone(),
        }
    }

    /// Whether the difference to the baseline is clear.
    pub fn is_clear(&self) -> bool {
        self.against.as_ref().is_some_and(Contrast::is_clear)
    }

    /// Whether the 95 % interval of the difference to the baseline holds 0 or is not known, or a run is not finished.
    pub fn is_uncertain(&self) -> bool {
        let is_complete = self.accuracy.n == self.cell.runs.len();
        let is_apart =
            |against: &Contrast| against.test.is_some_and(|test| test.ci.0 > 0.0 || test.ci.1 < 0.0);
        !is_complete || self.against.as_ref().is_some_and(|against| !is_apart(against))
    }

    /// The difference to the baseline.
    pub fn difference(&self) -> Option<f64> {
        self.against.as_ref().map(|against| against.difference)
    }

    /// Whether other cells are compared with it.
    pub fn is_baseline(&self) -> bool {
        self.cell.role == Role::Baseline
    }
}

/// A mean of shares lies between 0 and 1, wherever Student's interval ends.
fn within_shares(summary: Summary) -> Summary {
    Summary { ci: summary.ci.map(|(least, most)| (least.max(0.0), most.min(1.0))), ..summary }
}
