//! A sweep's folder before the first run: the files that are written, and the checks that nothing is overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::amplify::{Amplify, Draws};
use gradamp_core::files;
use gradamp_models::create_folders;

use super::collect::has_begun;
use super::data::{PLAN, config_path, run_dir};
use super::expand::Expansion;
use super::plan::Plan;
use super::study::{BASE, Study};
use crate::config::tree::{Node, Value};
use crate::config::{DRAWS, KeyError, Layers, Resolved, read_file};
use crate::resume;
use crate::run_folder::{self, FileSeal, RunFolder, check_not_owned, write_file, write_json};
use crate::{Error, Result};

pub(super) const STUDY: &str = "sweep.toml";

/// **Errors:** `root` is not a folder, or the folder of a run; a run's folder whose settings differ from the plan, because
/// nothing is overwritten.
pub fn check_runs(root: &Path, expansion: &Expansion) -> Result<()> {
    if fs::symlink_metadata(root).is_ok() && !root.is_dir() {
        let message =
            format!("{}: expected the path of a sweep's folder, found something else", root.display());
        return Err(Error::failed(message));
    }
    check_not_owned(root)?;
    if RunFolder::config_of(root).is_ok() {
        let message = format!("{}: already holds a run; choose another --out", root.display());
        return Err(Error::failed(message));
    }
    for (run, planned) in expansion.plan.runs.iter().zip(&expansion.settings) {
        if !has_begun(root, &run.name) {
            continue;
        }
        let folder = run_dir(root, &run.name);
        let (path, found) = (RunFolder::config_of(&folder)?, RunFolder::settings_of(&folder)?);
        if let Some(difference) = difference(&found, planned)? {
            let message = format!(
                "{}: holds a run whose settings differ from the plan's: {difference}; remove that folder, or choose another --out",
                path.display()
            );
            return Err(Error::request(message));
        }
    }
    Ok(())
}

/// If the folder holds a run of a version that drew amplified layers by their positions alone, lets the remaining runs draw so
/// too, so that all runs of a cell are alike. A study that sets `amplification.draws` itself keeps its choice.
///
/// **Errors:** a run whose settings cannot be read.
pub fn keep_draws(root: &Path, expansion: &mut Expansion) -> Result<()> {
    let Some(run) = expansion.plan.runs.iter().find(|run| has_begun(root, &run.name)) else { return Ok(()) };
    let found = RunFolder::settings_of(&run_dir(root, &run.name))?;
    if found.config.amplification.draws != Draws::Positions {
        return Ok(());
    }
    for settings in expansion.settings.iter_mut().filter(|settings| settings.tree.get(DRAWS).is_none()) {
        let value = Value::String("positions".into());
        settings.tree.set(DRAWS, Node { origin: found.origin(DRAWS), value })?;
        settings.config.amplification.draws = Draws::Positions;
        for phase in &mut settings.config.strategy.phases {
            if let Amplify::On(Some(own)) = &mut phase.amplify {
                own.draws = Draws::Positions;
            }
        }
    }
    Ok(())
}

/// The first setting in which the run differs from the planned run.
fn difference(found: &Resolved, planned: &Resolved) -> Result<Option<String>, KeyError> {
    // The path of the data may change, but not the data.
    let is_free = |path: &str| resume::is_free(path) && !path.starts_with("data.source");
    let differences = found.differences(planned)?;
    let first = differences.into_iter().find(|difference| !is_free(&difference.path));
    Ok(first.map(|it| {
        format!("{} is {} in the folder, and {} in the plan ({})", it.path, it.before, it.after, it.origin)
    }))
}

/// Writes the study, the plan and each run's settings; returns the runs in the folder that are not in the plan.
///
/// **Errors:** a folder that cannot be written; one with a plan of another form.
pub fn prepare(root: &Path, study: &Study, expansion: &Expansion) -> Result<Vec<String>> {
    let plan = root.join(PLAN);
    let before = if plan.exists() { Some(Plan::read(&plan)?) } else { None };
    for folder in [root.join("configs"), root.join("runs")] {
        create_folders(&folder)?;
    }
    let mut seals = BTreeMap::new();
    let mut write_sealed = |path: &Path, text: &str| {
        seals.insert(Plan::name_of(root, path), FileSeal::of_bytes(text.as_bytes()));
        write(path, text)
    };
    for (run, settings) in expansion.plan.runs.iter().zip(&expansion.settings) {
        write_sealed(&config_path(root, &run.name), &settings.show()?)?;
    }
    // The file of settings is copied beside the study, because its path is relative to the folder of the original study.
    if let Some(config) = &study.config {
        write_sealed(&root.join(BASE), &read_file(config)?)?;
    }
    write_sealed(&root.join(STUDY), &study.written())?;
    let sealed = Plan { files: seals, ..expansion.plan.clone() };
    if before.as_ref() != Some(&sealed) {
        write_json(&plan, &sealed)?;
    }
    let gone = before.map(|plan| plan.runs).unwrap_or_default().into_iter().map(|run| run.name);
    Ok(gone.filter(|name| expansion.plan.run(name).is_none() && has_begun(root, name)).collect())
}

/// The plan of the sweep in `root` and the settings of its runs, as [`prepare`] wrote them. The study is not read.
///
/// **Errors:** no sweep's folder; a plan that is damaged; settings that were changed since they were written, or are not valid.
pub fn planned(root: &Path) -> Result<Expansion> {
    let path = root.join(PLAN);
    if !path.is_file() {
        let message = format!("{}: expected the folder of a sweep, found no {PLAN} in it", root.display());
        return Err(Error::failed(message));
    }
    let plan = Plan::read(&path)?;
    let settings = plan.runs.iter().map(|run| {
        let file = config_path(root, &run.name);
        if let Some(seal) = plan.files.get(&Plan::name_of(root, &file)) {
            seal.check(&file, &FileSeal::read(&file)?)?;
        }
        Ok(Layers { file: Some(file), is_stored: true, ..Layers::default() }.resolve()?)
    });
    let settings = settings.collect::<Result<Vec<Resolved>>>()?;
    Ok(Expansion { plan, settings, warnings: Vec::new() })
}

/// Writes a file unless it has this content already, because several processes may begin at once.
fn write(path: &Path, text: &str) -> Result<(), run_folder::Error> {
    match files::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        _ => write_file(path, text.as_bytes()),
    }
}

/// The folder of a study's sweep, by default.
pub fn default_root(study: &Study) -> PathBuf {
    Path::new("sweeps").join(&study.name)
}
