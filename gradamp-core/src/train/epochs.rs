//! The epochs of a run: training, evaluations, and what observers are told.

use std::mem::take;
use std::time::Instant;

use super::trainer::{Outcome, Trainer};
use super::{
    Control, EpochReport, Evaluation, Next, Observer, SiteGradient, Snapshot, TrainState, evaluate_unless,
};
use crate::amplify::{EpochStatistics, Score};
use crate::{Backend, BatchSource, Module, Result};

impl<B: Backend, M: Module<B>> Trainer<'_, B, M> {
    /// Trains until the end of the strategy or until an observer stops the run. Every named source of `evaluations` is evaluated
    /// after each epoch that is due; the first source decides which epoch is the best. A run that stops during an evaluation
    /// keeps all steps of its epoch and repeats the evaluation when it is resumed.
    ///
    /// **Errors:** those of a source, a hook or an observer; [`Error::Diverged`](crate::Error::Diverged).
    pub fn run(
        &mut self,
        train: &dyn BatchSource<B>,
        evaluations: &[(&str, &dyn BatchSource<B>)],
    ) -> Result<Outcome> {
        while self.state.epoch < self.settings.strategy.epochs() {
            if self.state.batch == 0 && self.is_out_of_patience() {
                return Ok(Outcome::OutOfPatience);
            }
            let mut ended = self.train_epoch(train)?;
            if ended.is_none() && self.finish_epoch(train, evaluations)? == Control::Stop {
                ended = Some(Outcome::Stopped);
            }
            let is_complete = self.state.epoch >= self.settings.strategy.epochs();
            if let (Some(outcome), false) = (ended, is_complete) {
                self.tell(|observer, snapshot| {
                    observer.on_stop(snapshot)?;
                    Ok(Control::Continue)
                })?;
                return Ok(outcome);
            }
        }
        Ok(Outcome::Finished)
    }

    /// Asks all observers whether the run stops here.
    pub(super) fn ask(&mut self, next: Next) -> Control {
        ask(&mut self.observers, next)
    }

    /// Evaluates if an evaluation is due, and goes to the next epoch. If an observer stops the evaluation, the epoch stays.
    fn finish_epoch(
        &mut self,
        train: &dyn BatchSource<B>,
        sources: &[(&str, &dyn BatchSource<B>)],
    ) -> Result<Control> {
        let start = Instant::now();
        let epoch = self.state.epoch;
        let strategy = &self.settings.strategy;
        let last = epoch + 1 == strategy.epochs();
        let lr = self.lr_at(self.state.step.saturating_sub(1), self.steps_of(train))?;
        let amplified = strategy.phase_at(epoch).is_some_and(|(_, phase)| phase.amplify.is_on());
        let mut evaluations: Vec<(String, Evaluation)> = Vec::new();
        if last || (epoch + 1).is_multiple_of(self.settings.evaluate_every) {
            for (name, source) in sources {
                let averaged =
                    self.average.as_mut().map(|average| (format!("{name}_ema"), &mut average.parameters));
                let own = (name.to_string(), &mut self.parameters);
                for (name, parameters) in [Some(own), averaged].into_iter().flatten() {
                    let mut ask = || ask(&mut self.observers, Next::Evaluation);
                    match evaluate_unless(self.model, &*self.objective, parameters, *source, &mut ask)? {
                        Some(evaluation) => evaluations.push((name, evaluation)),
                        None => return Ok(Control::Stop),
                    }
                }
            }
        }
        let first = evaluations.first().map(|(_, evaluation)| evaluation);
        let phase = self.phase(epoch);
        let kept = self.amplifier().epochs_kept();
        let state = &mut self.state;
        let score = first.map(Evaluation::score);
        let best = score.is_some_and(|score| state.best.is_none_or(|(best, _)| score > best));
        if let (true, Some(score)) = (best, score) {
            state.best = Some((score, epoch));
        }
        if let Some(evaluation) = first {
            let accuracy = evaluation.has_classes().then(|| evaluation.accuracy());
            state.scores.push(Score { epoch, loss: evaluation.loss, accuracy });
        }
        state.total_seconds += start.elapsed().as_secs_f64();
        let examples = state.examples.max(1) as f64;
        let report = EpochReport {
            epoch,
            step: state.step,
            phase,
            lr,
            amplified,
            train_loss: state.loss_sum / examples,
            train_accuracy: state.correct as f64 / examples,
            examples: state.examples,
            evaluations,
            best,
            gradients: take(&mut state.gradients).into_values().map(SiteGradient::into_means).collect(),
            seconds: state.seconds,
        };
        let mut history = take(&mut state.history);
        history.push(EpochStatistics { epoch, sites: take(&mut state.statistics) }, kept);
        *state = TrainState {
            epoch: epoch + 1,
            step: state.step,
            total_seconds: state.total_seconds,
            best: state.best,
            scores: take(&mut state.scores),
            loss_scale: state.loss_scale.take(),
            history,
            ..TrainState::default()
        };
        self.gradient_sums.clear();
        self.tell(|observer, snapshot| observer.on_epoch(&report, snapshot))
    }

    pub(super) fn phase(&self, epoch: usize) -> usize {
        self.settings.strategy.phase_at(epoch).map_or(0, |(number, _)| number)
    }

    /// Calls every observer, also after one of them has asked to stop.
    pub(super) fn tell(
        &mut self,
        mut call: impl FnMut(&mut dyn Observer<B>, &Snapshot<'_, B>) -> Result<Control>,
    ) -> Result<Control> {
        // Taken out while the snapshot borrows the run.
        let mut observers = take(&mut self.observers);
        let snapshot = self.snapshot();
        let answers: Result<Vec<Control>> =
            observers.iter_mut().map(|observer| call(&mut **observer, &snapshot)).collect();
        self.observers = observers;
        Ok(if answers?.contains(&Control::Stop) { Control::Stop } else { Control::Continue })
    }

    /// Whether the first evaluation has failed to improve for as many epochs as the run's patience lasts.
    fn is_out_of_patience(&self) -> bool {
        let (Some(patience), Some((_, best))) = (self.settings.patience, self.state.best) else {
            return false;
        };
        self.state.epoch > best + patience
    }
}

/// Asks every observer, also after one of them has asked to stop.
fn ask<B: Backend>(observers: &mut [&mut dyn Observer<B>], next: Next) -> Control {
    let mut control = Control::Continue;
    for observer in observers {
        if observer.before(next) == Control::Stop {
            control = Control::Stop;
        }
    }
    control
}
