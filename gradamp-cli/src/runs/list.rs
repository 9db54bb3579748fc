//! `gradamp runs list`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{ListArgs, Order};
use crate::devices::in_units;
use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::columns::{clip, columns, header};
use gradamp_study::run_folder::{RunSummary, find_runs};

/// The most characters of a model in the table.
const MODEL: usize = 24;

/// Prints the runs in and below a folder.
///
/// **Errors:** no such folder. A damaged run is listed with what is wrong.
pub fn list(args: &ListArgs) -> Result<()> {
    let mut runs: Vec<RunSummary> = folders(&args.dir)?.iter().map(|root| RunSummary::read(root)).collect();
    match args.sort {
        Order::Name => {} // as they were found
        Order::Age => runs.sort_by_key(|run| std::cmp::Reverse(run.age)),
        Order::Accuracy => {
            runs.sort_by(|a, b| a.best.unwrap_or(-1.0).total_cmp(&b.best.unwrap_or(-1.0)));
        }
        Order::Size => runs.sort_by_key(|run| run.bytes),
    }
    if args.json {
        let all: Vec<Value> = runs.iter().map(as_json).collect();
        output::result(json!({"folder": args.dir.display().to_string(), "runs": all}));
        return Ok(());
    }
    if runs.is_empty() {
        output::message(format_args!("{}: no runs", args.dir.display()));
        return Ok(());
    }
    output::result(table(&args.dir, &runs).trim_end());
    for run in &runs {
        if let Some(trouble) = &run.trouble {
            output::message(format_args!("warning: {trouble}"));
        }
    }
    Ok(())
}

/// The run folders in and below `dir`.
///
/// **Errors:** no such folder.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        let message = "expected a folder with runs, found no such folder";
        return Err(Failure::failed(format!("{}: {message}", dir.display())));
    }
    Ok(find_runs(dir)?)
}

fn table(dir: &Path, runs: &[RunSummary]) -> String {
    let mut rows = vec![header(["run", "state", "model", "data", "epochs", "best", "last", "size", "age"])];
    for run in runs {
        let name = run.root.strip_prefix(dir).unwrap_or(&run.root).display().to_string();
        let name = if name.is_empty() { run.root.display().to_string() } else { name };
        let record = run.record.as_ref();
        let model = record.map_or("-", |record| record.model.split(" with ").next().unwrap_or_default());
        let data = record.map_or("-", |record| record.dataset.as_str());
        let planned = run.planned.map_or("?".into(), |epochs| epochs.to_string());
        rows.push(vec![
            name,
            state(run),
            clip(model, MODEL),
            data.to_owned(),
            format!("{} of {planned}", run.epochs),
            percent(run.best),
            percent(run.last),
            in_units(run.bytes),
            run.age.map_or("-".into(), age),
        ]);
    }
    let total = runs.iter().map(|run| run.bytes).sum();
    let words = if runs.len() == 1 { "run" } else { "runs" };
    format!("{}\n{} {words}, {}\n", columns(&rows, "<<<<>>>>>"), runs.len(), in_units(total))
}

/// The state of a run in words; `damaged` stands beside the state of a run that cannot be read as a whole.
pub(super) fn state(run: &RunSummary) -> String {
    let state = run.status.to_string().replace('_', " ");
    if run.trouble.is_some() { format!("{state}, damaged") } else { state }
}

pub(super) fn as_json(run: &RunSummary) -> Value {
    let record = run.record.as_ref();
    json!({
        "run": run.root.display().to_string(), "state": run.status.to_string(),
        "model": record.map(|record| &record.model), "data": record.map(|record| &record.dataset),
        "seed": record.map(|record| record.seed), "start": record.map(|record| &record.start),
        "epochs": run.epochs, "planned_epochs": run.planned, "best_accuracy": run.best, "last_accuracy": run.last,
        "bytes": run.bytes, "age_seconds": run.age, "error": record.and_then(|record| record.error.as_ref()),
        "damage": run.trouble,
    })
}

pub(super) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".into(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

/// An age in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_in_their_largest_unit() {
        for (seconds, text) in
            [(59, "59 s"), (60, "1 min"), (7199, "1 h"), (172_799, "47 h"), (172_800, "2 days")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
