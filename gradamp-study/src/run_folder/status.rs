//! The status of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a run goes on or how it ended: the `outcome` of `run.json` and the `status` of a sweep's results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The run has not begun. In a sweep's results also a run that another process trains.
    #[default]
    Pending,
    /// A process is training. If no process holds the folder, the run was killed.
    Running,
    /// `run.json` says `running`, but no process holds the folder. This status is in no file.
    #[serde(skip)]
    Killed,
    /// All epochs are done.
    Finished,
    /// The run was interrupted and can be resumed. In a sweep's results also a run that was killed.
    Interrupted,
    /// The run stopped at `train.max_steps` and can be resumed.
    StepLimit,
    /// The cell was not among the best at a rung of successive halving.
    StoppedEarly,
    /// The loss was not finite.
    Diverged,
    /// An error ended the run.
    Failed,
}

impl RunStatus {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            RunStatus::Pending => "pending",
            RunStatus::Running => "running",
            RunStatus::Killed => "killed",
            RunStatus::Finished => "finished",
            RunStatus::Interrupted => "interrupted",
            RunStatus::StepLimit => "step_limit",
            RunStatus::StoppedEarly => "stopped_early",
            RunStatus::Diverged => "diverged",
            RunStatus::Failed => "failed",
        }
    }

    /// Whether the run has ended and no process will go on with it.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            RunStatus::Finished | RunStatus::StoppedEarly | RunStatus::Diverged | RunStatus::Failed
        )
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_by_its_name() {
        for status in [
            RunStatus::Pending,
            RunStatus::Running,
            RunStatus::Finished,
            RunStatus::Interrupted,
            RunStatus::StepLimit,
            RunStatus::StoppedEarly,
            RunStatus::Diverged,
            RunStatus::Failed,
        ] {
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("\"{status}\""));
            assert_eq!(serde_json::from_str::<RunStatus>(&json).unwrap(), status);
        }
        assert!(serde_json::from_str::<RunStatus>("\"killed\"").is_err(), "no file says it");
    }
}
