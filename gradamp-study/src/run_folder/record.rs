//! `run.json`: the record of a run: version, model, data, device, times and outcome.

use std::path::{Path, PathBuf};

use gradamp_core::amplify::ParameterGain;
use gradamp_core::files;
use gradamp_data::Normalisation;
use serde::{Deserialize, Serialize};

use super::disk::{RECORD, parse_sealed_json};
use super::seal::StudySeal;
use super::{Error, FileSeal, Result, RunStatus};
use crate::gains;

/// `run.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The form of the file: 2 has a seal, 1 is that of earlier versions of the program.
    #[serde(default = "unsealed")]
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// The commit that the program was built from, where it was built from a repository.
    pub commit: Option<String>,
    /// The model, with width and classes.
    pub model: String,
    /// The number of trained values.
    pub parameters: usize,
    /// Steps in an epoch.
    #[serde(default)]
    pub steps_per_epoch: Option<u64>,
    /// The run's seed.
    pub seed: u64,
    /// For a run of a sweep: the seals of its study's file and of the study's contrasts when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<StudySeal>,
    /// The device that the run began on.
    pub device: String,
    /// The data set's name.
    pub dataset: String,
    /// The SHA-256 of the data set's content.
    pub dataset_checksum: String,
    /// The constants with which images are normalised; earlier versions of the program did not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// The classes' names.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The current folder when the run began. Relative paths of the settings start there.
    #[serde(default, with = "gradamp_data::any_path", skip_serializing_if = "Option::is_none")]
    pub begun_in: Option<PathBuf>,
    /// The seal of `config.toml`, which never changes.
    #[serde(default)]
    pub config: Option<FileSeal>,
    /// Whether a checkpoint was saved. From the first one on, the run always has a checkpoint.
    #[serde(default)]
    pub saved: bool,
    /// When the run began.
    pub start: String,
    /// When the run ended, or was last interrupted.
    pub end: Option<String>,
    /// `running`, `finished`, `interrupted`, `step_limit`, `diverged` or `failed`. A run that says `running` while no
    /// process holds its folder was killed.
    pub outcome: RunStatus,
    /// The error that ended the run.
    pub error: Option<String>,
    /// The continuations of the run.
    pub resumed: Vec<Session>,
    /// The checkpoints (`best`, `last`) that `gradamp runs clean` has removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The mean gain that amplification gives each parameter, for each phase that amplifies; `null`, and why, where it is
    /// not known in advance.
    pub expected_gains: serde_json::Value,
}

/// One continuation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// When the continuation began.
    pub start: String,
    /// The step from which the run continued.
    pub step: u64,
    /// The program's version.
    pub version: String,
    /// The device that computed from there on; empty where an earlier version did not say.
    #[serde(default)]
    pub device: String,
}

fn unsealed() -> u32 {
    RunRecord::UNSEALED
}

impl RunRecord {
    /// Whether all epochs of the run's strategy are done, and that was recorded.
    pub fn is_finished(&self) -> bool {
        self.outcome == RunStatus::Finished
    }

    /// The form in which this version writes the file.
    pub const FORMAT: u32 = 2;
    const UNSEALED: u32 = 1;

    /// Whether the record's file has a seal.
    pub fn is_sealed(&self) -> bool {
        self.format == Self::FORMAT
    }

    /// Whether a checkpoint was saved. Earlier versions of the program did not note it, but saved before they ended.
    pub fn was_saved(&self) -> bool {
        if self.is_sealed() { self.saved } else { self.outcome != RunStatus::Running }
    }

    /// Reads the `run.json` of the run in `root`; `None` where there is none.
    ///
    /// **Errors:** a file that is changed.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(RECORD);
        match files::read(&path) {
            Ok(bytes) => Self::parse(&path, bytes).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path, "read")(error)),
        }
    }

    /// The record that a `run.json` holds.
    pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let (record, is_sealed): (Self, bool) = parse_sealed_json(path, bytes)?;
        match record.format {
            Self::UNSEALED if !is_sealed => Ok(record),
            Self::FORMAT if is_sealed => Ok(record),
            Self::UNSEALED | Self::FORMAT => {
                Err(Error::broken(path, "is changed: expected its seal, found none"))
            }
            format => Err(Error::broken(path, format!("expected format {}, found {format}", Self::FORMAT))),
        }
    }

    /// The gains of each amplified phase, as `run.json` holds them.
    pub fn gains(phases: &[(usize, Option<Vec<ParameterGain>>)]) -> serde_json::Value {
        let phase = |(phase, gains): &(usize, Option<Vec<ParameterGain>>)| match gains {
            Some(gains) => serde_json::json!({"phase": phase, "gains": gains}),
            None => serde_json::json!({"phase": phase, "gains": null, "unknown": gains::UNKNOWN}),
        };
        phases.iter().map(phase).collect()
    }
}

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from.
pub fn commit() -> Option<String> {
    option_env!("GRADAMP_COMMIT").map(str::to_owned)
}
