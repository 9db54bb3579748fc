//! Tables of cells, and of runs that did not finish.

use super::super::chart::{Format, p};
use super::super::html::{Block, Cell, Table};
use super::cell::MeasuredCell;
use crate::run_folder::RunStatus;
use crate::statistics::{Correction, Method};
use crate::sweep::{Measure, Role, SweepData};

/// The most rows of a table that holds controls and cells.
const MOST_MIXED: usize = 40;

/// Every cell, the best first; with the time of a run if seconds can be compared (`has_seconds`). Where there are many rows, controls
/// have a table of their own.
pub fn cells(ranked: &[&MeasuredCell], measure: Measure, has_seconds: bool) -> Vec<Table> {
    let is_control = |cell: &&MeasuredCell| cell.cell.role == Role::Control;
    if ranked.len() <= MOST_MIXED || !ranked.iter().any(is_control) {
        return vec![table("Cells", ranked, measure, has_seconds)];
    }
    let (controls, cells): (Vec<&MeasuredCell>, Vec<&MeasuredCell>) =
        ranked.iter().partition(|cell| is_control(cell));
    vec![
        table("Cells and baselines", &cells, measure, has_seconds),
        table("Controls", &controls, measure, has_seconds),
    ]
}

fn table(name: &str, ranked: &[&MeasuredCell], measure: Measure, has_seconds: bool) -> Table {
    let has_untrained = ranked.iter().filter_map(|cell| cell.trained).any(|share| share.trained < share.runs);
    let has_equivalence =
        ranked.iter().any(|cell| cell.against.as_ref().is_some_and(|against| against.equivalence.is_some()));
    let mut head = vec!["cell", "role", "runs"];
    head.extend(has_untrained.then_some("above chance"));
    head.extend([
        "mean ± sd, %",
        "95 % interval, %",
        "to baseline, points (95 % interval)",
        "Hedges' g",
        "p",
        "corrected p",
        "p, flips",
    ]);
    head.extend(has_equivalence.then_some(["p, equivalence", "corrected p"]).into_iter().flatten());
    head.push("last epoch");
    head.extend(has_seconds.then_some("time of a run"));
    let mut table = Table::new(&format!("{name} by {}", measure.name()), &head);
    table.folds = true;
    let percent = |value: f64| Format::Percent(2).text(value);
    let plain = |value: f64| format!("{:.2}", 100.0 * value);
    let dash = || "–".to_owned();
    for cell in ranked {
        let against = cell.against.as_ref();
        let test = against.and_then(|against| against.test.as_ref());
        let runs = match cell.cell.runs.len() {
            all if all == cell.accuracy.n => all.to_string(),
            all => format!("{} of {all}", cell.accuracy.n),
        };
        let mut numbers = vec![runs];
        if has_untrained {
            let share = cell.trained.map(|share| format!("{} of {}", share.trained, share.runs));
            numbers.push(share.unwrap_or_else(dash));
        }
        numbers.extend([
            mean_and_deviation(cell),
            cell.accuracy
                .ci
                .map_or_else(dash, |(least, most)| format!("{} to {}", plain(least), plain(most))),
            against.map_or_else(dash, |against| {
                let interval = test.map(|test| {
                    format!(" ({} to {})", Format::Points.text(test.ci.0), Format::Points.text(test.ci.1))
                });
                format!("{}{}", Format::Points.text(against.difference), interval.unwrap_or_default())
            }),
            against.and_then(|against| against.hedges_g).map_or_else(dash, |g| Format::Signed.text(g.value)),
            test.map_or_else(dash, |test| p(test.p)),
            against.and_then(|against| against.corrected_p).map_or_else(dash, p),
            against.and_then(|against| against.permutation).map_or_else(dash, |test| p(test.p)),
        ]);
        if has_equivalence {
            numbers.extend([
                against.and_then(|against| against.equivalence).map_or_else(dash, |test| p(test.p)),
                against.and_then(|against| against.corrected_equivalence_p).map_or_else(dash, p),
            ]);
        }
        numbers.push(percent(cell.last.mean));
        if has_seconds {
            let is_known = cell.seconds.is_finite();
            numbers.push(if is_known { Format::Seconds.text(cell.seconds) } else { dash() });
        }
        let names = [Cell::Text(cell.cell.name.clone()), Cell::Text(cell.cell.role.name().into())];
        table.rows.push(names.into_iter().chain(numbers.into_iter().map(Cell::Number)).collect());
    }
    table
}

fn mean_and_deviation(cell: &MeasuredCell) -> String {
    let mean = format!("{:.2}", 100.0 * cell.accuracy.mean);
    match cell.accuracy.sd {
        _ if !cell.accuracy.mean.is_finite() => "–".into(),
        Some(sd) => format!("{mean} ± {:.2}", 100.0 * sd),
        None => mean,
    }
}

/// A sentence about the tests of the table.
pub fn note(cells: &[MeasuredCell], measure: Measure, correction: Correction) -> Option<String> {
    let tests: Vec<_> = cells.iter().filter_map(|cell| cell.against.as_ref()?.test.as_ref()).collect();
    if tests.is_empty() {
        return cells
            .iter()
            .any(|cell| cell.against.is_some())
            .then(|| "Differences are not tested: that takes at least two finished runs of a cell and of its baseline.".into());
    }
    let controls = |cell: &&MeasuredCell| {
        cell.cell.role == Role::Control && cell.against.as_ref().is_some_and(|against| against.test.is_some())
    };
    let family = match cells.iter().filter(controls).count() {
        0 => format!("{} comparisons", tests.len()),
        1 => format!("{} cells; that of the control is by itself", tests.len() - 1),
        n => format!("{} cells, and separately for {n} controls", tests.len() - n),
    };
    let paired = tests.iter().filter(|test| test.method == Method::Paired).count();
    let method = match (paired, tests.len() - paired) {
        (_, 0) => "Student's paired t-test over common seeds".to_owned(),
        (0, _) => "Welch's t-test".to_owned(),
        (paired, welch) => {
            format!("Student's paired t-test over common seeds ({paired} cells), else Welch's ({welch})")
        }
    };
    let margin = cells.iter().find_map(|cell| Some(cell.against.as_ref()?.equivalence?.smallest_difference));
    let equivalence = margin.map_or(String::new(), |margin| {
        format!(
            " A small p of equivalence shows that a difference is below {:.2} points (two one-sided tests).",
            100.0 * margin
        )
    });
    Some(format!(
        "Compared by {}. Tested by {method}; p is corrected by the method of {correction} for {family}. \
         Hedges' g is the difference in units of the deviation between seeds. \
         The p of flips assumes no distribution: it is by sign flips of the pairs, or by permutations.{equivalence}",
        measure.name(),
    ))
}

/// The runs that did not finish; `None` if all runs finished.
pub fn unfinished(sweep: &SweepData) -> Option<Vec<Block>> {
    let mut table = Table::new("Runs that did not finish", &["run", "state", "epochs", "error"]);
    let told = sweep.unfinished().filter(|run| run.status != RunStatus::Pending);
    for run in told {
        table.rows.push(vec![
            Cell::Text(run.run.clone()),
            Cell::Text(run.status.name().replace('_', " ")),
            Cell::Number(run.epochs.to_string()),
            Cell::Text(run.error.clone().unwrap_or_else(|| "–".into())),
        ]);
    }
    let pending: Vec<&str> = sweep
        .unfinished()
        .filter(|run| run.status == RunStatus::Pending)
        .map(|run| run.run.as_str())
        .collect();
    let mut blocks = Vec::new();
    if !table.rows.is_empty() {
        blocks.push(Block::Table(table));
    }
    if !pending.is_empty() {
        let summary = format!("{} runs have not begun, or are going on", pending.len());
        blocks.push(Block::Details(summary, vec![Block::Code("Pending runs".into(), pending.join("\n"))]));
    }
    if sweep.results.iter().any(|run| run.role == Role::Baseline && run.status != RunStatus::Finished) {
        blocks.push(Block::Text(
            "A baseline is among these runs: the cells that are compared with this baseline are compared over fewer seeds."
                .into(),
        ));
    }
    (!blocks.is_empty()).then_some(blocks)
}
