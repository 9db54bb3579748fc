//! The table of a sweep's cells.

use super::data::Cell;
use super::results::ResultLine;
use crate::columns::{columns, header};
use crate::run_folder::RunStatus;
use crate::statistics::Summary;

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

/// `45.1 ± 0.8 %`, with the deviation of a sample; `-` of nothing.
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
