//! The steps of an epoch: their submission to the device and the reading of their results.

use std::mem::take;
use std::time::Instant;

use super::loss_scaling::RECONSIDERED;
use super::measured::GradientSums;
use super::meter::Weights;
use super::pending::{self, Pending};
use super::signals::Signals;
use super::step_length::Lengths;
use super::trainer::{Outcome, Trainer};
use super::{Control, Next, OnDivergence, StepReport, TrainState, divergence};
use crate::autograd::Probe;
use crate::{Backend, Batch, BatchSource, Error, Gradients, Hooks, Module, Parameters, Result, Tape, ops};

/// The longest time in seconds that results may stay unread on the device, unless one step takes longer: a request to stop waits for them.
const PATIENCE: f64 = 0.5;

impl<B: Backend, M: Module<B>> Trainer<'_, B, M> {
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
        let mut batches = train.epoch(&backend, self.state.epoch, self.state.batch)?;
        loop {
            let step = self.state.step + self.pending.len() as u64;
            // A limit at the epoch's end lets the epoch end, because its evaluation is no step.
            let ends_epoch = self.state.batch + self.pending.len() >= train.batches();
            if !ends_epoch && self.settings.max_steps.is_some_and(|limit| step >= limit) {
                return Ok(Some(Outcome::StepLimit));
            }
            if !ends_epoch && self.ask(Next::Step) == Control::Stop {
                return Ok(Some(Outcome::Stopped));
            }
            let Some(batch) = batches.next() else { return Ok(None) };
            self.step(batch?, train.batches())?;
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
    fn step(&mut self, batch: Batch<B>, batches: usize) -> Result<()> {
        let (epoch, ahead) = (self.state.epoch, self.pending.len());
        let (number, step) = (self.state.batch + ahead, self.state.step + ahead as u64);
        let amplified_sites = self.draw(epoch, step)?;
        let lr = self.lr_at(step, batches)?;
        let moment = (self.settings.seed, step);
        let loss_scale = self.state.loss_scale.as_ref().map(|scale| scale.factor);
        let lengths = self.amplified_lengths(&batch, loss_scale, moment)?;
        let every = self.settings.gradients_every;
        let is_measured = every > 0 && number % every == 0;
        let mut signals = match is_measured && self.settings.signals {
            true => Some(self.signals(&batch, loss_scale, moment)?),
            false => None,
        };
        if is_measured {
            let sums = self.take_sums(number)?;
            let arriving = self.amplifier().arriving();
            self.meter.begin(self.parameters.backend(), arriving, sums)?;
        }

        let smoothing = self.settings.label_smoothing;
        let (loss, mut gradients) =
            pass(self.model, &mut self.parameters, &batch, loss_scale, smoothing, &self.hooks, None, moment)?;
        let mut measured = self.meter.end();
        if let Some(sums) = measured.as_mut().and_then(|measured| measured.sums.take()) {
            self.gradient_sums = sums;
        }
        if self.parameters.backend().steps_ahead() == 0 {
            // Read now, while the parameters still are those that led to this loss.
            self.check(epoch, step, loss.read()?.0, &batch, "")?;
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
        let report = StepReport {
            epoch,
            batch: number,
            batches,
            step,
            phase: self.phase(epoch),
            lr,
            amplified_sites,
            loss: f32::NAN,
            correct: 0,
            examples: batch.labels.elements(),
            gradient_norm: None,
            loss_scale,
            skipped: false,
            seconds: 0.0,
        };
        self.pending.push(Pending {
            report,
            loss: loss.mean.tensor()?,
            correct: loss.correct,
            gate,
            measured,
            signals,
            batch,
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

    /// Under the control of step length, the lengths of the amplified gradient of `batch`; `None` in steps without the control.
    fn amplified_lengths(
        &self,
        batch: &Batch<B>,
        loss_scale: Option<f32>,
        moment: (u64, u64),
    ) -> Result<Option<Lengths>> {
        let Some(per_layer) = self.amplifier().step_length() else { return Ok(None) };
        // A copy, so that running statistics move once: nothing is copied but what the pass writes.
        let mut parameters = self.parameters.clone();
        self.amplifier().measure_length(true);
        let smoothing = self.settings.label_smoothing;
        let result =
            pass(self.model, &mut parameters, batch, loss_scale, smoothing, &self.hooks, None, moment);
        self.amplifier().measure_length(false);
        Lengths::measure(&parameters, &result?.1, per_layer).map(Some)
    }

    /// Measures the forward signals of the first half of `batch`, and keeps its gradients.
    fn signals(&self, batch: &Batch<B>, loss_scale: Option<f32>, moment: (u64, u64)) -> Result<Signals<B>> {
        let mut signals = Signals::new(self.parameters.backend(), self.trace.clone())?;
        let half = signals.half_of(batch)?;
        let mut parameters = self.parameters.clone();
        let smoothing = self.settings.label_smoothing;
        let probe = Some(signals.probe());
        let (_, gradients) =
            pass(self.model, &mut parameters, &half, loss_scale, smoothing, &self.hooks, probe, moment)?;
        signals.keep(gradients);
        Ok(signals)
    }

    /// **Errors:** the loss is not finite, and such a loss ends the run. `when` says which step the parameters belong to.
    fn check(&self, epoch: usize, step: u64, loss: f32, batch: &Batch<B>, when: &str) -> Result<()> {
        if loss.is_finite() || self.settings.on_divergence == OnDivergence::Continue {
            return Ok(());
        }
        let explanation =
            divergence::explain(self.model, &mut self.parameters.clone(), batch, (self.settings.seed, step))?;
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
        for Pending { report, measured, signals, batch, .. } in steps {
            self.check(report.epoch, report.step, report.loss, &batch, &when)?;
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

/// Forward, loss, and backward with hooks. `moment` is the run's seed and the step, which random layers depend on.
fn pass<'p, B: Backend>(
    model: &impl Module<B>,
    parameters: &'p mut Parameters<B>,
    batch: &Batch<B>,
    loss_scale: Option<f32>,
    label_smoothing: f32,
    hooks: &Hooks<B>,
    probe: Option<Probe<'p, B>>,
    moment: (u64, u64),
) -> Result<(ops::Loss<B>, Gradients<B>)> {
    let (seed, step) = moment;
    let mut tape = Tape::train(parameters).with_random(seed, step);
    if let Some(probe) = probe {
        tape = tape.with_probe(probe);
    }
    let x = tape.constant(batch.images.clone());
    let mut logits = model.forward(&mut tape, x)?;
    if let Some(factor) = loss_scale {
        logits = ops::loss_scale(&mut tape, &logits, factor)?;
    }
    let loss = ops::softmax_cross_entropy(&mut tape, &logits, &batch.labels, label_smoothing)?;
    drop(logits);
    let gradients = tape.backward(&loss.mean, hooks)?;
    Ok((loss, gradients))
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
