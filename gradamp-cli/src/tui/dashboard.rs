//! The state of a run that the dashboard shows. It changes with the training in this process, or with the folder of a
//! run that another process trains.

use std::collections::VecDeque;

use gradamp_core::amplify::{DrawRecord, Strategy};

use super::curve::Curve;
use super::flow::Flow;
use crate::progress::{self, Pace};
use gradamp_study::run_folder::lines::{EpochLine, StepLine};
use gradamp_study::run_folder::{Change, RunRecord, RunStatus};

/// The most lines of the log.
const LOG: usize = 500;

/// A run as the dashboard shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dashboard {
    /// The run's folder.
    pub name: String,
    /// The phases of the strategy.
    pub strategy: Strategy,
    /// The content of `run.json`: the model, the data and the device.
    pub record: Option<RunRecord>,
    /// The status; `Pending` until `run.json` is written.
    pub status: RunStatus,
    /// Whether the folder is missing at present.
    pub is_folder_missing: bool,
    /// The last step.
    pub step: Option<StepLine>,
    /// The last finished epoch.
    pub epoch: Option<EpochLine>,
    /// The best epoch.
    pub best: Option<EpochLine>,
    /// The current draw of amplified sites.
    pub draw: Option<DrawRecord>,
    /// The losses of steps and of epochs, over the number of steps.
    pub loss: Curves,
    /// The accuracies, over the number of steps.
    pub accuracy: Curves,
    /// The gradients.
    pub flow: Flow,
    /// The speed.
    pub pace: Pace,
    /// The messages, latest last.
    pub log: VecDeque<String>,
    /// The number of steps in the first epoch.
    steps_seen: Option<u64>,
}

/// The curves of one measure on each set of examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// On the batches of single steps.
    pub step: Curve,
    /// On the training examples, as means over an epoch.
    pub train: Curve,
    /// On the validation examples.
    pub validation: Curve,
    /// On the test examples.
    pub test: Curve,
}

impl Dashboard {
    /// A run of which only the name and the strategy are known.
    pub fn new(name: String, strategy: Strategy) -> Self {
        Self { name, strategy, ..Self::default() }
    }

    /// Applies a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Restarted => {
                *self = Self::new(std::mem::take(&mut self.name), std::mem::take(&mut self.strategy));
                self.say(
                    "the run was started again or resumed from a checkpoint; the dashboard starts again",
                );
            }
            Change::Record(record) => self.apply_record(*record),
            Change::Step(line) => self.apply_step(line),
            Change::Epoch(line) => self.apply_epoch(line),
            Change::Draw(draw) => {
                self.say(&for_draw(&draw));
                self.draw = Some(draw);
            }
            Change::Gradient(line) => self.flow.push(line.epoch, &line.gradient),
        }
    }

    /// Adds a line to the log.
    pub fn say(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if self.log.len() >= LOG {
                self.log.pop_front();
            }
            self.log.push_back(line.to_owned());
        }
    }

    fn apply_record(&mut self, record: RunRecord) {
        (self.status, self.is_folder_missing) = (record.outcome, false);
        if let Some(error) = &record.error {
            self.say(&format!("error: {error}"));
        }
        self.record = Some(record);
    }

    fn apply_step(&mut self, line: StepLine) {
        let step = line.step.saturating_add(1) as f64;
        self.loss.step.push(step, line.loss);
        self.accuracy.step.push(step, line.accuracy);
        self.pace.add(line.seconds);
        if line.skipped {
            self.say(&format!("step {}: skipped, its gradients are not finite", line.step.saturating_add(1)));
        }
        self.step = Some(line);
    }

    fn apply_epoch(&mut self, line: EpochLine) {
        let step = line.step as f64;
        for (curves, train, validation, test) in [
            (&mut self.loss, line.train_loss, line.validation_loss, line.test_loss),
            (&mut self.accuracy, line.train_accuracy, line.validation_accuracy, line.test_accuracy),
        ] {
            curves.train.push(step, train);
            validation.into_iter().for_each(|value| curves.validation.push(step, value));
            test.into_iter().for_each(|value| curves.test.push(step, value));
        }
        self.steps_seen =
            line.step.checked_div((line.epoch as u64).saturating_add(1)).filter(|&steps| steps > 0);
        let sites = self.draw.as_ref().map_or(0, |draw| draw.sites.len());
        self.say(&progress::of_epoch(&line, self.epochs(), sites));
        if line.best {
            self.best = Some(line.clone());
        }
        self.epoch = Some(line);
    }

    /// The number of epochs of the whole run.
    pub fn epochs(&self) -> usize {
        self.strategy.epochs()
    }

    /// The number of steps in an epoch; `None` if it is not known yet.
    pub fn steps_per_epoch(&self) -> Option<u64> {
        let told = self.record.as_ref().and_then(|record| record.steps_per_epoch);
        told.filter(|&steps| steps > 0).or(self.steps_seen)
    }

    /// The number of finished steps.
    pub fn steps_done(&self) -> u64 {
        let step = self.step.as_ref().map_or(0, |line| line.step.saturating_add(1));
        step.max(self.epoch.as_ref().map_or(0, |line| line.step))
    }

    /// The number of finished epochs, including the finished fraction of the current one; `None` while the length of
    /// an epoch is not known.
    pub fn epochs_done(&self) -> Option<f64> {
        Some(self.steps_done() as f64 / self.steps_per_epoch()? as f64)
    }

    /// The current epoch, counted from 0. For a finished run, the last epoch.
    pub fn current_epoch(&self) -> usize {
        let after = self.epoch.as_ref().map_or(0, |line| line.epoch.saturating_add(1));
        let current = self.step.as_ref().map_or(0, |line| line.epoch).max(after);
        current.min(self.epochs().saturating_sub(1))
    }

    /// The current draw of amplified sites; `None` if the current epoch is not amplified.
    pub fn amplified(&self) -> Option<&DrawRecord> {
        let (_, phase) = self.strategy.phase_at(self.current_epoch())?;
        self.draw.as_ref().filter(|draw| phase.amplify.is_on() && !draw.sites.is_empty())
    }

    /// The learning rate of the last step.
    pub fn lr(&self) -> Option<f64> {
        let step = self.step.as_ref().map(|line| (line.step.saturating_add(1), line.lr));
        let epoch = self.epoch.as_ref().map(|line| (line.step, line.lr));
        step.into_iter().chain(epoch).max_by_key(|(step, _)| *step).map(|(_, lr)| lr)
    }

    /// The estimated number of seconds until the last step of a running run, without evaluations.
    pub fn seconds_left(&self) -> Option<f64> {
        let total = (self.epochs() as u64).saturating_mul(self.steps_per_epoch()?);
        let left = total.saturating_sub(self.steps_done()) as f64 * self.pace.seconds_per_step()?;
        (self.status == RunStatus::Running).then_some(left)
    }

    /// The current number of images per second.
    pub fn images_per_second(&self) -> Option<f64> {
        let step = self.step.as_ref().map(|line| line.images_per_second * line.seconds);
        let by_pace = step.zip(self.pace.seconds_per_step()).map(|(images, seconds)| images / seconds);
        by_pace.or_else(|| self.epoch.as_ref().map(|line| line.images_per_second))
    }
}

/// Describes a draw in a line of the log.
fn for_draw(draw: &DrawRecord) -> String {
    let epoch = draw.epoch.saturating_add(1);
    if draw.sites.is_empty() {
        return format!("epoch {epoch}: amplifies nothing from step {} on", draw.step.saturating_add(1));
    }
    let (n, factors) = (draw.sites.len(), factors(draw));
    format!("epoch {epoch}: amplifies {n} sites by {factors}: {}", draw.sites.join(", "))
}

/// Describes the factors of a draw: `2`, or `1.5 to 2`.
pub fn factors(draw: &DrawRecord) -> String {
    let bounds = draw.factors.iter().fold(None, |bounds: Option<(f32, f32)>, &factor| {
        let (low, high) = bounds.unwrap_or((factor, factor));
        Some((low.min(factor), high.max(factor)))
    });
    match bounds {
        None => "1".into(),
        Some((low, high)) if low == high => format!("{low}"),
        Some((low, high)) => format!("{low:.3} to {high:.3}"),
    }
}
