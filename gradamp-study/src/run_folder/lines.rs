//! The lines of a run's JSONL files: what the recorder writes and every view reads.

use std::collections::BTreeMap;

use gradamp_core::train::{EpochReport, Evaluation, SiteGradient, SiteSignals, StepReport, TrainState};
use serde::{Deserialize, Serialize};

use super::null_is_nan;

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
    /// Fraction of the batch that was classified correctly.
    pub accuracy: f64,
    /// The norm of all gradients, if clipping computed it.
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
    /// Mean loss over the epoch's examples, each at the step that trained on it.
    #[serde(with = "null_is_nan")]
    pub train_loss: f64,
    /// Fraction of the epoch's examples that were classified correctly when they were trained on.
    pub train_accuracy: f64,
    /// Mean loss of the validation examples.
    #[serde(default)]
    pub validation_loss: Option<f64>,
    /// Fraction of the validation examples that were classified correctly.
    #[serde(default)]
    pub validation_accuracy: Option<f64>,
    /// Mean loss of the test examples.
    pub test_loss: Option<f64>,
    /// Fraction of the test examples that were classified correctly.
    pub test_accuracy: Option<f64>,
    /// Mean loss of the validation examples, computed with the moving average of the weights. Runs without a moving average have none
    /// of the four `_ema` keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_ema_loss: Option<f64>,
    /// Fraction of the validation examples that were classified correctly with the moving average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_ema_accuracy: Option<f64>,
    /// Mean loss of the test examples, computed with the moving average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_ema_loss: Option<f64>,
    /// Fraction of the test examples that were classified correctly with the moving average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_ema_accuracy: Option<f64>,
    /// Whether this is the best epoch so far: by validation where there is one, else by the test examples.
    pub best: bool,
    /// Steps of the whole run that changed no parameter, where loss scaling skips any.
    pub skipped_steps: Option<u64>,
    /// The norm of the gradient at the first measured site's output, divided by that at the last one's; both before amplification at
    /// the site. Earlier versions did not write this key.
    #[serde(default)]
    pub attenuation: Option<f64>,
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
#[serde(from = "GradientFields", into = "GradientFields")]
pub struct GradientLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Steps of the run so far.
    pub step: u64,
    /// What was measured.
    pub gradient: SiteGradient,
}

/// The keys of such a line. Checkpoints hold the same measurements exactly; here, as in every other log, `null` stands for
/// a number that is not finite.
#[derive(Clone, Serialize, Deserialize)]
struct GradientFields {
    epoch: usize,
    step: u64,
    site: String,
    steps: u64,
    #[serde(with = "null_is_nan")]
    norm_before: f64,
    #[serde(with = "null_is_nan")]
    norm_after: f64,
    #[serde(with = "null_is_nan")]
    mean_magnitude_before: f64,
    #[serde(with = "null_is_nan")]
    mean_magnitude_after: f64,
    #[serde(with = "null_is_nan")]
    zeros: f64,
    /// Left out at sites without parameters.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    update_ratio: Option<NullIsNan>,
    /// The keys of signals are left out where signals were not measured.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    output_mean: Option<NullIsNan>,
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    output_deviation: Option<NullIsNan>,
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    saturated: Option<NullIsNan>,
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    gradient_square: Option<NullIsNan>,
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    gradient_variance: Option<NullIsNan>,
    /// Written for those who read the file; it follows from the two above.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    signal_to_noise: Option<NullIsNan>,
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    angular_update: Option<NullIsNan>,
}

/// A number whose key is always present; `null` if it is not finite.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct NullIsNan(#[serde(with = "null_is_nan")] f64);

/// A key that is present holds a number, which `null` stands for if it is not finite.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<NullIsNan>, D::Error> {
    NullIsNan::deserialize(deserializer).map(Some)
}

impl From<GradientLine> for GradientFields {
    fn from(line: GradientLine) -> Self {
        let GradientLine { epoch, step, gradient } = line;
        let signals = gradient.signals.as_ref();
        let of = |value: fn(&SiteSignals) -> Option<f64>| signals.and_then(value).map(NullIsNan);
        Self {
            epoch,
            step,
            site: gradient.site,
            steps: gradient.steps,
            norm_before: gradient.norm_before,
            norm_after: gradient.norm_after,
            mean_magnitude_before: gradient.mean_magnitude_before,
            mean_magnitude_after: gradient.mean_magnitude_after,
            zeros: gradient.zeros,
            update_ratio: gradient.update_ratio.map(NullIsNan),
            output_mean: of(|signals| Some(signals.output_mean)),
            output_deviation: of(|signals| Some(signals.output_deviation)),
            saturated: of(|signals| signals.saturated),
            gradient_square: of(|signals| signals.gradient_square),
            gradient_variance: of(|signals| signals.gradient_variance),
            signal_to_noise: of(SiteSignals::signal_to_noise),
            angular_update: of(|signals| signals.angular_update),
        }
    }
}

impl From<GradientFields> for GradientLine {
    fn from(fields: GradientFields) -> Self {
        let number = |field: Option<NullIsNan>| field.map(|NullIsNan(number)| number);
        let outputs = number(fields.output_mean).zip(number(fields.output_deviation));
        let signals = outputs.map(|(output_mean, output_deviation)| SiteSignals {
            output_mean,
            output_deviation,
            saturated: number(fields.saturated),
            gradient_square: number(fields.gradient_square),
            gradient_variance: number(fields.gradient_variance),
            angular_update: number(fields.angular_update),
        });
        let gradient = SiteGradient {
            site: fields.site,
            steps: fields.steps,
            norm_before: fields.norm_before,
            norm_after: fields.norm_after,
            mean_magnitude_before: fields.mean_magnitude_before,
            mean_magnitude_after: fields.mean_magnitude_after,
            zeros: fields.zeros,
            update_ratio: number(fields.update_ratio),
            signals,
        };
        Self { epoch: fields.epoch, step: fields.step, gradient }
    }
}

/// A line of `evaluations.jsonl`: how a model did on one set of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// The epoch, from 0.
    pub epoch: usize,
    /// `validation` or `test`, with `_ema` behind it for the moving average of the weights.
    pub split: String,
    /// Mean cross-entropy.
    #[serde(with = "null_is_nan")]
    pub loss: f64,
    /// Fraction of the examples that were classified correctly.
    pub accuracy: f64,
    /// The confusion matrix: how many examples of each class (row) were classified as each class (column).
    pub confusion: Vec<Vec<u64>>,
    /// Whether each example, in the set's order, was classified correctly: a list of `1` and `0`.
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
        let (validation_ema, test_ema) = (report.evaluation("validation_ema"), report.evaluation("test_ema"));
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
            validation_ema_loss: validation_ema.map(|evaluation| evaluation.loss),
            validation_ema_accuracy: validation_ema.map(Evaluation::accuracy),
            test_ema_loss: test_ema.map(|evaluation| evaluation.loss),
            test_ema_accuracy: test_ema.map(Evaluation::accuracy),
            best: report.best,
            // Of the whole run, since `metrics.jsonl` does not hold every step.
            skipped_steps: state.loss_scale.as_ref().map(|scale| scale.skipped),
            attenuation: attenuation(&report.gradients),
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

/// The norm of the gradient at the first site's output, divided by that at the last one's, before amplification at these sites.
/// `gradients` are those of one epoch, in forward order of the sites. `None` where nothing was measured and where the ratio is not
/// finite.
fn attenuation<'a>(gradients: impl IntoIterator<Item = &'a SiteGradient>) -> Option<f64> {
    let mut norms = gradients.into_iter().map(|gradient| gradient.norm_before);
    let first = norms.next()?;
    Some(first / norms.last().unwrap_or(first)).filter(|ratio| ratio.is_finite())
}

/// The attenuation of each epoch that has one, as in [`EpochLine::attenuation`]; also of runs whose epochs do not hold it.
pub fn attenuations(lines: &[GradientLine]) -> BTreeMap<usize, f64> {
    let mut epochs: BTreeMap<usize, Vec<&SiteGradient>> = BTreeMap::new();
    for line in lines {
        epochs.entry(line.epoch).or_default().push(&line.gradient);
    }
    epochs.into_iter().filter_map(|(epoch, gradients)| Some((epoch, attenuation(gradients)?))).collect()
}

/// A list of `1` and `0`. Earlier versions wrote a string of these digits, which readers of tables take for one huge number.
mod ones_and_zeros {
    use std::fmt;

    use serde::de::{Error, SeqAccess, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(hits: &[bool], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hits.iter().map(|hit| u8::from(*hit)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<bool>, D::Error> {
        deserializer.deserialize_any(Hits)
    }

    struct Hits;

    impl<'de> Visitor<'de> for Hits {
        type Value = Vec<bool>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of 0 and 1")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut hits = Vec::new();
            while let Some(number) = list.next_element::<u64>()? {
                hits.push(match number {
                    0 => false,
                    1 => true,
                    other => return Err(A::Error::invalid_value(Unexpected::Unsigned(other), &"0 or 1")),
                });
            }
            Ok(hits)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            let hit = |digit| match digit {
                '0' => Ok(false),
                '1' => Ok(true),
                other => Err(E::invalid_value(Unexpected::Char(other), &"0 or 1")),
            };
            text.chars().map(hit).collect()
        }
    }
}

/// The last epoch that was evaluated on the test examples.
pub fn last_evaluated(epochs: &[EpochLine]) -> Option<&EpochLine> {
    epochs.iter().rev().find(|epoch| epoch.test_accuracy.is_some())
}

/// The best epoch: by the validation examples where there are any, else by the test examples.
pub fn best(epochs: &[EpochLine]) -> Option<&EpochLine> {
    epochs.iter().rev().find(|epoch| epoch.best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(norm: f64, update_ratio: Option<f64>) -> GradientLine {
        let gradient = SiteGradient {
            site: "conv1".into(),
            steps: 2,
            norm_before: norm,
            norm_after: norm,
            mean_magnitude_before: norm,
            mean_magnitude_after: norm,
            zeros: 0.25,
            update_ratio,
            signals: None,
        };
        GradientLine { epoch: 1, step: 8, gradient }
    }

    #[test]
    fn gradients_that_are_not_finite_are_null_and_read_as_no_number() {
        let text = serde_json::to_string(&line(f64::NAN, Some(f64::INFINITY))).unwrap();
        let expected = concat!(
            r#"{"epoch":1,"step":8,"site":"conv1","steps":2,"norm_before":null,"norm_after":null,"#,
            r#""mean_magnitude_before":null,"mean_magnitude_after":null,"zeros":0.25,"update_ratio":null}"#
        );
        assert_eq!(text, expected);
        let back: GradientLine = serde_json::from_str(&text).unwrap();
        assert!(back.gradient.norm_before.is_nan() && back.gradient.mean_magnitude_after.is_nan());
        assert!(back.gradient.update_ratio.is_some_and(f64::is_nan), "it was there, and no number");
        // As earlier versions wrote them.
        let words = text.replace("null", "\"NaN\"");
        assert!(serde_json::from_str::<GradientLine>(&words).unwrap().gradient.norm_after.is_nan());
        let wrong = text.replacen("null", "\"much\"", 1);
        let error = serde_json::from_str::<GradientLine>(&wrong).unwrap_err().to_string();
        assert!(error.contains("\"much\"") && error.contains("a number or null"), "{error}");
    }

    #[test]
    fn finite_gradients_come_back_as_they_were() {
        let mut measured = line(0.1, Some(1e-3));
        let signals = SiteSignals {
            output_mean: 0.5,
            output_deviation: 0.125,
            saturated: Some(0.25),
            gradient_square: Some(3.0),
            gradient_variance: Some(2.0),
            angular_update: Some(1e-4),
        };
        measured.gradient.signals = Some(signals);
        let text = serde_json::to_string(&measured).unwrap();
        let expected = concat!(
            r#""output_mean":0.5,"output_deviation":0.125,"saturated":0.25,"gradient_square":3.0,"#,
            r#""gradient_variance":2.0,"signal_to_noise":0.5,"angular_update":0.0001}"#
        );
        assert!(text.ends_with(expected), "{text}");
        for line in [line(0.1, Some(1e-3)), line(1e-300, None), measured] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(text.contains("update_ratio") == line.gradient.update_ratio.is_some(), "{text}");
            assert_eq!(serde_json::from_str::<GradientLine>(&text).unwrap(), line);
        }
    }
}
