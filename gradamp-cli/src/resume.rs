//! `gradamp train --resume`: reads the settings and the last checkpoint of a run.

use std::path::Path;

use gradamp_core::{Backend, Parameters};
use gradamp_study::config::{Layers, Resolved};
use gradamp_study::resume::is_free;
use gradamp_study::run_folder::{LoadedCheckpoint, Log, RunFolder, RunRecord};

use crate::args::settings::SettingsArgs;
use crate::failure::{Failure, Result};
use crate::output;

/// A run that goes on.
pub struct Resumed {
    /// Its folder, which this process holds.
    pub folder: RunFolder,
    /// Its settings.
    pub settings: Resolved,
    /// Whether it gets more epochs than it had.
    pub is_extended: bool,
}

/// Opens a run's folder and reads its settings, with the changes by options that are allowed at a resume: those that change
/// no result, and `--epochs` (with `--lr` for the added epochs), which extends the run.
///
/// **Errors:** the folder holds no run; an option would change the results of the run.
pub fn settings(path: &Path, args: &SettingsArgs) -> Result<Resumed> {
    for (flag, is_given) in [("--config", args.config.is_some()), ("--preset", args.preset.is_some())] {
        if is_given {
            let message = format!(
                "{flag} cannot be used with --resume, which takes the settings from {}",
                path.display()
            );
            return Err(Failure::usage(message));
        }
    }
    let folder = RunFolder::open(path)?;
    let before = RunFolder::settings_of(path)?;
    let mut layers = Layers { file: Some(folder.config_path()), is_stored: true, ..args.layers() };
    let epochs = layers.epochs.take();
    let lr = if epochs.is_some() { layers.lr.take() } else { None };
    // The step limit that may have ended the run before does not apply again. An option may set a new limit.
    layers.flags.insert(0, ("--resume", "train.max_steps", None));
    let mut after = layers.resolve()?;
    for change in before.differences(&after)? {
        if !is_free(&change.path) {
            return Err(Failure::usage(format!(
                "{}: {} cannot be changed when a run is resumed: it is {} in {}, found {}",
                change.origin,
                change.path,
                change.before,
                folder.config_path().display(),
                change.after
            )));
        }
    }
    let is_extended = match epochs {
        Some(total) => after.extend(total, lr)?,
        None => false,
    };
    if is_extended && folder.read_record()?.is_some_and(|record| record.study.is_some()) {
        let message =
            "is a run of a sweep, whose runs all have the epochs of its study; --epochs cannot extend it";
        return Err(Failure::usage(format!("{}: {message}", path.display())));
    }
    Ok(Resumed { folder, settings: after, is_extended })
}

/// Reads the last checkpoint. Returns `None` if the run was killed before it saved one.
///
/// **Errors:** the checkpoint is damaged (the error names the file); the log files have lines although there is no
/// checkpoint.
pub fn checkpoint<B: Backend>(
    folder: &RunFolder,
    record: Option<&RunRecord>,
    parameters: &mut Parameters<B>,
) -> Result<Option<LoadedCheckpoint<B>>> {
    let (last, best) = (folder.last(), folder.best());
    let trouble = last.recover()?;
    let checkpoint = last.open()?;
    for trouble in trouble.into_iter().chain(best.recover()?) {
        output::message(format_args!("warning: {trouble}"));
    }
    folder.remove_leftovers()?;
    if let Some(checkpoint) = checkpoint {
        return checkpoint.load(parameters).map(Some).map_err(Failure::failed);
    }
    let has_lines = |log: Log| log.path_in(folder.root()).metadata().is_ok_and(|metadata| metadata.len() > 0);
    if record.is_some_and(RunRecord::was_saved) || Log::ALL.into_iter().any(has_lines) {
        return Err(last.missing().into());
    }
    output::message("the run has not saved a checkpoint: it starts again at its first step");
    Ok(None)
}
