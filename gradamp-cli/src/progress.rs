//! What the terminal shows while a run goes on: a bar for each epoch, or plain lines where nobody watches.

use std::io::IsTerminal;
use std::time::Duration;

use gradamp_core::Backend;
use gradamp_core::train::{Control, EpochReport, Observer, Snapshot, StepReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Where a run's progress goes.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    epochs: usize,
    /// Of this epoch so far.
    loss_sum: f64,
    correct: usize,
    examples: usize,
    /// A moving mean, so that one slow step does not shake the forecast.
    seconds_per_step: Option<f64>,
    amplified_sites: usize,
    batches: usize,
}

#[derive(Debug)]
enum Style {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

/// Within an epoch, plain lines come at each of so many parts.
const PARTS: usize = 4;

impl Progress {
    /// A bar on a terminal, lines elsewhere, nothing where it is to be quiet.
    pub fn new(quiet: bool, epochs: usize) -> Self {
        let style = if quiet {
            Style::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
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
            seconds_per_step: None,
            amplified_sites: 0,
            batches: 0,
        }
    }

    /// Says something between the bars.
    pub fn say(&self, line: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Lines => output::message(line),
            Style::Bar(bar) => bar.suspend(|| output::message(line)),
        }
    }

    fn take(&mut self, report: &StepReport) {
        self.loss_sum += f64::from(report.loss) * report.examples as f64;
        self.correct += report.correct;
        self.examples += report.examples;
        self.amplified_sites = report.amplified_sites;
        self.batches = report.batches;
        let mean = self.seconds_per_step.map_or(report.seconds, |mean| 0.95 * mean + 0.05 * report.seconds);
        self.seconds_per_step = Some(mean);
    }

    fn show(&self, report: &StepReport) {
        let done = report.batch + 1;
        match &self.style {
            Style::Quiet => {}
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

    /// The middle of a line: how the epoch goes so far.
    fn figures(&self, report: &StepReport) -> String {
        let seconds = self.seconds_per_step.unwrap_or(report.seconds).max(1e-9);
        let steps_left = (self.epochs * report.batches) as f64 - (report.step + 1) as f64;
        let examples = self.examples.max(1) as f64;
        format!(
            "{:.0} images/s  loss {:.3}  accuracy {:.1} %  lr {:.4}  {}  {} left",
            report.examples as f64 / seconds,
            self.loss_sum / examples,
            100.0 * self.correct as f64 / examples,
            report.lr,
            amplification(report.amplified_sites),
            duration(steps_left.max(0.0) * seconds),
        )
    }
}

impl<B: Backend> Observer<B> for Progress {
    fn on_steps(&mut self, reports: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        for report in reports {
            self.take(report);
            self.show(report);
        }
        Ok(Control::Continue)
    }

    fn on_epoch(&mut self, report: &EpochReport, _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        let mut line = format!(
            "epoch {}/{}  phase {}  lr {:.4}  {}  train loss {:.3}  accuracy {:.1} %",
            report.epoch + 1,
            self.epochs,
            report.phase + 1,
            report.lr,
            amplification(if report.amplified { self.amplified_sites } else { 0 }),
            report.train_loss,
            100.0 * report.train_accuracy,
        );
        for (name, evaluation) in &report.evaluations {
            let accuracy = 100.0 * evaluation.accuracy();
            line += &format!("  {name} loss {:.3}  accuracy {accuracy:.1} %", evaluation.loss);
        }
        let images = report.examples as f64 / report.seconds.max(1e-9);
        line += &format!("  {images:.0} images/s  {}", duration(report.seconds));
        self.say(&line);
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

fn amplification(sites: usize) -> String {
    if sites == 0 { "amplification off".into() } else { format!("amplification on ({sites} sites)") }
}

/// A length of time as people say it: `4 s`, `2 min 05 s`, `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).map_or(0, |time| (time.as_secs_f64() + 0.5) as u64);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (3.6, "4 s"),
            (125.2, "2 min 05 s"),
            (12_000.0, "3 h 20 min"),
            (f64::NAN, "0 s"),
            (-1.0, "0 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
