//! The choice that a tuned contrast makes: each side at its own best value of an axis.

use super::analysis::CellAnalysis;
use crate::sweep::{Choice, PlannedContrast};

/// The cells that the validation examples choose, each with the cell that it is compared with; `None` until all runs to choose
/// from are done.
///
/// The chosen cell has the highest mean, over its seeds, of the validation accuracy in a run's best epoch; a run that diverged
/// counts with the accuracy of chance. Of equal cells, the first is chosen. Test examples take no part.
pub fn choose(planned: &PlannedContrast, cells: &[CellAnalysis]) -> Option<Vec<[String; 2]>> {
    let side = |names: &[String]| {
        let values: Option<Vec<(f64, &String)>> = names
            .iter()
            .map(|name| {
                let cell = cells.iter().find(|cell| cell.cell.name == *name)?;
                Some((validation(cell)?, name))
            })
            .collect();
        let best = values?.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        Some(best.1.clone())
    };
    planned.choices.iter().map(|Choice { cells, against }| Some([side(cells)?, side(against)?])).collect()
}

/// The mean validation accuracy of the cell's runs; `None` if a run is not done or its accuracy is not known.
fn validation(cell: &CellAnalysis) -> Option<f64> {
    let finished = cell.runs.iter().map(|run| run.best_validation_accuracy);
    let diverged = cell.diverged.iter().map(|course| course.chance);
    let values: Vec<f64> = finished.chain(diverged).collect::<Option<_>>()?;
    (values.len() == cell.cell.runs.len() && !values.is_empty())
        .then(|| values.iter().sum::<f64>() / values.len() as f64)
}
