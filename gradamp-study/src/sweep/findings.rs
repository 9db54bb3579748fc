//! Whether each file of a sweep is what was written.

use std::path::Path;

use super::collect::{csv, failures, has_begun, results};
use super::data::{CSV, RESULTS, SweepData, collect_again, config_path, run_dir};
use super::folder::STUDY;
use super::plan::Plan;
use super::results::ResultLine;
use super::study::BASE;
use crate::run_folder::{self, Error, FileSeal, Finding, Result, RunFolder};

/// Checks every file of the sweep in `root` against its seal, and the results against the run folders. Changes nothing.
///
/// **Errors:** a folder that holds no sweep.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let path = SweepData::plan_of(root)?;
    let plan = match Plan::read(&path) {
        Ok(plan) => plan,
        Err(error) => return Ok(vec![Finding::new(&path, Err(error))]),
    };
    let mut all = vec![Finding::new(&path, Ok(()))];
    let configs = plan.runs.iter().map(|run| config_path(root, &run.name));
    for path in [root.join(STUDY), root.join(BASE)].into_iter().chain(configs) {
        all.extend(check_settings(root, &plan, &path));
    }
    all.extend(check_results(root, &plan));
    for (path, read) in failures(root, &plan) {
        all.push(Finding::new(&path, read.map(drop)));
    }
    for run in plan.runs.iter().filter(|run| has_begun(root, &run.name)) {
        all.extend(run_folder::findings(&run_dir(root, &run.name))?);
    }
    Ok(all)
}

/// A file of settings, whose seal is in the plan; `None` if the file does not exist and need not exist.
fn check_settings(root: &Path, plan: &Plan, path: &Path) -> Option<Finding> {
    let name = Plan::name_of(root, path);
    match plan.files.get(&name) {
        Some(seal) => {
            Some(Finding::new(path, FileSeal::read(path).and_then(|found| seal.check(path, &found))))
        }
        None => path.exists().then(|| Finding::noted(path, "unsealed by an earlier version of gradamp")),
    }
}

/// The results: their seals, and whether they agree with the run folders.
fn check_results(root: &Path, plan: &Plan) -> Vec<Finding> {
    let (path, table) = (root.join(RESULTS), root.join(CSV));
    if !path.exists() {
        return vec![Finding::noted(&path, "is not there yet: no run has ended")];
    }
    let lines = match SweepData::read(root) {
        Ok(data) => data.results,
        Err(error) => return vec![Finding::new(&path, Err(error))],
    };
    let again = collect_again(root);
    let expected = results(root, plan);
    let is_running = |line: &ResultLine| RunFolder::is_in_use(&run_dir(root, &line.run));
    let differs = |(line, expected): &(&ResultLine, &ResultLine)| {
        // The line of a run whose folder was removed stays. The line of a running run is older than its folder.
        has_begun(root, &line.run) && !is_running(line) && line != expected
    };
    let stale = lines.iter().zip(&expected).find(differs).map(|(line, _)| {
        Error::broken(
            &path,
            format!("the line of {} differs from the run's folder, which gives: {again}", line.run),
        )
    });
    let unsealed =
        (!SweepData::are_results_sealed(root)).then_some("unsealed by an earlier version of gradamp");
    let lines_finding = match (stale, unsealed) {
        (Some(error), _) => Finding::new(&path, Err(error)),
        (None, Some(note)) => Finding::noted(&path, note),
        (None, None) => Finding::new(&path, Ok(())),
    };
    vec![lines_finding, check_csv(&table, &csv(plan, &lines), &again)]
}

/// `results.csv`, which has the same content as `results.jsonl`.
fn check_csv(path: &Path, expected: &str, again: &str) -> Finding {
    let expected = FileSeal::of_bytes(expected.as_bytes());
    let checked = FileSeal::read(path).and_then(|found| expected.check(path, &found));
    match checked {
        Err(Error::Broken { path, message }) => {
            let error = Error::broken(&path, format!("{message}; {again}"));
            Finding::new(&path, Err(error))
        }
        other => Finding::new(path, other),
    }
}
