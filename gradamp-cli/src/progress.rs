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
            bar.set_style(style(false));
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
                        fitting(&self.figures(report), usize::MAX)
                    ));
                }
            }
            Style::Bar(bar) => {
                let prefix = format!("epoch {}/{}", report.epoch + 1, self.epochs);
                let columns = usize::from(console::Term::stderr().size().1);
                let is_narrow = columns < NARROW;
                let bar_columns = if is_narrow { 0 } else { BAR + 1 };
                let taken = prefix.len() + 1 + bar_columns + format!("{done}/{} ", report.batches).len();
                bar.set_style(style(is_narrow));
                bar.set_length(report.batches as u64);
                bar.set_prefix(prefix);
                bar.set_position(done as u64);
                bar.set_message(fitting(&self.figures(report), columns.saturating_sub(taken)));
            }
        }
    }

    /// The fields of the epoch so far, in the order in which they are shown. Each has a rank: the field with the highest rank is
    /// the first that a narrow terminal loses.
    fn figures(&self, report: &StepReport) -> [(u8, String); 6] {
        let seconds = self.pace.seconds_per_step().unwrap_or(1.0);
        let steps_left = (self.epochs * report.batches) as f64 - (report.step + 1) as f64;
        let examples = self.examples.max(1) as f64;
        [
            (3, format!("{:.0} images/s", report.examples as f64 / seconds)),
            (0, format!("loss {:.3}", self.loss_sum / examples)),
            (1, format!("accuracy {:.1} %", 100.0 * self.correct as f64 / examples)),
            (5, format!("lr {}", rate(report.lr))),
            (4, amplification(report.amplified_sites)),
            (2, format!("{} left", duration(steps_left.max(0.0) * seconds))),
        ]
    }
}

/// The columns of a bar, and the columns of a terminal below which there is no bar.
const BAR: usize = 16;
const NARROW: usize = 120;

fn style(is_narrow: bool) -> ProgressStyle {
    let template = if is_narrow {
        "{prefix} {pos}/{len} {wide_msg}"
    } else {
        "{prefix} {bar:16} {pos}/{len} {wide_msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The fields that fit into `room` columns, two blanks apart. Fields of a high rank are left out first.
fn fitting(fields: &[(u8, String)], room: usize) -> String {
    let with_rank_below = |limit: u8| {
        let kept = fields.iter().filter(|(rank, _)| *rank < limit).map(|(_, text)| text.as_str());
        kept.collect::<Vec<_>>().join("  ")
    };
    let highest = fields.iter().map(|(rank, _)| rank + 1).max().unwrap_or(0);
    let mut lines = (0..=highest).rev().map(with_rank_below);
    lines.find(|line| line.chars().count() <= room).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_loses_whole_fields_and_the_loss_last() {
        let fields = [(2, "300 images/s"), (0, "loss 1.234"), (1, "accuracy 50.0 %"), (3, "lr 0.1")];
        let fields = fields.map(|(rank, text)| (rank, text.to_owned()));
        for (room, expected) in [
            (usize::MAX, "300 images/s  loss 1.234  accuracy 50.0 %  lr 0.1"),
            (49, "300 images/s  loss 1.234  accuracy 50.0 %  lr 0.1"),
            (48, "300 images/s  loss 1.234  accuracy 50.0 %"),
            (40, "loss 1.234  accuracy 50.0 %"),
            (26, "loss 1.234"),
            (9, ""),
        ] {
            assert_eq!(fitting(&fields, room), expected);
        }
    }
}
