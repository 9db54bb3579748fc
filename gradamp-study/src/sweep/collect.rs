//! The status of each run of a sweep, read from its folder, and the results made of it.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data::{CSV, RESULTS, run_dir};
use super::halving::{Fate, Progress, cell_fates};
use super::plan::{Plan, PlannedRun, Role, plain};
use super::results::ResultLine;
use crate::columns::csv_row;
use crate::run_folder::lines::{EpochLine, best, last_evaluated};
use crate::run_folder::{Error, Result, RunData, RunStatus, read_json, write_file, write_json};

/// The status of a run, read from its folder.
#[derive(Clone, Debug)]
pub struct View {
    /// How far the run is, without regard to its cell.
    pub status: RunStatus,
    /// Whether it ended at a rung.
    pub at_limit: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Its epochs.
    pub epochs: Vec<EpochLine>,
    /// The version of the program that made it.
    pub version: String,
    /// The checksum of its data.
    pub data: Option<String>,
}

/// `failures/NAME.json`: why a run failed, written by the sweep if the run could not write it.
#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    error: String,
}

/// A claim on a run: while it is held, no other process of the sweep trains the run.
#[derive(Debug)]
pub struct Claim(#[allow(dead_code, reason = "holds the lock")] File);

impl Claim {
    /// Claims the run called `name`; `None` where it is claimed already.
    pub fn acquire(root: &Path, name: &str) -> Result<Option<Self>> {
        let path = claim_path(root, name);
        let file = open_lock(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            // Some network drives know no locks; the run folder then has to do.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Self(file))),
        }
    }

    /// Whether the run is claimed.
    pub fn is_held(root: &Path, name: &str) -> bool {
        let file = File::options().write(true).open(claim_path(root, name));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

fn claim_path(root: &Path, name: &str) -> PathBuf {
    root.join(".claims").join(name)
}

fn open_lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.map_err(Error::io(path, "create this file"))
}

/// Makes a folder of a sweep, but not the sweep's own: if the sweep's folder was removed or renamed, the sweep fails
/// instead of making it again.
fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        made => made.map_err(Error::io(path, "make this folder")),
    }
}

fn failure_path(root: &Path, name: &str) -> PathBuf {
    root.join("failures").join(format!("{name}.json"))
}

/// The files that say why a run failed, and what is wrong with them.
pub(super) fn failures(root: &Path, plan: &Plan) -> Vec<(PathBuf, Result<String>)> {
    let paths = plan.runs.iter().map(|run| failure_path(root, &run.name)).filter(|path| path.exists());
    paths.map(|path| (path.clone(), read_json::<Failed>(&path).map(|failed| failed.error))).collect()
}

/// Writes down why a run failed.
pub fn record_failure(root: &Path, name: &str, error: &str) -> Result<()> {
    let path = failure_path(root, name);
    make_folder(&root.join("failures"))?;
    gradamp_models::sync_folder(root)?;
    write_json(&path, &Failed { error: error.to_owned() })
}

/// Forgets that a run failed.
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

impl View {
    /// Reads the status of the run called `name`.
    pub fn read(root: &Path, name: &str) -> Self {
        let path = failure_path(root, name);
        let failure = match path.exists() {
            true => Some(match read_json::<Failed>(&path) {
                Ok(failed) => failed.error,
                Err(error) => error.to_string(),
            }),
            false => None,
        };
        let mut view = Self {
            status: if failure.is_some() { RunStatus::Failed } else { RunStatus::Pending },
            at_limit: false,
            error: failure.clone(),
            epochs: Vec::new(),
            version: String::new(),
            data: None,
        };
        if !has_begun(root, name) {
            return view;
        }
        let (record, epochs) = match RunData::outline(&run_dir(root, name)) {
            Ok(outline) => outline,
            Err(error) => return Self { status: RunStatus::Failed, error: Some(error.to_string()), ..view },
        };
        view.epochs = epochs;
        let Some(record) = record else {
            let killed = if failure.is_some() { RunStatus::Failed } else { RunStatus::Interrupted };
            return Self { status: killed, ..view };
        };
        view.version = record.version;
        view.data = Some(record.dataset_checksum);
        let (status, error) = match record.outcome {
            RunStatus::Finished => (RunStatus::Finished, None),
            RunStatus::Diverged => (RunStatus::Diverged, record.error),
            RunStatus::Failed => (RunStatus::Failed, failure.or(record.error)),
            _ if failure.is_some() => (RunStatus::Failed, failure),
            _ => (RunStatus::Interrupted, None),
        };
        Self { status, error, at_limit: record.outcome == RunStatus::StepLimit, ..view }
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

/// The fate of each run. Runs that do not compete at rungs go to their end.
pub fn fates(plan: &Plan, views: &[View]) -> Vec<Fate> {
    let Some(halving) = &plan.halving else { return vec![Fate::Continues(None); plan.runs.len()] };
    let mut cells: Vec<(&str, Vec<Progress>)> = Vec::new();
    for (run, view) in plan.runs.iter().zip(views).filter(|(run, _)| run.role == Role::Cell) {
        let progress = view.progress(run.epochs);
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

/// Makes the results from the run folders, and writes them.
///
/// **Errors:** files that cannot be written.
pub fn collect(root: &Path, plan: &Plan) -> Result<Vec<ResultLine>> {
    // One process at a time, so that none writes what it read before another's run ended.
    let lock = open_lock(&claim_path(root, ".results"))?;
    let _ = lock.lock(); // where there are no locks, the next run's end makes it good
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

/// The results in the run folders, a line for each run of the plan.
pub(super) fn results(root: &Path, plan: &Plan) -> Vec<ResultLine> {
    let views: Vec<View> = plan.runs.iter().map(|run| View::read(root, &run.name)).collect();
    let fates = fates(plan, &views);
    plan.runs
        .iter()
        .zip(views)
        .zip(fates)
        .map(|((run, view), fate)| {
            let is_going_on = view.status == RunStatus::Interrupted && Claim::is_held(root, &run.name);
            let status = match (view.status, fate, view.at_limit) {
                _ if is_going_on => RunStatus::Pending,
                (RunStatus::Interrupted, Fate::Stopped(_), true) => RunStatus::StoppedEarly,
                (RunStatus::Interrupted, Fate::Continues(_), true) if plan.halving.is_some() => {
                    RunStatus::Pending
                }
                (status, ..) => status,
            };
            line(run, view, status)
        })
        .collect()
}

/// A warning about runs that were trained on different data although no axis is about data.
pub fn different_data(root: &Path, plan: &Plan) -> Option<String> {
    if plan.axes.iter().any(|axis| axis.starts_with("data")) {
        return None;
    }
    let data = |run: &PlannedRun| Some((View::read(root, &run.name).data?, run.name.clone()));
    let mut sets: HashMap<String, String> = HashMap::new();
    for (data, name) in plan.runs.iter().filter_map(data) {
        sets.entry(data).or_insert(name);
    }
    let mut names: Vec<String> = sets.into_values().collect();
    names.sort_unstable();
    (names.len() > 1).then(|| format!("the runs were trained on different data: see {}", names.join(", ")))
}

fn line(run: &PlannedRun, view: View, status: RunStatus) -> ResultLine {
    let (last, best) = (last_evaluated(&view.epochs), best(&view.epochs));
    ResultLine {
        run: run.name.clone(),
        cell: run.cell.clone(),
        role: run.role,
        axes: run.axes.clone(),
        seed: run.seed,
        status,
        error: view.error,
        epochs: view.epochs.len(),
        last_test_accuracy: last.and_then(|epoch| epoch.test_accuracy),
        best_epoch: best.map(|epoch| epoch.epoch),
        best_validation_accuracy: best.and_then(|epoch| epoch.validation_accuracy),
        test_accuracy_at_best: best.and_then(|epoch| epoch.test_accuracy),
        last_train_loss: view.epochs.last().map(|epoch| epoch.train_loss).filter(|loss| loss.is_finite()),
        seconds: view.epochs.last().map_or(0.0, |epoch| epoch.total_seconds),
        version: view.version,
    }
}

/// The results as comma-separated values, with a column for each axis.
pub(super) fn csv(plan: &Plan, lines: &[ResultLine]) -> String {
    let mut axes = plan.axes.clone();
    for axis in lines.iter().flat_map(|line| line.axes.keys()) {
        if !axes.contains(axis) {
            axes.push(axis.clone()); // what controls have besides
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
    let mut text = csv_row(&header);
    for line in lines {
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
        text += &csv_row(&cells);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_claimed_once_until_the_claim_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Claim::is_held(root.path(), "a"), "nobody has asked for it yet");
        let claim = Claim::acquire(root.path(), "a").unwrap();
        assert!(claim.is_some() && Claim::is_held(root.path(), "a"));
        assert!(Claim::acquire(root.path(), "a").unwrap().is_none());
        assert!(Claim::acquire(root.path(), "b").unwrap().is_some(), "another run");
        drop(claim);
        assert!(!Claim::is_held(root.path(), "a") && Claim::acquire(root.path(), "a").unwrap().is_some());
    }
}
