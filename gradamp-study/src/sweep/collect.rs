//! What the run folders of a sweep hold, and the results that are made from them.

use std::collections::HashMap;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::claim::{Claim, create_folder, open_lock};
use super::data::{CSV, RESULTS, run_dir};
use super::halving::{Fate, Progress, cell_fates};
use super::plan::{Plan, PlannedRun, Role, plain};
use super::results::ResultLine;
use crate::columns::to_csv;
use crate::run_folder::lines::{EpochLine, best, last_evaluated};
use crate::run_folder::{Error, Result, RunData, RunStatus, read_json, write_file, write_json};

/// What the folder of a run holds at one moment.
#[derive(Clone, Debug)]
pub struct RunSnapshot {
    /// The run's status. Successive halving is not taken into account: a run that waits at a rung is interrupted.
    pub status: RunStatus,
    /// Whether the run ended at its limit of steps, as runs do at a rung.
    pub at_limit: bool,
    /// The error message, if the run failed or diverged.
    pub error: Option<String>,
    /// The finished epochs.
    pub epochs: Vec<EpochLine>,
    /// The version of the program that made the run; empty if the run has no record.
    pub version: String,
    /// The checksum of the run's data; `None` if the run has no record.
    pub data: Option<String>,
}

/// The content of `failures/NAME.json`. The sweep writes this file if a run failed and could not record the error itself.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    error: String,
}

fn failure_path(root: &Path, name: &str) -> PathBuf {
    root.join("failures").join(format!("{name}.json"))
}

/// The files in `failures/`, each with its error message or with the reason why it cannot be read.
pub(super) fn failures(root: &Path, plan: &Plan) -> Vec<(PathBuf, Result<String>)> {
    let paths = plan.runs.iter().map(|run| failure_path(root, &run.name)).filter(|path| path.exists());
    paths.map(|path| (path.clone(), read_json::<Failure>(&path).map(|failure| failure.error))).collect()
}

/// Records in `failures/` why the run called `name` failed.
pub fn record_failure(root: &Path, name: &str, error: &str) -> Result<()> {
    let path = failure_path(root, name);
    create_folder(&root.join("failures"))?;
    gradamp_models::sync_folder(root)?;
    write_json(&path, &Failure { error: error.to_owned() })
}

/// Removes the record of a failure, so that the run can be tried again. Does nothing if there is no record.
pub fn forget_failure(root: &Path, name: &str) -> Result<()> {
    let path = failure_path(root, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Whether the run's folder holds a run.
pub fn has_begun(root: &Path, name: &str) -> bool {
    run_dir(root, name).join("config.toml").is_file()
}

impl RunSnapshot {
    /// Reads the folder of the run called `name`.
    pub fn read(root: &Path, name: &str) -> Self {
        let path = failure_path(root, name);
        let failure = match path.exists() {
            true => Some(match read_json::<Failure>(&path) {
                Ok(failure) => failure.error,
                Err(error) => error.to_string(),
            }),
            false => None,
        };
        let mut snapshot = Self {
            status: if failure.is_some() { RunStatus::Failed } else { RunStatus::Pending },
            at_limit: false,
            error: failure.clone(),
            epochs: Vec::new(),
            version: String::new(),
            data: None,
        };
        if !has_begun(root, name) {
            return snapshot;
        }
        let (record, epochs) = match RunData::outline(&run_dir(root, name)) {
            Ok(outline) => outline,
            Err(error) => {
                return Self { status: RunStatus::Failed, error: Some(error.to_string()), ..snapshot };
            }
        };
        snapshot.epochs = epochs;
        let Some(record) = record else {
            let status = if failure.is_some() { RunStatus::Failed } else { RunStatus::Interrupted };
            return Self { status, ..snapshot };
        };
        snapshot.version = record.version;
        snapshot.data = Some(record.dataset_checksum);
        let (status, error) = match record.outcome {
            RunStatus::Finished => (RunStatus::Finished, None),
            RunStatus::Diverged => (RunStatus::Diverged, record.error),
            RunStatus::Failed => (RunStatus::Failed, failure.or(record.error)),
            _ if failure.is_some() => (RunStatus::Failed, failure),
            _ => (RunStatus::Interrupted, None),
        };
        Self { status, error, at_limit: record.outcome == RunStatus::StepLimit, ..snapshot }
    }

    fn progress(&self, total: usize) -> Progress {
        Progress {
            failed: self.status == RunStatus::Failed,
            diverged: self.status == RunStatus::Diverged,
            epochs: self.epochs.iter().map(|epoch| (epoch.validation_accuracy, epoch.train_loss)).collect(),
            total,
        }
    }
}

/// Whether each run continues or is stopped at a rung of successive halving. Without halving, and for baselines, every run continues
/// to its last epoch.
pub fn fates(plan: &Plan, snapshots: &[RunSnapshot]) -> Vec<Fate> {
    let Some(halving) = &plan.halving else { return vec![Fate::Continues(None); plan.runs.len()] };
    let mut cells: Vec<(&str, Vec<Progress>)> = Vec::new();
    for (run, snapshot) in plan.runs.iter().zip(snapshots).filter(|(run, _)| run.role == Role::Cell) {
        let progress = snapshot.progress(run.epochs);
        match cells.last_mut() {
            Some((cell, runs)) if *cell == run.cell => runs.push(progress),
            _ => cells.push((&run.cell, vec![progress])),
        }
    }
    let (names, cells): (Vec<&str>, Vec<Vec<Progress>>) = cells.into_iter().unzip();
    let by_cell: HashMap<&str, Fate> = names.into_iter().zip(cell_fates(halving, &cells)).collect();
    let fate = |run: &PlannedRun| {
        let cell = run.control_of.as_ref().unwrap_or(&run.cell);
        by_cell.get(cell.as_str()).copied().unwrap_or(Fate::Continues(None))
    };
    plan.runs.iter().map(fate).collect()
}

/// Reads all run folders and writes `results.jsonl` and `results.csv`.
///
/// **Errors:** files that cannot be written.
pub fn collect(root: &Path, plan: &Plan) -> Result<Vec<ResultLine>> {
    // One process at a time reads and writes. Otherwise a slow process could overwrite newer results with older ones.
    let lock = open_lock(root, ".results")?;
    let _ = lock.lock(); // without locks, older results may stay until the next run ends
    let lines = results(root, plan);
    let mut jsonl = String::new();
    for line in &lines {
        let text = line.to_line().map_err(|error| {
            Error::broken(root, format!("{}: cannot be written as JSON: {error}", line.run))
        })?;
        jsonl += &text;
        jsonl.push('\n');
    }
    write_file(&root.join(RESULTS), jsonl.as_bytes())?;
    write_file(&root.join(CSV), csv(plan, &lines).as_bytes())?;
    Ok(lines)
}

/// The results in the run folders: one line for each run of the plan.
pub(super) fn results(root: &Path, plan: &Plan) -> Vec<ResultLine> {
    let snapshots: Vec<RunSnapshot> =
        plan.runs.iter().map(|run| RunSnapshot::read(root, &run.name)).collect();
    let fates = fates(plan, &snapshots);
    plan.runs
        .iter()
        .zip(snapshots)
        .zip(fates)
        .map(|((run, snapshot), fate)| {
            let is_running = snapshot.status == RunStatus::Interrupted && Claim::is_held(root, &run.name);
            let status = match (snapshot.status, fate, snapshot.at_limit) {
                _ if is_running => RunStatus::Pending,
                (RunStatus::Interrupted, Fate::Stopped(_), true) => RunStatus::StoppedEarly,
                (RunStatus::Interrupted, Fate::Continues(_), true) if plan.halving.is_some() => {
                    RunStatus::Pending
                }
                (status, ..) => status,
            };
            result_line(run, snapshot, status)
        })
        .collect()
}

/// A warning if the runs were trained on different data; `None` if they were not, or if the data are an axis of the study.
pub fn different_data(root: &Path, plan: &Plan) -> Option<String> {
    if plan.axes.iter().any(|axis| axis.starts_with("data")) {
        return None;
    }
    let data = |run: &PlannedRun| Some((RunSnapshot::read(root, &run.name).data?, run.name.clone()));
    let mut first_runs: HashMap<String, String> = HashMap::new();
    for (checksum, name) in plan.runs.iter().filter_map(data) {
        first_runs.entry(checksum).or_insert(name);
    }
    let mut names: Vec<String> = first_runs.into_values().collect();
    names.sort_unstable();
    (names.len() > 1).then(|| format!("the runs were trained on different data: see {}", names.join(", ")))
}

fn result_line(run: &PlannedRun, snapshot: RunSnapshot, status: RunStatus) -> ResultLine {
    let (last, best) = (last_evaluated(&snapshot.epochs), best(&snapshot.epochs));
    ResultLine {
        run: run.name.clone(),
        cell: run.cell.clone(),
        role: run.role,
        axes: run.axes.clone(),
        seed: run.seed,
        status,
        error: snapshot.error,
        epochs: snapshot.epochs.len(),
        last_test_accuracy: last.and_then(|epoch| epoch.test_accuracy),
        best_epoch: best.map(|epoch| epoch.epoch),
        best_validation_accuracy: best.and_then(|epoch| epoch.validation_accuracy),
        test_accuracy_at_best: best.and_then(|epoch| epoch.test_accuracy),
        last_train_loss: snapshot.epochs.last().map(|epoch| epoch.train_loss).filter(|loss| loss.is_finite()),
        seconds: snapshot.epochs.last().map_or(0.0, |epoch| epoch.total_seconds),
        version: snapshot.version,
    }
}

/// The results as comma-separated values, with a column for each axis.
pub(super) fn csv(plan: &Plan, lines: &[ResultLine]) -> String {
    let mut axes = plan.axes.clone();
    for axis in lines.iter().flat_map(|line| line.axes.keys()) {
        if !axes.contains(axis) {
            axes.push(axis.clone()); // an axis that only controls have
        }
    }
    let mut header: Vec<String> = ["run", "cell", "role"].map(str::to_owned).to_vec();
    header.extend(axes.iter().cloned());
    header.extend(
        [
            "seed",
            "status",
            "epochs",
            "last_test_accuracy",
            "best_epoch",
            "best_validation_accuracy",
            "test_accuracy_at_best",
            "last_train_loss",
            "seconds",
            "version",
            "error",
        ]
        .map(str::to_owned),
    );
    let row = |line: &ResultLine| {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let mut cells = vec![line.run.clone(), line.cell.clone(), line.role.to_string()];
        cells.extend(axes.iter().map(|axis| line.axes.get(axis).map_or(String::new(), plain)));
        cells.extend([
            line.seed.to_string(),
            line.status.to_string(),
            line.epochs.to_string(),
            number(line.last_test_accuracy),
            line.best_epoch.map_or(String::new(), |epoch| epoch.to_string()),
            number(line.best_validation_accuracy),
            number(line.test_accuracy_at_best),
            number(line.last_train_loss),
            line.seconds.to_string(),
            line.version.clone(),
            line.error.clone().unwrap_or_default(),
        ]);
        cells
    };
    to_csv(iter::once(header).chain(lines.iter().map(row)))
}
