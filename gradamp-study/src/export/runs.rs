//! The runs of a table: run folders, and all runs of sweep folders.

use std::path::{Path, PathBuf};

use crate::compare::{folders_at, runs_in};
use crate::config::LoopSettings;
use crate::run_folder::lines::{EpochLine, attenuations};
use crate::run_folder::{RunData, RunFolder, RunRecord};
use crate::sweep::{Axes, Plan, PlannedRun, SweepData};
use crate::{Error, Result};

/// The name of a sweep, and a run of it.
type InSweep = (String, PlannedRun);

/// A run with its epochs.
#[derive(Debug)]
pub struct Run {
    /// The run's name in its sweep, or else its folder's name.
    pub name: String,
    /// The name of the sweep and the run's place in it.
    pub planned: Option<InSweep>,
    /// The run's record.
    pub record: RunRecord,
    /// The images of a step.
    pub images_per_step: usize,
    /// The epochs.
    pub epochs: Vec<EpochLine>,
    /// The attenuation of each epoch, where gradients were measured.
    pub attenuations: Vec<Option<f64>>,
}

impl Run {
    /// The run's values on the axes of its sweep.
    pub fn axes(&self) -> Option<&Axes> {
        self.planned.as_ref().map(|(_, run)| &run.axes)
    }

    /// Reads the run in `folder`; `None` where the run has begun but is not on record yet.
    fn read(folder: &Path, planned: Option<InSweep>) -> Result<Option<Self>> {
        let LoopSettings { batch_size, accumulate, .. } = RunFolder::settings_of(folder)?.config.train;
        let (Some(record), epochs) = RunData::outline(folder)? else { return Ok(None) };
        let by_epoch = attenuations(&RunData::gradients(folder)?);
        let attenuations = epochs.iter().map(|line| by_epoch.get(&line.epoch).copied()).collect();
        let own_name = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = match &planned {
            Some((_, run)) => run.name.clone(),
            None => own_name().unwrap_or_else(|| folder.display().to_string()),
        };
        Ok(Some(Self {
            name,
            planned,
            record,
            images_per_step: batch_size * accumulate,
            epochs,
            attenuations,
        }))
    }
}

/// Reads the runs that `paths` stand for. A path is a run's folder, a sweep's folder, a folder that contains run folders, or a
/// pattern with `*` or `?`. Runs of a sweep that have not begun are left out.
///
/// **Errors:** a path that is none of these; a pattern that matches nothing; a run that is named twice; a folder that is
/// damaged.
pub fn read_runs(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut runs = Vec::new();
    for path in paths {
        let found = folders_at(path)?;
        if found.is_empty() {
            return Err(Error::failed(format!("no folder matches {}", path.display())));
        }
        for folder in found {
            for (folder, planned) in planned_runs(&folder)? {
                let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                if folders.contains(&real) {
                    return Err(Error::request(format!("{} is named twice", folder.display())));
                }
                folders.push(real);
                runs.extend(Run::read(&folder, planned)?);
            }
        }
    }
    Ok(runs)
}

/// The folders of the runs in `folder`, and for those of a sweep their place in it.
fn planned_runs(folder: &Path) -> Result<Vec<(PathBuf, Option<InSweep>)>> {
    if !SweepData::is_sweep(folder) {
        return Ok(runs_in(folder)?.into_iter().map(|run| (run, None)).collect());
    }
    let plan = Plan::read(&SweepData::plan_of(folder)?)?;
    let with_folder =
        |run: PlannedRun| (SweepData::run_dir_in(folder, &run.name), Some((plan.name.clone(), run)));
    let has_begun = |(run, _): &(PathBuf, _)| RunFolder::config_of(run).is_ok();
    Ok(plan.runs.iter().cloned().map(with_folder).filter(has_begun).collect())
}
