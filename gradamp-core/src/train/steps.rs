//! The steps of an epoch: their submission to the device and the reading of their results.

use std::mem::take;
use std::time::Instant;

use super::batches::StepBatches;
use super::loss_scaling::RECONSIDERED;
use super::measured::{GradientSums, Measured};
use super::meter::Weights;
use super::passes::Passes;
use super::pending::{self, Pending};
use super::signals::Signals;
use super::step_length::Lengths;
use super::trainer::{Outcome, Trainer};
use super::{Control, Next, OnDivergence, StepReport, TrainState, divergence};
use crate::random::{Purpose, Stream};
use crate::{Backend, Batch, BatchSource, Error, Module, Result};

/// The longest time in seconds that results may stay unread on the device, unless one step takes longer: a request to stop waits for them.
const PATIENCE: f64 = 0.5;

impl<'a, B: Backend, M: Module<B>> Trainer<'a, B, M> {
    /// Runs the rest of the current epoch's steps. Returns an outcome if the run ends before the epoch does.
    pub(super) fn train_epoch(&mut self, train: &dyn BatchSource<B>) -> Result<Option<Outcome>> {
        match self.steps(train) {
            Ok(ended) if self.catch_up()? == Control::Continue => Ok(ended),
            Ok(_) => Ok(Some(Outcome::Stopped)),
            Err(error) => {
                self.read()?; // an earlier loss that is not finite matters more
                Err(error)
            }
        }
    }

    /// Runs steps until the epoch or the run ends. Results are read at steps that do not depend on where the run began, and sooner
    /// if steps are slow.
    fn steps(&mut self, train: &dyn BatchSource<B>) -> Result<Option<Outcome>> {
        let backend = self.parameters.backend().clone();
        let period = backend.steps_ahead() as u64 + 1;
        self.clock = Instant::now();
        let first = self.state.batch * self.settings.accumulate;
        let mut batches = train.epoch(&backend, self.state.epoch, first)?;
        loop {
            let step = self.state.step + self.pending.len() as u64;
            // A limit at the epoch's end lets the epoch end, because its evaluation is no step.
            let ends_epoch = self.state.batch + self.pending.len() >= self.steps_of(train);
            if !ends_epoch && self.settings.max_steps.is_some_and(|limit| step >= limit) {
                return Ok(Some(Outcome::StepLimit));
            }
            if !ends_epoch && self.ask(Next::Step) == Control::Stop {
                return Ok(Some(Outcome::Stopped));
            }
            let Some(batch) = batches.next() else { return Ok(None) };
            let mut group = vec![batch?];
            while group.len() < self.settings.accumulate
                && let Some(batch) = batches.next()
            {
                group.push(batch?);
            }
            self.step(group, train)?;
            backend.submit()?;
            let is_due = (step + 1).is_multiple_of(period)
                || self.state.loss_scale.is_some() && (step + 1).is_multiple_of(RECONSIDERED)
                || self.pace.is_some_and(|pace| (self.pending.len() + 1) as f64 * pace > PATIENCE);
            if is_due && self.catch_up()? == Control::Stop {
                return Ok(Some(Outcome::Stopped));
            }
        }
    }

    /// One step: forward, loss, backward with hooks, optimiser.
    fn step(&mut self, group: Vec<Batch<B>>, train: &dyn BatchSource<B>) -> Result<()> {
        let (epoch, ahead) = (self.state.epoch, self.pending.len());
        let (number, step) = (self.state.batch + ahead, self.state.step + ahead as u64);
        let steps = self.steps_of(train);
        let amplified_sites = self.draw(epoch, step)?;
        let lr = self.lr_at(step, steps)?;
        let loss_scale = self.state.loss_scale.as_ref().map(|scale| scale.factor);
        let batches = self.prepare(group, step, train.classes())?;
        let passes = self.passes(loss_scale);
        let lengths = self.amplified_lengths(&passes, &batches)?;
        let every = self.settings.gradients_every;
        let is_measured = every > 0 && number % every == 0;
        let mut signals = match is_measured && self.settings.signals {
            true => Some(self.signals(&passes, &batches)?),
            false => None,
        };
        if is_measured {
            let sums = self.take_sums(number)?;
            let arriving = self.amplifier().arriving();
            self.meter.begin(self.parameters.backend(), arriving, sums)?;
        }

        let mut measured = None;
        let meter = &self.meter;
        let (losses, mut gradients) =
            passes.over_all(&mut self.parameters, &batches, || measured = meter.end())?;
        if let Some(sums) = measured.as_mut().and_then(|measured: &mut Measured<B>| measured.sums.take()) {
            self.gradient_sums = sums;
        }
        if self.parameters.backend().steps_ahead() == 0 {
            // Read now, while the parameters still are those that led to this loss.
            let means = losses.iter().map(|loss| Ok(loss.read()?.0)).collect::<Result<Vec<_>>>()?;
            self.check(epoch, step, batches.mean(&means), &batches, "")?;
        }
        if let Some(signals) = &mut signals {
            signals.compare(&self.parameters, &gradients)?;
        }
        if let Some(lengths) = lengths {
            lengths.apply(&self.parameters, &mut gradients)?;
        }
        let before = measured.as_ref().map(|_| Weights::before(&self.parameters));
        let before_signals = signals.as_ref().and_then(|_| before.clone());
        let gate = self.optimizer.step(&mut self.parameters, &gradients, lr as f32)?;
        if let (Some(measured), Some(before)) = (&mut measured, before) {
            before.measure_update(&self.parameters, measured)?;
        }
        if let (Some(signals), Some(before)) = (&mut signals, before_signals) {
            signals.update(before.0, &self.parameters)?;
        }
        if let Some(average) = &mut self.average {
            average.add(&self.parameters, step)?;
        }
        let report = StepReport {
            epoch,
            batch: number,
            batches: steps,
            step,
            phase: self.phase(epoch),
            lr,
            amplified_sites,
            loss: f32::NAN,
            correct: 0,
            examples: batches.examples(),
            gradient_norm: None,
            loss_scale,
            skipped: false,
            seconds: 0.0,
        };
        self.pending.push(Pending {
            report,
            losses: losses.iter().map(|loss| loss.mean.tensor()).collect::<Result<_>>()?,
            correct: losses.into_iter().filter_map(|loss| loss.correct).collect(),
            gate,
            measured,
            signals,
            batches,
        });
        Ok(())
    }

    /// The sums that a measured step adds its gradients to, anew at the epoch's first batch; `None` if no policy needs them.
    ///
    /// **Errors:** the run continues within an epoch without the sums of the epoch's first steps.
    fn take_sums(&mut self, batch: usize) -> Result<Option<GradientSums<B>>> {
        if self.amplifier().epochs_kept() == 0 {
            return Ok(None);
        }
        if batch == 0 {
            return Ok(Some(vec![None; self.trace.parameters.len()]));
        }
        if self.gradient_sums.is_empty() {
            return Err(Error::external(
                "the checkpoint holds no sums of the epoch's gradients, by which the policy of amplification decides; an earlier \
                 version saved it within an epoch",
            ));
        }
        Ok(Some(take(&mut self.gradient_sums)))
    }

    /// The batches of a step, as the objective prepares them.
    fn prepare(&self, group: Vec<Batch<B>>, step: u64, classes: usize) -> Result<StepBatches<B>> {
        let first = step * self.settings.accumulate as u64;
        let stream = Stream::new(self.settings.seed, Purpose::Mix);
        let batches = (first..).zip(group);
        let prepared =
            batches.map(|(number, batch)| self.objective.prepare(batch, classes, stream.at(number)));
        Ok(StepBatches { first, batches: prepared.collect::<Result<_>>()? })
    }

    fn passes(&self, loss_scale: Option<f32>) -> Passes<'a, B, M> {
        Passes {
            model: self.model,
            objective: self.objective.clone(),
            hooks: self.hooks.clone(),
            seed: self.settings.seed,
            loss_scale,
        }
    }

    /// Under the control of step length, the lengths of the amplified gradient of `batches`; `None` in steps without the control.
    fn amplified_lengths(
        &self,
        passes: &Passes<'_, B, M>,
        batches: &StepBatches<B>,
    ) -> Result<Option<Lengths>> {
        let Some(per_layer) = self.amplifier().step_length() else { return Ok(None) };
        // A copy, so that running statistics move once: nothing is copied but what the pass writes.
        let mut parameters = self.parameters.clone();
        self.amplifier().measure_length(true);
        let result = passes.over_all(&mut parameters, batches, || {});
        self.amplifier().measure_length(false);
        Lengths::measure(&parameters, &result?.1, per_layer).map(Some)
    }

    /// Measures the forward signals of the first half of the first batch, and keeps its gradients.
    fn signals(&self, passes: &Passes<'_, B, M>, batches: &StepBatches<B>) -> Result<Signals<B>> {
        let mut signals = Signals::new(self.parameters.backend(), self.trace.clone())?;
        let half = signals.half_of(&batches.batches[0], batches.examples())?;
        let mut parameters = self.parameters.clone();
        let probe = Some(signals.probe());
        let (_, gradients) = passes.over(&mut parameters, &half, batches.first, probe)?;
        signals.keep(gradients);
        Ok(signals)
    }

    /// **Errors:** the loss is not finite, and such a loss ends the run. `when` says which step the parameters belong to.
    fn check(&self, epoch: usize, step: u64, loss: f32, batches: &StepBatches<B>, when: &str) -> Result<()> {
        if loss.is_finite() || self.settings.on_divergence == OnDivergence::Continue {
            return Ok(());
        }
        let explanation = divergence::explain(
            self.model,
            &*self.objective,
            &mut self.parameters.clone(),
            batches,
            self.settings.seed,
        )?;
        Err(Error::Diverged { epoch, step, message: format!("the loss is {loss}; {when}{explanation}") })
    }

    /// Waits for the pending steps and reports them to the observers.
    fn catch_up(&mut self) -> Result<Control> {
        let reports = self.read()?;
        if reports.is_empty() {
            return Ok(Control::Continue);
        }
        let control = self.tell(|observer, snapshot| observer.on_steps(&reports, snapshot))?;
        self.clock = Instant::now();
        Ok(control)
    }

    /// Waits for the pending steps and includes them in the state.
    fn read(&mut self) -> Result<Vec<StepReport>> {
        let mut steps = take(&mut self.pending);
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        pending::read(self.parameters.backend(), &mut steps, self.clock)?;
        self.pace = steps.last().filter(|_| self.is_warm).map(|last| last.report.seconds);
        self.is_warm = true;
        let when = steps.last().map_or(String::new(), |last| format!("after step {}, ", last.report.step));
        let remembers = self.amplifier().epochs_kept() > 0;
        let mut reports = Vec::with_capacity(steps.len());
        for Pending { report, measured, signals, batches, .. } in steps {
            self.check(report.epoch, report.step, report.loss, &batches, &when)?;
            count(&mut self.state, &report);
            if let (Some(scaling), Some(scale)) = (&self.settings.loss_scaling, &mut self.state.loss_scale) {
                scaling.count(scale, report.step, report.skipped);
            }
            if let Some(measured) = measured {
                measured.add_to(&mut self.state.gradients);
                if remembers {
                    measured.remember(&mut self.state.statistics);
                }
            }
            if let Some(signals) = signals {
                signals.add_to(&mut self.state.gradients);
            }
            reports.push(report);
        }
        Ok(reports)
    }

    /// Draws sites if a draw is due at this step, reports the draw to the observers, and returns the number of amplified sites.
    fn draw(&mut self, epoch: usize, step: u64) -> Result<usize> {
        let record = self.amplifier().begin_step(epoch, step, &self.state.history)?;
        if let Some(draw) = record {
            for observer in &mut self.observers {
                observer.on_draw(&draw)?;
            }
        }
        Ok(self.amplifier().draw().map_or(0, |draw| draw.sites.len()))
    }
}

/// Adds a step to the counts of the state.
fn count(state: &mut TrainState, step: &StepReport) {
    state.batch += 1;
    state.step += 1;
    state.loss_sum += f64::from(step.loss) * step.examples as f64;
    state.correct += step.correct as u64;
    state.examples += step.examples as u64;
    state.seconds += step.seconds;
    state.total_seconds += step.seconds;
}
