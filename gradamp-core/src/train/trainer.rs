use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::meter::Meter;
use super::pending::Pending;
use super::{
    Control, EpochReport, Evaluation, Next, Observer, SiteGradient, Snapshot, TrainSettings, TrainState,
    evaluate_unless,
};
use crate::amplify::{AmplificationPolicy, Amplifier, EpochStatistics, ParameterGain, gain};
use crate::optim::Sgd;
use crate::{Backend, BatchSource, Error, HookGuard, Hooks, Module, Parameters, Result, Trace, nn};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// An observer stopped it.
    Stopped,
    /// `max_steps` was reached before the last epoch's end.
    StepLimit,
}

/// Trains a model: a loop over the epochs of a [`Strategy`](crate::amplify::Strategy).
pub struct Trainer<'a, B: Backend, M: Module<B>> {
    pub(super) model: &'a M,
    pub(super) parameters: Parameters<B>,
    pub(super) sgd: Sgd<B>,
    pub(super) settings: TrainSettings,
    pub(super) state: TrainState,
    trace: Arc<Trace>,
    pub(super) amplifier: Arc<Mutex<Amplifier>>,
    pub(super) meter: Meter<B>,
    pub(super) hooks: Hooks<B>,
    pub(super) observers: Vec<&'a mut dyn Observer<B>>,
    /// Steps of this epoch that the state does not cover yet.
    pub(super) pending: Vec<Pending<B>>,
    /// When the steps that are pending began.
    pub(super) clock: Instant,
    /// Seconds of a step, as of the last that were read; `None` until then, and for the first, which prepare the device.
    pub(super) pace: Option<f64>,
    /// Whether the first results were read.
    pub(super) is_warm: bool,
    _guards: [HookGuard<B>; 3],
}

impl<'a, B: Backend, M: Module<B>> Trainer<'a, B, M> {
    /// A run at its beginning, for images of shape `image` (`[h, w, c]`).
    ///
    /// **Errors:** settings out of their range; a selection that matches no site of the model.
    pub fn new(
        model: &'a M,
        parameters: Parameters<B>,
        image: [usize; 3],
        settings: TrainSettings,
    ) -> Result<Self> {
        let sgd = Sgd::new(settings.sgd.clone(), &parameters)?;
        Self::resume(model, parameters, sgd, TrainState::default(), image, settings)
    }

    /// A run that goes on where `state` stands, with the parameters and velocities of that moment: bit for bit as if
    /// it had never stopped.
    pub fn resume(
        model: &'a M,
        mut parameters: Parameters<B>,
        mut sgd: Sgd<B>,
        mut state: TrainState,
        image: [usize; 3],
        settings: TrainSettings,
    ) -> Result<Self> {
        if settings.evaluate_every == 0 {
            return Err(Error::setting("train.evaluate_every", "expected at least 1 epoch, found 0"));
        }
        state.loss_scale = match &settings.loss_scaling {
            Some(scaling) => {
                scaling.check()?;
                sgd.skip_non_finite(true);
                state.loss_scale.or_else(|| Some(scaling.begin()))
            }
            None => None,
        };
        sgd.count_from(settings.seed, state.step);
        let trace = Arc::new(nn::trace(model, &mut parameters, image)?);
        let amplifier = Amplifier::new(&settings.strategy, &settings.amplification, &trace, settings.seed)?;
        let amplifier = Arc::new(Mutex::new(taken_up(amplifier, &settings, &state)?));
        let meter = Meter::new(trace.clone());
        let hooks = Hooks::new();
        let (before, after) = meter.hooks();
        let guards = [hooks.add(before), hooks.add_shared(amplifier.clone()), hooks.add(after)];
        Ok(Self {
            model,
            parameters,
            sgd,
            settings,
            state,
            trace,
            amplifier,
            meter,
            hooks,
            observers: Vec::new(),
            pending: Vec::new(),
            clock: Instant::now(),
            pace: None,
            is_warm: false,
            _guards: guards,
        })
    }

    /// Has `policy` decide what is amplified, in all phases that amplify; eligible layers, placement and the bound on the
    /// gain are the settings'. A run that is resumed has to be given the same policy before it goes on.
    ///
    /// **Errors:** a policy that looks back on statistics, where no gradient is measured; settings that do not fit.
    pub fn set_policy(&mut self, policy: Box<dyn AmplificationPolicy>) -> Result<()> {
        let TrainSettings { strategy, amplification, seed, .. } = &self.settings;
        let amplifier = Amplifier::with_policy(strategy, amplification, &self.trace, *seed, policy)?;
        let amplifier = taken_up(amplifier, &self.settings, &self.state)?;
        *self.amplifier() = amplifier;
        Ok(())
    }

    /// Adds an observer behind those already there.
    pub fn observe(&mut self, observer: &'a mut dyn Observer<B>) {
        self.observers.push(observer);
    }

    /// The hooks of the run. Gradients pass a first measurement, the amplifier, a second measurement, then any hooks
    /// that are added here.
    pub fn hooks(&self) -> &Hooks<B> {
        &self.hooks
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> &Parameters<B> {
        &self.parameters
    }

    /// Where the run stands.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// All that a checkpoint of this moment holds.
    pub fn snapshot(&self) -> Snapshot<'_, B> {
        Snapshot { parameters: &self.parameters, sgd: &self.sgd, state: &self.state }
    }

    /// For each phase that amplifies: its number, and the mean gain that it gives every parameter; `None` where the
    /// policy's decisions are not known in advance.
    ///
    /// **Errors:** what a policy returns.
    pub fn expected_gains(&self) -> Result<Vec<(usize, Option<Vec<ParameterGain>>)>> {
        let amplifier = self.amplifier();
        let selections = amplifier.selections().enumerate();
        let amplified = selections.filter_map(|(i, selection)| Some((i, selection?)));
        amplified.map(|(i, selection)| Ok((i, gain::expected(&self.trace, selection)?))).collect()
    }

    pub(super) fn amplifier(&self) -> MutexGuard<'_, Amplifier> {
        self.amplifier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The learning rate of `step`, which amplification may act through.
    pub(super) fn lr_at(&self, step: u64, batches: usize) -> Result<f64> {
        Ok(self.settings.strategy.lr_at(step, batches as u64)? * self.amplifier().rate())
    }

    /// Trains to the end of the strategy, or until somebody stops it. After each evaluated epoch every named source of
    /// `evaluations` is evaluated; the first one decides which epoch is the best. A run that stops in an evaluation stands
    /// behind its epoch's last step, and evaluates anew when it goes on.
    ///
    /// **Errors:** what a source, a hook or an observer returns; [`Error::Diverged`].
    pub fn run(
        &mut self,
        train: &dyn BatchSource<B>,
        evaluations: &[(&str, &dyn BatchSource<B>)],
    ) -> Result<Outcome> {
        while self.state.epoch < self.settings.strategy.epochs() {
            let mut ended = self.train_epoch(train)?;
            if ended.is_none() && self.finish_epoch(train, evaluations)? == Control::Stop {
                ended = Some(Outcome::Stopped);
            }
            let is_complete = self.state.epoch >= self.settings.strategy.epochs();
            if let (Some(outcome), false) = (ended, is_complete) {
                let snapshot = Snapshot { parameters: &self.parameters, sgd: &self.sgd, state: &self.state };
                for observer in &mut self.observers {
                    observer.on_stop(&snapshot)?;
                }
                return Ok(outcome);
            }
        }
        Ok(Outcome::Finished)
    }

    /// Asks the observers whether the run stops here.
    pub(super) fn ask(&mut self, next: Next) -> Control {
        ask(&mut self.observers, next)
    }

    /// Evaluates where it is due and goes to the next epoch, or leaves the evaluation and stays in this one.
    fn finish_epoch(
        &mut self,
        train: &dyn BatchSource<B>,
        sources: &[(&str, &dyn BatchSource<B>)],
    ) -> Result<Control> {
        let start = Instant::now();
        let epoch = self.state.epoch;
        let strategy = &self.settings.strategy;
        let last = epoch + 1 == strategy.epochs();
        let lr = self.lr_at(self.state.step.saturating_sub(1), train.batches())?;
        let amplified = strategy.phase_at(epoch).is_some_and(|(_, phase)| phase.amplify.is_on());
        let mut evaluations: Vec<(String, Evaluation)> = Vec::new();
        if last || (epoch + 1).is_multiple_of(self.settings.evaluate_every) {
            for (name, source) in sources {
                let mut ask = || ask(&mut self.observers, Next::Evaluation);
                match evaluate_unless(self.model, &mut self.parameters, *source, &mut ask)? {
                    Some(evaluation) => evaluations.push((name.to_string(), evaluation)),
                    None => return Ok(Control::Stop),
                }
            }
        }
        let accuracy = evaluations.first().map(|(_, evaluation)| evaluation.accuracy());
        let phase = self.phase(epoch);
        let kept = self.amplifier().epochs_kept();
        let state = &mut self.state;
        let best = accuracy.is_some_and(|accuracy| state.best.is_none_or(|(best, _)| accuracy > best));
        if let (true, Some(accuracy)) = (best, accuracy) {
            state.best = Some((accuracy, epoch));
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
            loss_scale: state.loss_scale.take(),
            history,
            ..TrainState::default()
        };
        self.tell(|observer, snapshot| observer.on_epoch(&report, snapshot))
    }

    pub(super) fn phase(&self, epoch: usize) -> usize {
        self.settings.strategy.phase_at(epoch).map_or(0, |(number, _)| number)
    }

    /// Calls every observer; one that wants to stop does not keep the others from hearing.
    pub(super) fn tell(
        &mut self,
        mut call: impl FnMut(&mut dyn Observer<B>, &Snapshot<'_, B>) -> Result<Control>,
    ) -> Result<Control> {
        let snapshot = Snapshot { parameters: &self.parameters, sgd: &self.sgd, state: &self.state };
        let mut control = Control::Continue;
        for observer in &mut self.observers {
            if call(&mut **observer, &snapshot)? == Control::Stop {
                control = Control::Stop;
            }
        }
        Ok(control)
    }
}

/// Asks every observer; one that wants to stop does not keep the others from being asked.
fn ask<B: Backend>(observers: &mut [&mut dyn Observer<B>], next: Next) -> Control {
    let mut control = Control::Continue;
    for observer in observers {
        if observer.before(next) == Control::Stop {
            control = Control::Stop;
        }
    }
    control
}

/// The amplifier as it was at the last step that `state` covers.
///
/// **Errors:** a policy that looks back on statistics, where no gradient is measured.
fn taken_up(mut amplifier: Amplifier, settings: &TrainSettings, state: &TrainState) -> Result<Amplifier> {
    if settings.gradients_every == 0 && amplifier.epochs_kept() > 0 {
        let message =
            "is 0, but the policy of amplification decides by measured gradients: expected at least 1";
        return Err(Error::setting("train.gradients_every", message));
    }
    if let Some(last) = state.step.checked_sub(1) {
        let epoch = if state.batch == 0 { state.epoch.saturating_sub(1) } else { state.epoch };
        amplifier.resume_after(epoch, last, &state.history)?;
    }
    Ok(amplifier)
}
