//! Shows the progress of a sweep.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::child::Ended;
use crate::output;
use crate::progress::bars;
use gradamp_study::duration::duration;
use gradamp_study::run_folder::RunStatus;
use gradamp_study::run_folder::lines::last_evaluated;

use gradamp_study::sweep::RunSnapshot;

/// The progress of a sweep: a bar on a terminal, lines elsewhere.
#[derive(Debug)]
pub struct Show {
    bar: Option<ProgressBar>,
    jobs: usize,
    /// The number of epochs that this process has trained, and the seconds they took.
    epochs: usize,
    seconds: f64,
}

impl Show {
    /// Shows the start of a sweep of `runs` runs.
    pub fn new(quiet: bool, runs: usize, jobs: usize) -> Self {
        let target = if quiet { None } else { bars() };
        let bar = target.map(|target| {
            let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
            let style = ProgressStyle::with_template("runs {bar:16} {pos}/{len} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.tick();
            bar
        });
        Self { bar, jobs, epochs: 0, seconds: 0.0 }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::message(line)),
            None => output::message(line),
        }
    }

    /// Shows that a run starts.
    pub fn begins(&self, name: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{name} ..."));
        }
    }

    /// Shows how a run ended, with its epochs and its duration, the number of settled runs and of all runs, and the
    /// epochs left.
    pub fn ended(
        &mut self,
        name: &str,
        ended: &Ended,
        snapshot: &RunSnapshot,
        (epochs, took): (usize, Duration),
        (settled, all): (usize, usize),
        epochs_left: usize,
    ) {
        if *ended == Ended::NotStarted {
            return;
        }
        self.epochs += epochs;
        self.seconds += took.as_secs_f64();
        let how = match (snapshot.status, &snapshot.error) {
            (RunStatus::Interrupted, _) if *ended == Ended::Success => {
                format!("waits after {} epochs", snapshot.epochs.len())
            }
            (status, Some(error)) => format!("{status}: {error}"),
            (status, None) => {
                let test = last_evaluated(&snapshot.epochs).and_then(|epoch| epoch.test_accuracy);
                test.map_or(status.to_string(), |test| {
                    format!("{status}, test accuracy {:.1} %", 100.0 * test)
                })
            }
        };
        let left = match self.epochs {
            0 => String::new(),
            done => {
                let seconds = self.seconds / done as f64 * epochs_left as f64 / self.jobs as f64;
                format!("; about {} left", duration(seconds))
            }
        };
        let left = if settled == all { String::new() } else { left };
        self.say(&format!("[{settled}/{all}] {name}: {how}, {}{left}", duration(took.as_secs_f64())));
        if let Some(bar) = &self.bar {
            bar.set_position(settled as u64);
            bar.set_message(left.trim_start_matches("; ").to_owned());
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
