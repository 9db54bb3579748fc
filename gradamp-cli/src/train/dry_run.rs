//! `gradamp train --dry-run`: the plan of a run, with memory and time from a few steps. Nothing is written.

use std::time::Instant;

use gradamp_core::amplify::{Amplifier, Amplify, History};
use gradamp_core::train::{Control, Observer, Snapshot, StepReport, Trainer};
use gradamp_core::{Backend, Module, Parameters, nn};
use gradamp_study::columns::{columns, header};
use gradamp_study::config::Config;
use gradamp_study::duration::duration;
use gradamp_study::gains;
use gradamp_study::rate::rate;

use super::Run;
use crate::bench::{FORWARD, peak_bytes};
use crate::dataset::Sources;
use crate::devices::in_units;
use crate::failure::Result;
use crate::{device, output};

/// The most timed steps, and the seconds after which no further step is timed.
const STEPS: usize = 10;
const SECONDS: f64 = 5.0;
/// The most sites that a line names.
const NAMED: usize = 4;

impl<B: Backend> Run<'_, B> {
    /// Prints the plan of a run that would begin with `parameters`.
    ///
    /// **Errors:** those that the run itself would have at its start or in its first steps.
    pub(super) fn dry_run(
        &self,
        model: &impl Module<B>,
        description: &str,
        parameters: Parameters<B>,
        sources: &Sources<B>,
    ) -> Result<()> {
        let config = &self.resolved.config;
        let image = sources.train().image_shape();
        let sizes =
            (parameters.trained_elements(), parameters.iter().map(|(_, p)| 4 * p.value.elements()).sum());
        let phases = self.phases(model, parameters.clone(), image, self.steps_per_epoch(sources))?;
        let mut settings = config.train_settings();
        let mut timer = Timer::new(&self.backend);
        settings.max_steps = Some(timer.wanted as u64);
        let mut trainer =
            Trainer::new(model, parameters, image, settings).map_err(|error| self.setting(error))?;
        let gains = trainer.expected_gains()?;
        trainer.observe(&mut timer);
        trainer.run(sources.train(), &[])?;
        let state: usize =
            trainer.snapshot().optimizer.state().iter().map(|state| 4 * state.tensor.elements()).sum();
        drop(trainer);
        output::result(self.plan(description, sizes, state, &phases, sources, timer.step()).trim_end());
        for (phase, gains) in gains {
            output::result(gains::line(phase, gains.as_deref()));
        }
        output::message("this was a dry run: nothing was written");
        Ok(())
    }

    fn steps_per_epoch(&self, sources: &Sources<B>) -> usize {
        self.resolved.config.train.steps_per_epoch(sources.train().batches())
    }

    /// A row for each phase: its epochs, steps, rates and amplified sites.
    fn phases(
        &self,
        model: &impl Module<B>,
        mut parameters: Parameters<B>,
        image: [usize; 3],
        per_epoch: usize,
    ) -> Result<Vec<Vec<String>>> {
        let Config { strategy, amplification, train, .. } = &self.resolved.config;
        let trace = nn::trace(model, &mut parameters, image)?;
        let amplifier = Amplifier::new(strategy, amplification, &trace, train.seed)
            .map_err(|error| self.setting(error))?;
        let mut rows = vec![header(["phase", "epochs", "steps", "learning rate", "amplified"])];
        let mut first = 0;
        for ((number, phase), selection) in strategy.phases.iter().enumerate().zip(amplifier.selections()) {
            let steps = phase.epochs * per_epoch;
            let at = |epoch: usize, step: usize| {
                strategy.lr_at((epoch * per_epoch + step) as u64, per_epoch as u64, &[]).map(rate)
            };
            let (begin, end) = (at(first, 0)?, at(first, steps.saturating_sub(1))?);
            let lr = if begin == end { begin } else { format!("{begin} to {end}") };
            let amplified = match (selection, &phase.amplify) {
                (Some(selection), _) => {
                    let eligible = selection.eligible();
                    let draw = selection.draw(first, (first * per_epoch) as u64, &History::default());
                    let names: Vec<&str> =
                        eligible.iter().take(NAMED).map(|site| &*trace.sites[*site].path).collect();
                    let more = if eligible.len() > NAMED { ", ..." } else { "" };
                    let drawn = draw.map_or("?".into(), |draw| draw.sites.len().to_string());
                    format!("{drawn} of {} sites: {}{more}", eligible.len(), names.join(", "))
                }
                (None, Amplify::Off | Amplify::On(_)) => "off".into(),
            };
            let epochs = format!("{}-{}", first + 1, first + phase.epochs);
            rows.push(vec![(number + 1).to_string(), epochs, steps.to_string(), lr, amplified]);
            first += phase.epochs;
        }
        Ok(rows)
    }

    fn plan(
        &self,
        description: &str,
        (trained, bytes): (usize, usize),
        state: usize,
        phases: &[Vec<String>],
        sources: &Sources<B>,
        step: f64,
    ) -> String {
        let Config { strategy, train, optimizer, .. } = &self.resolved.config;
        let steps = strategy.epochs() * self.steps_per_epoch(sources);
        let evaluations =
            strategy.epochs().div_ceil(train.evaluate_every) * (1 + usize::from(train.ema.is_some()));
        let evaluated: usize =
            sources.evaluations().iter().map(|(_, source)| source.batches()).sum::<usize>() * evaluations;
        let evaluated_steps = evaluated as f64 / train.accumulate as f64;
        let seconds = step * (steps as f64 + FORWARD * evaluated_steps);
        let mut text = format!("{description}: {trained} trained parameters\n");
        text += &format!("device: {}\n", self.backend.name());
        text += &format!("optimiser: {}, batch {}\n\n", optimizer.name.name(), train.batch_size);
        text += &columns(phases, ">>>><");
        let peak = peak_bytes().filter(|_| device::is_cpu(&self.backend));
        let peak = peak.map_or(String::new(), |peak| format!(", process at its peak {}", in_units(peak)));
        text += &format!(
            "\nmemory: parameters {}, optimiser {}{peak}\n",
            in_units(bytes as u64),
            in_units(state as u64)
        );
        text += &format!("disk: about {} for two checkpoints\n", in_units(2 * (bytes + state) as u64));
        text += &format!(
            "time: {step:.4} s a step, timed here; {steps} steps and {evaluated} batches of evaluation take about {}\n",
            duration(seconds)
        );
        text
    }
}

/// An observer that times steps. The first steps prepare the device and are not counted.
struct Timer {
    /// Steps that are read together.
    period: usize,
    /// The number of steps to run.
    wanted: usize,
    seconds: Vec<f64>,
    begun: Instant,
}

impl Timer {
    fn new<B: Backend>(backend: &B) -> Self {
        let period = backend.steps_ahead() + 1;
        Self {
            period,
            wanted: period * (1 + STEPS.div_ceil(period)),
            seconds: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// The median of the counted steps, or of all steps if there are no others.
    fn step(&self) -> f64 {
        let counted = self.seconds.get(self.period..).filter(|counted| !counted.is_empty());
        let mut seconds = counted.unwrap_or(&self.seconds).to_vec();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
    }
}

impl<B: Backend> Observer<B> for Timer {
    fn on_steps(&mut self, reports: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        self.seconds.extend(reports.iter().map(|report| report.seconds));
        let is_enough = self.seconds.len() > self.period && self.begun.elapsed().as_secs_f64() > SECONDS;
        Ok(if is_enough { Control::Stop } else { Control::Continue })
    }

    fn on_epoch(
        &mut self,
        _: &gradamp_core::train::EpochReport,
        _: &Snapshot<'_, B>,
    ) -> gradamp_core::Result<Control> {
        let is_enough = self.seconds.len() >= self.wanted;
        Ok(if is_enough { Control::Stop } else { Control::Continue })
    }
}
