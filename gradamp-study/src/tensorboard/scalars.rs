//! Converts the lines of a run to scalars.

use gradamp_core::train::SiteSignals;

use crate::config::tree::Value;
use crate::run_folder::lines::{EpochLine, GradientLine, StepLine};
use crate::run_folder::{Change, RunRecord, Timestamp};

use super::event;

/// Makes events from the changes of a run. Adds up the seconds and steps of the run.
#[derive(Debug)]
pub struct Scalars {
    /// The time at which the run began, in seconds since 1970.
    start: f64,
    /// The seconds of the run so far.
    seconds: f64,
    /// The steps so far.
    step: u64,
}

impl Scalars {
    /// Starts at the beginning of a run.
    pub fn begin(record: &RunRecord) -> Self {
        let start = Timestamp::parse(&record.start).map_or(0.0, |start| start.seconds() as f64);
        Self { start, seconds: 0.0, step: 0 }
    }

    /// The events at the beginning of a file. `settings` are the run's hyperparameters and `text` its configuration.
    pub fn head(&self, settings: &[(String, Value)], text: &str) -> [Vec<u8>; 4] {
        // Four blanks make a line a line of code in Markdown.
        let code: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
        [
            event::file_version(self.start),
            event::start(self.start, 0),
            event::hyperparameters(self.start, settings),
            event::text(self.start, "configuration", &code.join("\n")),
        ]
    }

    /// The event of a change; `None` if the change has no numbers.
    pub fn event(&mut self, change: &Change) -> Option<Vec<u8>> {
        let (step, values) = match change {
            Change::Step(line) => {
                // Only every n-th step has a line. The steps between two lines are assumed to take as long as the later line says.
                let steps = line.step.saturating_add(1).saturating_sub(self.step);
                self.seconds += steps as f64 * line.seconds;
                self.step = line.step.saturating_add(1);
                (line.step.saturating_add(1), step_scalars(line))
            }
            Change::Epoch(line) => {
                self.seconds = self.seconds.max(line.total_seconds);
                self.step = line.step;
                (line.step, epoch_scalars(line))
            }
            Change::Gradient(line) => (line.step, gradient_scalars(line)),
            Change::Restarted | Change::Record(_) | Change::Draw(_) => return None,
        };
        Some(event::scalars(self.start + self.seconds, step, &values))
    }
}

/// The values that are not `None`, with their tags.
fn tagged<const N: usize>(values: [(&str, Option<f64>); N]) -> Vec<(String, f64)> {
    values.into_iter().filter_map(|(tag, value)| Some((tag.to_owned(), value?))).collect()
}

fn step_scalars(line: &StepLine) -> Vec<(String, f64)> {
    tagged([
        ("step/loss", Some(line.loss)),
        ("step/accuracy", Some(line.accuracy)),
        ("step/learning_rate", Some(line.lr)),
        ("step/images_per_second", Some(line.images_per_second)),
        ("step/amplified_sites", Some(line.amplified_sites as f64)),
        ("step/gradient_norm", line.gradient_norm),
        ("step/loss_scale", line.loss_scale),
    ])
}

fn epoch_scalars(line: &EpochLine) -> Vec<(String, f64)> {
    // An evaluation whose loss was not finite has an accuracy, but no loss.
    let loss = |loss: Option<f64>, accuracy: Option<f64>| accuracy.map(|_| loss.unwrap_or(f64::NAN));
    tagged([
        ("loss/train", Some(line.train_loss)),
        ("loss/validation", loss(line.validation_loss, line.validation_accuracy)),
        ("loss/test", loss(line.test_loss, line.test_accuracy)),
        ("accuracy/train", Some(line.train_accuracy)),
        ("accuracy/validation", line.validation_accuracy),
        ("accuracy/test", line.test_accuracy),
        ("accuracy/validation_ema", line.validation_ema_accuracy),
        ("accuracy/test_ema", line.test_ema_accuracy),
        ("epoch/learning_rate", Some(line.lr)),
        ("epoch/images_per_second", Some(line.images_per_second)),
        ("epoch/attenuation", line.attenuation),
        ("epoch/skipped_steps", line.skipped_steps.map(|steps| steps as f64)),
    ])
}

fn gradient_scalars(line: &GradientLine) -> Vec<(String, f64)> {
    let gradient = &line.gradient;
    let of = |value: fn(&SiteSignals) -> Option<f64>| gradient.signals.as_ref().and_then(value);
    let values = [
        ("gradient_norm_before", Some(gradient.norm_before)),
        ("gradient_norm_after", Some(gradient.norm_after)),
        ("update_ratio", gradient.update_ratio),
        ("output_mean", of(|signals| Some(signals.output_mean))),
        ("output_deviation", of(|signals| Some(signals.output_deviation))),
        ("saturated", of(|signals| signals.saturated)),
        ("signal_to_noise", of(SiteSignals::signal_to_noise)),
        ("angular_update", of(|signals| signals.angular_update)),
    ];
    let value = |(tag, value): (&str, Option<f64>)| Some((format!("{tag}/{}", gradient.site), value?));
    values.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::{Field, fields};
    use super::*;

    fn record() -> RunRecord {
        let json = serde_json::json!({
            "version": "0", "model": "m", "parameters": 1, "seed": 0, "device": "cpu", "dataset": "shapes",
            "dataset_checksum": "", "start": "1970-01-01T00:01:40Z", "outcome": "running", "resumed": [],
            "expected_gains": [],
        });
        serde_json::from_value(json).unwrap()
    }

    fn step(step: u64, seconds: f64) -> Change {
        let json = serde_json::json!({
            "epoch": 0, "step": step, "phase": 0, "lr": 0.1, "amplified": false, "amplified_sites": 0, "loss": null,
            "accuracy": 0.5, "skipped": false, "images_per_second": 1.0, "seconds": seconds,
        });
        Change::Step(serde_json::from_value(json).unwrap())
    }

    fn time_and_step(event: &[u8]) -> (f64, u64) {
        match fields(event)[..] {
            [Field::Double(1, time), Field::Number(2, step), ..] => (time, step),
            _ => panic!("{event:?}"),
        }
    }

    #[test]
    fn time_is_the_runs_own_and_steps_count_those_done() {
        let mut scalars = Scalars::begin(&record());
        for event in scalars.head(&[], "text") {
            assert_eq!(time_and_step(&event), (100.0, 0));
        }
        assert_eq!(time_and_step(&scalars.event(&step(1, 2.0)).unwrap()), (104.0, 2));
        assert_eq!(time_and_step(&scalars.event(&step(3, 1.0)).unwrap()), (106.0, 4));
        let epoch = serde_json::json!({
            "epoch": 0, "step": 5, "phase": 0, "lr": 0.1, "amplified": false, "train_loss": 1.0, "train_accuracy": 0.5,
            "test_accuracy": 0.25, "best": true, "images_per_second": 1.0, "seconds": 8.0, "total_seconds": 9.0,
        });
        let event = scalars.event(&Change::Epoch(serde_json::from_value(epoch).unwrap())).unwrap();
        assert_eq!(time_and_step(&event), (109.0, 5));
        assert_eq!(scalars.event(&Change::Restarted), None);
    }

    #[test]
    fn a_loss_that_is_not_finite_is_shown_and_what_is_not_there_is_left_out() {
        let Change::Step(line) = step(0, 1.0) else { panic!() };
        let values = step_scalars(&line);
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        assert!(values[0].0 == "step/loss" && values[0].1.is_nan(), "{values:?}");
        assert!(!names.contains(&"step/gradient_norm") && !names.contains(&"step/loss_scale"), "{names:?}");
    }
}
