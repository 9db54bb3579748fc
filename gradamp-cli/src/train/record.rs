//! The record of a run when the run begins or goes on.

use gradamp_core::train::{TrainState, Trainer};
use gradamp_core::{Backend, Module};
use gradamp_models::ModelSettings;
use gradamp_study::run_folder::{RunRecord, RunStatus, Session, VERSION, commit, timestamp};

use super::Run;
use crate::failure::Result;

impl<B: Backend> Run<'_, B> {
    /// The record of a new run.
    pub(super) fn new_record(
        &self,
        model: &ModelSettings,
        dataset: String,
        dataset_checksum: String,
        classes: Vec<String>,
        trainer: &Trainer<'_, B, Box<dyn Module<B>>>,
    ) -> Result<RunRecord> {
        Ok(RunRecord {
            format: RunRecord::FORMAT,
            version: VERSION.into(),
            commit: commit(),
            model: model.to_string(),
            parameters: trainer.parameters().trained_elements(),
            steps_per_epoch: None,
            seed: self.resolved.config.train.seed,
            study: self.args.study.clone(),
            device: self.backend.name(),
            dataset,
            dataset_checksum,
            normalisation: None,
            classes,
            begun_in: std::env::current_dir().ok(),
            config: None,
            saved: false,
            start: timestamp().rfc3339(),
            end: None,
            outcome: RunStatus::Running,
            error: None,
            resumed: Vec::new(),
            removed: Vec::new(),
            expected_gains: RunRecord::gains(&trainer.expected_gains()?),
        })
    }

    /// The record of a run that is resumed at `start`.
    pub(super) fn continued(&self, old: RunRecord, start: &TrainState) -> RunRecord {
        let device = self.backend.name();
        let session =
            Session { start: timestamp().rfc3339(), step: start.step, version: VERSION.into(), device };
        let mut resumed = old.resumed;
        resumed.push(session);
        RunRecord {
            format: RunRecord::FORMAT,
            resumed,
            end: None,
            error: None,
            outcome: RunStatus::Running,
            ..old
        }
    }
}
