//! Shows the progress of a run: a bar for each epoch, or plain lines if stderr is not a terminal.

use gradamp_core::Backend;
use gradamp_core::train::{Control, EpochReport, Observer, Snapshot, StepReport};
use gradamp_study::duration::duration;
use gradamp_study::rate::rate;
use gradamp_study::run_folder::lines::EpochLine;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Shows the progress of a run.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    epochs: usize,
    /// The means over the current epoch so far.
    loss_sum: f64,
    correct: usize,
    examples: usize,
    pace: Pace,
    amplified_sites: usize,
}

/// The speed of a run as a moving mean, so that one slow step hardly changes the estimate of the time left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    seconds_per_step: Option<f64>,
}

impl Pace {
    /// Adds a step that took `seconds`.
    pub fn add(&mut self, seconds: f64) {
        let mean = self.seconds_per_step.map_or(seconds, |mean| 0.95 * mean + 0.05 * seconds);
        self.seconds_per_step = Some(mean);
    }

    /// The number of seconds per step; `None` before the first step.
    pub fn seconds_per_step(&self) -> Option<f64> {
        self.seconds_per_step.map(|seconds| seconds.max(1e-9))
    }
}

#[derive(Debug)]
enum Style {
    Quiet,
    Shown,
    Lines,
    Bar(ProgressBar),
}

/// The number of plain lines per epoch.
const PARTS: usize = 4;

/// Where progress bars are drawn; `None` if stderr is not a terminal or `TERM` names a dumb terminal, which gets
/// plain lines.
pub fn bars() -> Option<ProgressDrawTarget> {
    let target = ProgressDrawTarget::stderr();
    (!target.is_hidden()).then_some(target)
}

impl Progress {
    /// Shows a bar on a terminal and plain lines elsewhere. With `quiet`, shows nothing. With `shown`, something else
    /// shows the steps, and this value prints only the lines of [`say`](Self::say).
    pub fn new(quiet: bool, shown: bool, epochs: usize) -> Self {
        let style = if quiet {
            Style::Quiet
        } else if shown {
            Style::Shown
        } else if let Some(target) = bars() {
            let bar = ProgressBar::with_draw_target(None, target);
            let template = "{prefix} {bar:16} {pos}/{len} {wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            Style::Bar(bar)
        } else {
            Style::Lines
        };
        Self {
            style,
            epochs,
            loss_sum: 0.0,
            correct: 0,
            examples: 0,
            pace: Pace::default(),
            amplified_sites: 0,
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Shown | Style::Lines => output::message(line),
            Style::Bar(bar) => bar.suspend(|| output::message(line)),
        }
    }

    fn add(&mut self, report: &StepReport) {
        self.loss_sum += f64::from(report.loss) * report.examples as f64;
        self.correct += report.correct;
        self.examples += report.examples;
        self.amplified_sites = report.amplified_sites;
        self.pace.add(report.seconds);
    }

    fn show(&self, report: &StepReport) {
        let done = report.batch + 1;
        match &self.style {
            Style::Quiet | Style::Shown => {}
            Style::Lines => {
                let part = |batch: usize| batch * PARTS / report.batches.max(1);
                if part(done) > part(report.batch) && done < report.batches {
                    let epoch = report.epoch + 1;
                    output::message(format_args!(
                        "epoch {epoch}/{} step {done}/{}  {}",
                        self.epochs,
                        report.batches,
                        self.figures(report)
                    ));
                }
            }
            Style::Bar(bar) => {
                bar.set_length(report.batches as u64);
                bar.set_prefix(format!("epoch {}/{}", report.epoch + 1, self.epochs));
                bar.set_position(done as u64);
                bar.set_message(self.figures(report));
            }
        }
    }

    /// Describes the epoch so far: speed, loss, accuracy, learning rate, amplification and time left.
    fn figures(&self, report: &StepReport) -> String {
        let seconds = self.pace.seconds_per_step().unwrap_or(1.0);
        let steps_left = (self.epochs * report.batches) as f64 - (report.step + 1) as f64;
        let examples = self.examples.max(1) as f64;
        format!(
            "{:.0} images/s  loss {:.3}  accuracy {:.1} %  lr {}  {}  {} left",
            report.examples as f64 / seconds,
            self.loss_sum / examples,
            100.0 * self.correct as f64 / examples,
            rate(report.lr),
            amplification(report.amplified_sites),
            duration(steps_left.max(0.0) * seconds),
        )
    }
}

impl<B: Backend> Observer<B> for Progress {
    fn on_steps(&mut self, reports: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        for report in reports {
            self.add(report);
            self.show(report);
        }
        Ok(Control::Continue)
    }

    fn on_epoch(
        &mut self,
        report: &EpochReport,
        snapshot: &Snapshot<'_, B>,
    ) -> gradamp_core::Result<Control> {
        let line = EpochLine::new(report, snapshot.state);
        if !matches!(self.style, Style::Shown) {
            self.say(&of_epoch(&line, self.epochs, self.amplified_sites));
        }
        (self.loss_sum, self.correct, self.examples) = (0.0, 0, 0);
        if let Style::Bar(bar) = &self.style {
            bar.set_position(0);
            if report.epoch + 1 == self.epochs {
                bar.finish_and_clear();
            }
        }
        Ok(Control::Continue)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

/// Describes an epoch in one line. `sites` is the number of amplified sites in its last step.
pub fn of_epoch(line: &EpochLine, epochs: usize, sites: usize) -> String {
    let mut text = format!(
        "epoch {}/{epochs}  phase {}  lr {}  {}  train loss {:.3}  accuracy {:.1} %",
        line.epoch.saturating_add(1),
        line.phase.saturating_add(1),
        rate(line.lr),
        amplification(if line.amplified { sites } else { 0 }),
        line.train_loss,
        100.0 * line.train_accuracy,
    );
    let validation =
        ("validation", line.validation_loss, line.validation_accuracy, line.validation_ema_accuracy);
    let test = ("test", line.test_loss, line.test_accuracy, line.test_ema_accuracy);
    for (name, loss, accuracy, ema) in [validation, test] {
        if let Some(accuracy) = accuracy {
            // The file has no value for a loss that is not finite.
            let loss = loss.unwrap_or(f64::NAN);
            text += &format!("  {name} loss {loss:.3}  accuracy {:.1} %", 100.0 * accuracy);
        }
        if let Some(ema) = ema {
            text += &format!(" (average {:.1} %)", 100.0 * ema);
        }
    }
    text + &format!("  {:.0} images/s  {}", line.images_per_second, duration(line.seconds))
}

/// Describes whether gradients are amplified, and at how many sites.
pub fn amplification(sites: usize) -> String {
    if sites == 0 { "amplification off".into() } else { format!("amplification on ({sites} sites)") }
}
