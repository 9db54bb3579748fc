//! The differences between a replay and PyTorch, and their limits.

use std::fmt;

/// ‖difference‖ / ‖PyTorch's gradient‖ of every parameter in the first step.
const GRADIENT_LIMIT: f64 = 1e-4;
/// |difference| of the loss in every step.
const LOSS_LIMIT: f64 = 1e-4;
/// ‖difference‖ / ‖PyTorch's values‖ of every parameter and running statistic after the last step.
const STATE_LIMIT: f64 = 1e-3;
/// ‖difference‖ / ‖PyTorch's logits‖ in every step.
const LOGITS_LIMIT: f64 = 1e-3;
/// ‖difference‖ / ‖PyTorch's logits‖ in evaluation mode after the last step. The limit is wider, because the state that computes these
/// logits may differ by its own limit.
const EVAL_LOGITS_LIMIT: f64 = 1e-2;

/// The largest errors of a replay, each with its place.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    pub loss: Worst,
    pub gradient: Worst,
    pub parameter: Worst,
    pub statistic: Worst,
    pub logits: Worst,
    pub eval_logits: Worst,
}

impl Errors {
    fn with_limits(&self) -> [(&'static str, &Worst, f64); 6] {
        [
            ("loss", &self.loss, LOSS_LIMIT),
            ("gradient", &self.gradient, GRADIENT_LIMIT),
            ("parameter", &self.parameter, STATE_LIMIT),
            ("running statistic", &self.statistic, STATE_LIMIT),
            ("logits", &self.logits, LOGITS_LIMIT),
            ("evaluation logits", &self.eval_logits, EVAL_LOGITS_LIMIT),
        ]
    }

    /// A message for each error that is not below its limit.
    pub fn beyond_limits(&self) -> Vec<String> {
        let limits = self.with_limits();
        let beyond = limits.iter().filter(|(_, worst, limit)| worst.error >= *limit);
        beyond.map(|(what, worst, limit)| format!("{what} {worst}, the limit is {limit:.0e}")).collect()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.with_limits().map(|(what, worst, _)| format!("{what} {worst}"));
        write!(f, "largest errors: {}", errors.join(", "))
    }
}

/// The largest of several errors, and its place.
#[derive(Clone, Debug, Default)]
pub struct Worst {
    error: f64,
    place: String,
}

impl Worst {
    /// Includes the error at `place`. A NaN counts as infinite.
    pub fn include(&mut self, error: f64, place: impl Into<String>) {
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if error > self.error {
            *self = Self { error, place: place.into() };
        }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.error)?;
        if self.place.is_empty() { Ok(()) } else { write!(f, " ({})", self.place) }
    }
}

/// ‖found − expected‖ / ‖expected‖
pub fn relative(found: &[f32], expected: &[f32]) -> f64 {
    distance(found, expected, norm(expected.iter().copied()))
}

/// ‖found − expected‖ / reference; 0 where there is no difference, infinite for other numbers of values.
pub fn distance(found: &[f32], expected: &[f32], reference: f64) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    match norm(found.iter().zip(expected).map(|(a, b)| a - b)) {
        0.0 => 0.0,
        difference => difference / reference,
    }
}

/// The Euclidean norm.
pub fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}
