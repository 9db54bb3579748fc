//! A line of `results.jsonl`: the result of one run of a sweep.

use serde::{Deserialize, Serialize};

use super::plan::{Axes, Role};
use crate::run_folder::{RunStatus, seal};

/// A line of `results.jsonl`, and a row of `results.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultLine {
    /// The run's name.
    pub run: String,
    /// The name of its cell.
    pub cell: String,
    /// Its role.
    pub role: Role,
    /// The value on each axis.
    pub axes: Axes,
    /// The seed.
    pub seed: u64,
    /// The status.
    pub status: RunStatus,
    /// The error, if the run failed.
    pub error: Option<String>,
    /// The number of finished epochs.
    pub epochs: usize,
    /// The accuracy on the test examples at the last evaluation.
    pub last_test_accuracy: Option<f64>,
    /// The best epoch, from 0: chosen by the validation examples, or by the test examples if there are no validation examples.
    pub best_epoch: Option<usize>,
    /// The accuracy on the validation examples in the best epoch.
    pub best_validation_accuracy: Option<f64>,
    /// The accuracy on the test examples in the best epoch.
    pub test_accuracy_at_best: Option<f64>,
    /// Mean training loss of the last epoch; `None` if it was not finite.
    pub last_train_loss: Option<f64>,
    /// Seconds of the run, evaluations included.
    pub seconds: f64,
    /// The version of the program that made the run; empty if the run has not begun.
    pub version: String,
}

impl ResultLine {
    /// The line as it is written, with a seal and without the line end.
    ///
    /// **Errors:** a value that JSON cannot represent.
    pub(super) fn to_line(&self) -> serde_json::Result<String> {
        Ok(seal::LINE.seal(&serde_json::to_string(self)?))
    }

    /// Whether a line has a seal.
    pub(super) fn is_sealed(line: &str) -> bool {
        matches!(seal::LINE.unseal(line), Ok(Some(_)))
    }

    /// Reads a line that [`to_line`](Self::to_line) wrote, or a line without a seal from an earlier version of the program.
    ///
    /// **Errors:** a line that was changed or is of another version.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let sealed = seal::LINE.unseal(line)?;
        serde_json::from_str(sealed.as_deref().unwrap_or(line))
            .map_err(|error| format!("is damaged or of another version: {error}"))
    }
}
