//! The observer that writes the run folder.

use std::path::Path;
use std::time::Instant;

use gradamp_core::amplify::DrawRecord;
use gradamp_core::train::{
    Control, EpochReport, Observer, OnDivergence, SiteGradient, Snapshot, StepReport, TrainState,
};
use gradamp_core::{Backend, Error};
use gradamp_models::Metadata;

use super::lines::{EpochLine, EvaluationLine, GradientLine, MetricsLine, StepLine};
use super::{Checkpoint, Logs, Result, RunFolder};

/// Writes every report into the run folder and saves checkpoints.
#[derive(Debug)]
pub struct Recorder<'a> {
    folder: &'a RunFolder,
    logs: Logs,
    last: Checkpoint,
    best: Checkpoint,
    metadata: Metadata,
    log_interval: usize,
    checkpoint_seconds: f64,
    /// Whether a model with a parameter that is not finite is saved.
    keeps_bad: bool,
    saved: Instant,
    /// Epoch, batch and step of the last checkpoint that this recorder saved.
    saved_at: Option<(usize, usize, u64)>,
}

impl<'a> Recorder<'a> {
    /// A recorder that goes on at the end of `logs`.
    pub fn new(
        folder: &'a RunFolder,
        logs: Logs,
        metadata: Metadata,
        config: &crate::config::Config,
    ) -> Self {
        Self {
            folder,
            logs,
            last: folder.last(),
            best: folder.best(),
            metadata,
            log_interval: config.train.log_interval,
            checkpoint_seconds: config.train.checkpoint_seconds,
            keeps_bad: config.train.on_divergence == OnDivergence::Continue,
            saved: Instant::now(),
            saved_at: None,
        }
    }

    /// Saves the last checkpoint. Lines reach the disk before the checkpoint that counts them.
    pub fn save<B: Backend>(&mut self, snapshot: &Snapshot<'_, B>) -> Result<()> {
        self.folder.check_still_there()?;
        let seals = self.logs.sync()?;
        self.last.save(snapshot, seals, &self.metadata, || self.folder.check_still_there())?;
        self.saved = Instant::now();
        self.saved_at = Some(position(snapshot.state));
        Ok(())
    }

    /// The last checkpoint.
    pub fn last(&self) -> &Path {
        self.last.path()
    }

    /// A model with a parameter that is not finite must not replace the last good one, unless divergence is studied.
    fn is_worth_keeping<B: Backend>(&self, snapshot: &Snapshot<'_, B>) -> gradamp_core::Result<bool> {
        Ok(self.keeps_bad || snapshot.first_bad_parameter()?.is_none())
    }
}

/// The position of a checkpoint in its run.
fn position(state: &TrainState) -> (usize, usize, u64) {
    (state.epoch, state.batch, state.step)
}

impl<B: Backend> Observer<B> for Recorder<'_> {
    fn on_draw(&mut self, draw: &DrawRecord) -> gradamp_core::Result<()> {
        Ok(self.logs.amplification.line(draw)?)
    }

    fn on_steps(
        &mut self,
        reports: &[StepReport],
        snapshot: &Snapshot<'_, B>,
    ) -> gradamp_core::Result<Control> {
        let is_logged = |report: &&StepReport| {
            self.log_interval > 0 && (report.batch + 1).is_multiple_of(self.log_interval)
        };
        let lines: Vec<_> =
            reports.iter().filter(is_logged).map(|report| MetricsLine::Step(StepLine::new(report))).collect();
        if !lines.is_empty() {
            self.folder.check_still_there()?;
        }
        self.logs.metrics.lines(&lines)?;
        let is_due = self.saved.elapsed().as_secs_f64() >= self.checkpoint_seconds;
        if is_due && self.is_worth_keeping(snapshot)? {
            self.save(snapshot)?;
        }
        Ok(Control::Continue)
    }

    fn on_epoch(
        &mut self,
        report: &EpochReport,
        snapshot: &Snapshot<'_, B>,
    ) -> gradamp_core::Result<Control> {
        self.folder.check_still_there()?;
        let line = MetricsLine::Epoch(EpochLine::new(report, snapshot.state));
        self.logs.metrics.line(&line)?;
        let gradient = |gradient: &SiteGradient| GradientLine {
            epoch: report.epoch,
            step: report.step,
            gradient: gradient.clone(),
        };
        let gradients: Vec<_> = report.gradients.iter().map(gradient).collect();
        self.logs.gradients.lines(&gradients)?;
        let evaluation =
            |(split, evaluation): &(String, _)| EvaluationLine::new(report.epoch, split, evaluation);
        let evaluations: Vec<_> = report.evaluations.iter().map(evaluation).collect();
        self.logs.evaluations.lines(&evaluations)?;
        if self.is_worth_keeping(snapshot)? {
            // The best before the last: killed in between, the run repeats the epoch and saves the same best again.
            if report.best {
                let seals = self.logs.sync()?;
                self.best.save(snapshot, seals, &self.metadata, || self.folder.check_still_there())?;
            }
            self.save(snapshot)?;
        }
        Ok(Control::Continue)
    }

    /// **Errors:** a parameter that is not finite. The last good checkpoint stays, and the final state is not saved.
    fn on_stop(&mut self, snapshot: &Snapshot<'_, B>) -> gradamp_core::Result<()> {
        if let (false, Some(path)) = (self.keeps_bad, snapshot.first_bad_parameter()?) {
            let TrainState { epoch, step, .. } = *snapshot.state;
            let message = format!("{path} is not finite, so that the final state was not saved");
            return Err(Error::Diverged { epoch, step: step.saturating_sub(1), message });
        }
        if self.saved_at != Some(position(snapshot.state)) {
            self.save(snapshot)?;
        }
        Ok(())
    }
}
