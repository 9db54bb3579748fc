//! The lines of a run's JSONL files: what the recorder writes and every view reads.

use gradamp_core::train::{EpochReport, Evaluation, SiteGradient, StepReport, TrainState};
use serde::{Deserialize, Serialize};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsLine {
    /// One step of every `train.log_interval`.
    Step(StepLine),
    /// One epoch.
    Epoch(EpochLine),
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step within the run, from 0.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate.
    pub lr: f64,
    /// Whether any site was amplified.
    pub amplified: bool,
    /// How many sites were amplified.
    pub amplified_sites: usize,
    /// The batch's mean loss.
    #[serde(with = "null_is_nan")]
    pub loss: f64,
    /// Fraction of the batch that was right.
    pub accuracy: f64,
    /// The norm of all gradients, where clipping computed it.
    pub gradient_norm: Option<f64>,
    /// The factor of loss scaling.
    pub loss_scale: Option<f64>,
    /// Whether the step changed no parameter.
    pub skipped: bool,
    /// Images per second.
    pub images_per_second: f64,
    /// Seconds of the step.
    pub seconds: f64,
}

/// What one epoch did. Epochs without an evaluation have the same keys, so that every line can be read alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps of the run so far.
    pub step: u64,
    /// The strategy's phase, from 0.
    pub phase: usize,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Whether amplification was on.
    pub amplified: bool,
    /// Mean loss over the epoch's examples, each as it was when trained on.
    #[serde(with = "null_is_nan")]
    pub train_loss: f64,
    /// Fraction of the epoch's examples that were right when trained on.
    pub train_accuracy: f64,
    /// Mean loss of the validation examples.
    #[serde(default)]
    pub validation_loss: Option<f64>,
    /// Fraction of the validation examples that were right.
    #[serde(default)]
    pub validation_accuracy: Option<f64>,
    /// Mean loss of the test examples.
    pub test_loss: Option<f64>,
    /// Fraction of the test examples that were right.
    pub test_accuracy: Option<f64>,
    /// Whether this is the best epoch so far: by validation where there is one, else by the test examples.
    pub best: bool,
    /// Steps of the whole run that changed no parameter, where loss scaling skips any.
    pub skipped_steps: Option<u64>,
    /// Images per second.
    pub images_per_second: f64,
    /// Seconds of the epoch's steps.
    pub seconds: f64,
    /// Seconds of the run so far, evaluations included.
    #[serde(default)]
    pub total_seconds: f64,
}

/// A line of `gradients.jsonl`: a site's gradients in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps of the run so far.
    pub step: u64,
    /// What was measured.
    #[serde(flatten)]
    pub gradient: SiteGradient,
}

/// A line of `evaluations.jsonl`: how a model did on one set of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// `validation` or `test`.
    pub split: String,
    /// Mean cross-entropy.
    #[serde(with = "null_is_nan")]
    pub loss: f64,
    /// Fraction of the examples that were right.
    pub accuracy: f64,
    /// How often each class (row) was taken for each class (column).
    pub confusion: Vec<Vec<u64>>,
    /// Of each example, in the set's order, whether it was right: `1` or `0`.
    #[serde(with = "ones_and_zeros")]
    pub hits: Vec<bool>,
}

impl StepLine {
    /// The line of a step.
    pub fn new(report: &StepReport) -> Self {
        Self {
            epoch: report.epoch,
            step: report.step,
            phase: report.phase,
            lr: report.lr,
            amplified: report.amplified_sites > 0,
            amplified_sites: report.amplified_sites,
            loss: report.loss.into(),
            accuracy: report.correct as f64 / report.examples.max(1) as f64,
            gradient_norm: report.gradient_norm.map(f64::from),
            loss_scale: report.loss_scale.map(f64::from),
            skipped: report.skipped,
            images_per_second: report.examples as f64 / report.seconds.max(1e-9),
            seconds: report.seconds,
        }
    }
}

impl EpochLine {
    /// The line of an epoch; `state` stands at the beginning of the next.
    pub fn new(report: &EpochReport, state: &TrainState) -> Self {
        let (validation, test) = (report.evaluation("validation"), report.evaluation("test"));
        Self {
            epoch: report.epoch,
            step: report.step,
            phase: report.phase,
            lr: report.lr,
            amplified: report.amplified,
            train_loss: report.train_loss,
            train_accuracy: report.train_accuracy,
            validation_loss: validation.map(|evaluation| evaluation.loss),
            validation_accuracy: validation.map(Evaluation::accuracy),
            test_loss: test.map(|evaluation| evaluation.loss),
            test_accuracy: test.map(Evaluation::accuracy),
            best: report.best,
            // Of the whole run, since `metrics.jsonl` does not hold every step.
            skipped_steps: state.loss_scale.as_ref().map(|scale| scale.skipped),
            images_per_second: report.examples as f64 / report.seconds.max(1e-9),
            seconds: report.seconds,
            total_seconds: state.total_seconds,
        }
    }
}

impl EvaluationLine {
    /// The line of an evaluation on `split`.
    pub fn new(epoch: usize, split: &str, evaluation: &Evaluation) -> Self {
        Self {
            epoch,
            split: split.to_owned(),
            loss: evaluation.loss,
            accuracy: evaluation.accuracy(),
            confusion: evaluation.confusion.clone(),
            hits: evaluation.hits.clone(),
        }
    }
}

/// JSON has no NaN: a loss that is not finite is `null`.
pub(crate) mod null_is_nan {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// A byte an example, and readable.
mod ones_and_zeros {
    use serde::de::{Error, Unexpected};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(hits: &[bool], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hits.iter().map(|hit| if *hit { '1' } else { '0' }).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<bool>, D::Error> {
        let hit = |digit| match digit {
            '0' => Ok(false),
            '1' => Ok(true),
            other => Err(Error::invalid_value(Unexpected::Char(other), &"0 or 1")),
        };
        String::deserialize(deserializer)?.chars().map(hit).collect()
    }
}
