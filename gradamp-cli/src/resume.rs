//! `gradamp train --resume`: the settings of a run, and where it stands.

use std::path::Path;

use gradamp_core::{Backend, Parameters};

use crate::args::SettingsArgs;
use crate::config::{Config, Layers, Resolved};
use crate::failure::{Failure, Result};
use crate::run_folder::{LoadedCheckpoint, RunFolder, RunRecord};

/// Settings that may differ from the run's: they change how it computes, not what.
pub const FREE: [&str; 10] = [
    "train.threads",
    "train.device",
    "train.gpu_memory",
    "train.tuned",
    "train.max_steps",
    "train.checkpoint_seconds",
    "train.tensorboard",
    "data.resident",
    // Where the data lies; that it is the same is known from its checksum.
    "data.source",
    "data.path",
];

/// Opens the run's folder and reads its settings, under those flags that may change them.
///
/// **Errors:** no run there; settings that would make it another run.
pub fn settings(path: &Path, args: &SettingsArgs) -> Result<(RunFolder, Resolved)> {
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
    let stored = Layers { file: Some(folder.config_path()), ..Layers::default() };
    let before = stored.resolve()?;
    let mut layers = args.layers();
    layers.file = stored.file;
    // A limit ended the run before; this time there is one only if it is given anew.
    layers.flags.insert(0, ("--resume", "train.max_steps", None));
    let after = layers.resolve()?;
    for change in before.differences(&after)? {
        if !FREE.contains(&change.path.as_str()) {
            return Err(Failure::usage(format!(
                "{}: {} cannot be changed in a run that goes on: it is {} in {}, found {}",
                change.origin,
                change.path,
                change.before,
                folder.config_path().display(),
                change.after
            )));
        }
    }
    Ok((folder, after))
}

/// **Errors:** data other than the run began with.
pub fn check_data(folder: &RunFolder, record: &RunRecord, dataset: &str, checksum: &str) -> Result<()> {
    if record.dataset_checksum == checksum {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{}: the run began with {} (SHA-256 {}), found {} (SHA-256 {})",
        folder.root().display(),
        record.dataset,
        record.dataset_checksum,
        dataset,
        checksum
    )))
}

/// Reads the last checkpoint; `None` where the run was killed before its first one.
///
/// **Errors:** a damaged checkpoint, by file; a run with lines but without a checkpoint.
pub fn checkpoint<B: Backend>(
    folder: &RunFolder,
    parameters: &mut Parameters<B>,
    config: &Config,
) -> Result<Option<LoadedCheckpoint<B>>> {
    let last = folder.last();
    if last.recover()? {
        return last.load(parameters, config.sgd()).map(Some).map_err(Failure::failed);
    }
    let metrics = folder.root().join("metrics.jsonl");
    if metrics.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        let message = format!("{}: expected the checkpoint of the run, found none", last.path().display());
        return Err(Failure::failed(message));
    }
    Ok(None)
}
