//! A sweep's folder: what is written there before the first run.

use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::files;
use gradamp_models::create_folders;

use super::collect::has_begun;
use super::data::{PLAN, config_path, run_dir};
use super::expand::Expansion;
use super::plan::Plan;
use super::study::Study;
use crate::config::{KeyError, Layers, Resolved, read_file};
use crate::failure::{Failure, Result};
use crate::resume;
use crate::run_folder::{self, RunFolder, check_not_owned, write_file, write_json};

const STUDY: &str = "sweep.toml";
const BASE: &str = "base.toml";

/// **Errors:** a path at which no sweep's folder can be; a run's folder whose settings are not the plan's: nothing is
/// overwritten.
pub fn check_runs(root: &Path, expansion: &Expansion) -> Result<()> {
    if fs::symlink_metadata(root).is_ok() && !root.is_dir() {
        let message =
            format!("{}: expected the path of a sweep's folder, found something else", root.display());
        return Err(Failure::failed(message));
    }
    check_not_owned(root)?;
    if RunFolder::config_of(root).is_ok() {
        let message = format!("{}: already holds a run; choose another --out", root.display());
        return Err(Failure::failed(message));
    }
    for (run, planned) in expansion.plan.runs.iter().zip(&expansion.settings) {
        if !has_begun(root, &run.name) {
            continue;
        }
        let path = run_dir(root, &run.name).join("config.toml");
        let found = Layers { file: Some(path.clone()), ..Layers::default() }.resolve()?;
        if let Some(difference) = difference(&found, planned)? {
            let message = format!(
                "{}: holds another run than the plan's: {difference}; remove that folder, or choose another --out",
                path.display()
            );
            return Err(Failure::usage(message));
        }
    }
    Ok(())
}

/// The first setting that makes another run of it.
fn difference(found: &Resolved, planned: &Resolved) -> Result<Option<String>, KeyError> {
    // Where data lies may change, but not which data it is.
    let is_free = |path: &str| resume::is_free(path) && !path.starts_with("data.source");
    let differences = found.differences(planned)?;
    let first = differences.into_iter().find(|difference| !is_free(&difference.path));
    Ok(first.map(|it| format!("{} is {} there and {} by {}", it.path, it.before, it.after, it.origin)))
}

/// Writes the study, the plan and each run's settings; says which runs are there that the plan does not hold.
///
/// **Errors:** a folder that cannot be written; one with a plan of another form.
pub fn prepare(root: &Path, study: &Study, expansion: &Expansion) -> Result<Vec<String>> {
    let plan = root.join(PLAN);
    let before = if plan.exists() { Some(Plan::read(&plan)?) } else { None };
    for folder in [root.join("configs"), root.join("runs")] {
        create_folders(&folder)?;
    }
    for (run, settings) in expansion.plan.runs.iter().zip(&expansion.settings) {
        write(&config_path(root, &run.name), &settings.show()?)?;
    }
    write(&root.join(STUDY), &whole(root, study)?)?;
    if before.as_ref() != Some(&expansion.plan) {
        write_json(&plan, &expansion.plan)?;
    }
    let gone = before.map(|plan| plan.runs).unwrap_or_default().into_iter().map(|run| run.name);
    Ok(gone.filter(|name| expansion.plan.run(name).is_none() && has_begun(root, name)).collect())
}

/// The study's text. A file of settings that it names is copied beside it, since the name leads there from the study's own
/// folder alone.
fn whole(root: &Path, study: &Study) -> Result<String> {
    let Some(path) = &study.config else { return Ok(study.text.clone()) };
    let settings = read_file(path)?;
    write(&root.join(BASE), &settings)?;
    Ok(study.text_with(BASE))
}

/// Writes a file, unless it says that already: several processes may begin at once.
fn write(path: &Path, text: &str) -> Result<(), run_folder::Error> {
    match files::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        _ => write_file(path, text.as_bytes()),
    }
}

/// Where a study's sweep goes if nobody says.
pub fn default_root(study: &Study) -> PathBuf {
    Path::new("sweeps").join(&study.name)
}
