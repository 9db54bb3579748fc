//! The table of all epochs of runs.

use std::path::PathBuf;

use serde_json::Value;

use super::runs::{Run, read_runs};
use super::table::{Table, Values};
use crate::run_folder::lines::EpochLine;
use crate::sweep::{Role, plain};
use crate::{Error, Result};

/// The table of all epochs of the runs that `paths` stand for, in the order of the paths; see the module's table of columns.
/// A path is a run's folder, a sweep's folder, a folder that contains run folders, or a pattern with `*` or `?`.
///
/// **Errors:** a path that is none of these; a run that is named twice; damaged files; no epoch at all.
pub fn epochs(paths: &[PathBuf]) -> Result<Table> {
    let runs = read_runs(paths)?;
    let table = table_of(&runs);
    if table.rows() == 0 {
        let message = format!("{}: no run has finished an epoch yet", named(paths));
        return Err(Error::failed(message));
    }
    Ok(table)
}

fn named(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn table_of(runs: &[Run]) -> Table {
    // A row is a run, a line of it, and the attenuation of the line's epoch.
    let rows: Vec<(&Run, &EpochLine, Option<f64>)> = runs
        .iter()
        .flat_map(|run| {
            run.epochs.iter().zip(&run.attenuations).map(move |(line, attenuation)| (run, line, *attenuation))
        })
        .collect();
    let texts =
        |of: &dyn Fn(&Run) -> Option<String>| Values::Texts(rows.iter().map(|(run, ..)| of(run)).collect());
    let integers = |of: &dyn Fn(&Run, &EpochLine) -> Option<u64>| {
        Values::integers(rows.iter().map(|(run, line, _)| of(run, line)))
    };
    let numbers =
        |of: &dyn Fn(&EpochLine) -> Option<f64>| Values::numbers(rows.iter().map(|(_, line, _)| of(line)));
    let flags = |of: &dyn Fn(&EpochLine) -> bool| {
        Values::Flags(rows.iter().map(|(_, line, _)| Some(of(line))).collect())
    };

    let mut table = Table::default();
    table.add("study", texts(&|run| run.planned.as_ref().map(|(study, _)| study.clone())));
    table.add("run", texts(&|run| Some(run.name.clone())));
    table.add("cell", texts(&|run| run.planned.as_ref().map(|(_, planned)| planned.cell.clone())));
    table.add(
        "role",
        texts(&|run| {
            run.planned.as_ref().map(|(_, planned)| planned.role).map(Role::name).map(str::to_owned)
        }),
    );
    for axis in axes(runs) {
        let values = rows.iter().map(|(run, ..)| run.axes().and_then(|axes| axes.get(&axis)));
        table.add(format!("axis.{axis}"), axis_values(&values.collect::<Vec<_>>()));
    }
    table.add("seed", integers(&|run, _| Some(run.record.seed)));
    table.add("model", texts(&|run| Some(run.record.model.clone())));
    table.add("dataset", texts(&|run| Some(run.record.dataset.clone())));
    table.add("status", texts(&|run| Some(run.record.outcome.to_string())));
    table.add("epoch", integers(&|_, line| Some(line.epoch as u64)));
    table.add("phase", integers(&|_, line| Some(line.phase as u64)));
    table.add("step", integers(&|_, line| Some(line.step)));
    table.add("images", integers(&|run, line| line.step.checked_mul(run.images_per_step as u64)));
    table.add("lr", numbers(&|line| Some(line.lr)));
    table.add("amplified", flags(&|line| line.amplified));
    table.add("train_loss", numbers(&|line| Some(line.train_loss)));
    table.add("train_accuracy", numbers(&|line| Some(line.train_accuracy)));
    table.add("validation_loss", numbers(&|line| line.validation_loss));
    table.add("validation_accuracy", numbers(&|line| line.validation_accuracy));
    table.add("test_loss", numbers(&|line| line.test_loss));
    table.add("test_accuracy", numbers(&|line| line.test_accuracy));
    type Of = fn(&EpochLine) -> Option<f64>;
    let averages: [(&str, Of); 4] = [
        ("validation_ema_loss", |line| line.validation_ema_loss),
        ("validation_ema_accuracy", |line| line.validation_ema_accuracy),
        ("test_ema_loss", |line| line.test_ema_loss),
        ("test_ema_accuracy", |line| line.test_ema_accuracy),
    ];
    // Only where a run has an average, so that the columns of all other tables stay.
    for (name, of) in
        averages.into_iter().filter(|(_, of)| rows.iter().any(|(_, line, _)| of(line).is_some()))
    {
        table.add(name, numbers(&of));
    }
    table.add("best", flags(&|line| line.best));
    table.add("attenuation", Values::numbers(rows.iter().map(|(_, _, attenuation)| *attenuation)));
    table.add("skipped_steps", integers(&|_, line| line.skipped_steps));
    table.add("images_per_second", numbers(&|line| Some(line.images_per_second)));
    table.add("seconds", numbers(&|line| Some(line.seconds)));
    table.add("total_seconds", numbers(&|line| Some(line.total_seconds)));
    table
}

/// The names of all axes, in the order of their first run.
fn axes(runs: &[Run]) -> Vec<String> {
    let mut axes: Vec<String> = Vec::new();
    for name in runs.iter().filter_map(Run::axes).flat_map(|axes| axes.keys()) {
        if !axes.contains(name) {
            axes.push(name.clone());
        }
    }
    axes
}

/// The column of an axis: of flags, whole numbers or numbers where every value is one, else of texts.
fn axis_values(values: &[Option<&Value>]) -> Values {
    let all = |is: fn(&Value) -> bool| values.iter().flatten().all(|value| is(value));
    if all(Value::is_boolean) {
        return Values::Flags(values.iter().map(|value| value.and_then(Value::as_bool)).collect());
    }
    if all(Value::is_i64) {
        return Values::Integers(values.iter().map(|value| value.and_then(Value::as_i64)).collect());
    }
    if all(Value::is_number) {
        return Values::numbers(values.iter().map(|value| value.and_then(Value::as_f64)));
    }
    Values::Texts(values.iter().map(|value| value.map(plain)).collect())
}
