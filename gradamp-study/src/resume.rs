//! What may change in a run that goes on, and what may not.

use crate::config::Resolved;
use crate::config::tree::{self, Origin};
use crate::run_folder::{RunFolder, RunRecord};
use crate::{Error, Result};

/// Settings that may differ from the run's: they change how it computes, not what. All others decide about a number in its
/// checkpoints or its logs.
const FREE: [&str; 13] = [
    "train.baseline",
    "train.threads",
    "train.device",
    "train.gpu_memory",
    "train.tuned",
    "train.max_steps",
    "train.patience",
    "train.checkpoint_seconds",
    "train.tensorboard",
    "data.resident",
    "data.workers",
    // Where the data lies; that it is the same is known from its checksum.
    "data.source",
    "data.path",
];

/// Whether the setting at `path` may differ from the run's.
pub fn is_free(path: &str) -> bool {
    let is_at =
        |free: &str| path.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    FREE.into_iter().any(is_at)
}

/// If a relative path of data from the run's own settings leads nowhere from the current folder, resolves it from the folder in
/// which the run began, and returns a line that says so.
pub fn find_data(resolved: &mut Resolved, record: &RunRecord) -> Option<String> {
    let path = resolved.config.data.path.as_ref().filter(|path| path.is_relative() && !path.exists())?;
    let is_own = matches!(resolved.origin("data.path"), Origin::File(..));
    let there =
        record.begun_in.as_ref().map(|folder| folder.join(path)).filter(|there| is_own && there.exists())?;
    let line = format!(
        "{}: not found from the current folder; using the path from the folder in which the run began: {}",
        tree::shown(path),
        tree::shown(&there)
    );
    resolved.config.data.path = Some(there);
    Some(line)
}

/// **Errors:** data other than the run began with.
pub fn check_data(folder: &RunFolder, record: &RunRecord, dataset: &str, checksum: &str) -> Result<()> {
    if record.dataset_checksum == checksum {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{}: the run began with {} (SHA-256 {}), found {} (SHA-256 {}); \
         if the run's data lies elsewhere, give its place by --data",
        folder.root().display(),
        record.dataset,
        record.dataset_checksum,
        dataset,
        checksum
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    /// What decides about a number in the checkpoints or the logs of a run. A setting that is new goes here, or, if it
    /// changes no bit, to [`FREE`].
    const FIXED: [(&str, &[&str]); 6] = [
        (
            "model",
            &[
                "name",
                "width",
                "norm",
                "activation",
                "skip",
                "depth",
                "repeat",
                "dropout",
                "stochastic_depth",
                "initial",
                "gain",
                "init",
                "init_names",
                "init_skip",
            ],
        ),
        ("data", &["train_limit", "test_limit", "validation", "crop_padding", "flip", "cutout", "shapes"]),
        (
            "train",
            &[
                "batch_size",
                "accumulate",
                "mixup",
                "cutmix",
                "ema",
                "seed",
                "precision",
                "evaluate_every",
                "log_interval",
                "gradients_every",
                "signals",
                "on_divergence",
                "loss_scaling",
            ],
        ),
        (
            "optimizer",
            &[
                "name",
                "momentum",
                "weight_decay",
                "nesterov",
                "betas",
                "epsilon",
                "no_decay",
                "centralise",
                "normalise",
                "clip_norm",
                "clip_value",
                "label_smoothing",
                "adaptive_clip",
                "noise",
                "lars",
                "layer_rates",
            ],
        ),
        (
            "amplification",
            &[
                "policy",
                "kinds",
                "paths",
                "sites",
                "factors",
                "ratio",
                "count",
                "redraw",
                "draws",
                "factor",
                "placement",
                "through",
                "max_gain",
                "seed",
                "fluctuation",
                "equalise",
                "depth",
                "options",
            ],
        ),
        ("strategy", &["lr", "phase"]),
    ];

    #[test]
    fn every_setting_is_either_free_or_fixed_in_a_run_that_goes_on() {
        let mut known = 0;
        for (table, keys) in keys::tables() {
            let (_, fixed) = FIXED.into_iter().find(|(name, _)| *name == table).unwrap();
            for key in keys {
                let path = format!("{table}.{key}");
                assert!(is_free(&path) != fixed.contains(key), "{path}: say whether it is free");
            }
            let free = FREE.iter().filter(|path| path.starts_with(&format!("{table}."))).count();
            assert_eq!(keys.len(), fixed.len() + free, "{table}: a setting that does not exist");
            known += free;
        }
        assert_eq!(known, FREE.len());
        assert!(is_free("data.path.bytes.3") && !is_free("data.pathology"));
    }
}
