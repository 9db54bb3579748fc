//! The differences between a replay and PyTorch, with their limits.

use std::fmt;

/// The limits: gradient, loss, state, logits, and logits in evaluation mode.
#[derive(Clone, Copy, Debug)]
pub struct Limits([f64; 5]);

impl Limits {
    /// The limits for factors in f32.
    pub const F32: Self = Self([GRADIENT_LIMIT, LOSS_LIMIT, STATE_LIMIT, LOGITS_LIMIT, EVAL_LOGITS_LIMIT]);
    /// The limits for factors in bf16, each of which is rounded by up to 1/512 of itself.
    pub const BF16: Self = Self([3e-2, 5e-3, 4e-2, 4e-2, 4e-2]);
}

/// The limit for every parameter's gradient in the first step: ‖difference‖ / ‖PyTorch's gradient‖.
const GRADIENT_LIMIT: f64 = 1e-4;
/// The limit for the loss in every step: |difference|.
const LOSS_LIMIT: f64 = 1e-4;
/// The limit for every parameter and running statistic after the last step: ‖difference‖ / ‖PyTorch's values‖.
const STATE_LIMIT: f64 = 1e-3;
/// The limit for the logits in every step: ‖difference‖ / ‖PyTorch's logits‖.
const LOGITS_LIMIT: f64 = 1e-3;
/// The limit for the logits in evaluation mode after the last step: ‖difference‖ / ‖PyTorch's logits‖. It is wider,
/// because the parameters that these logits are computed from may differ by their own limit.
const EVAL_LOGITS_LIMIT: f64 = 1e-2;

/// The largest differences in a replay, each with the place where it occurs.
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
    fn with_limits(&self, limits: Limits) -> [(&'static str, &Worst, f64); 6] {
        let Limits([gradient, loss, state, logits, eval_logits]) = limits;
        [
            ("loss", &self.loss, loss),
            ("gradient", &self.gradient, gradient),
            ("parameter", &self.parameter, state),
            ("running statistic", &self.statistic, state),
            ("logits", &self.logits, logits),
            ("evaluation logits", &self.eval_logits, eval_logits),
        ]
    }

    /// A message for each difference that exceeds its limit.
    pub fn beyond_limits(&self, limits: Limits) -> Vec<String> {
        let limits = self.with_limits(limits);
        let beyond = limits.iter().filter(|(_, worst, limit)| worst.error >= *limit);
        beyond.map(|(what, worst, limit)| format!("{what} {worst}, the limit is {limit:.0e}")).collect()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.with_limits(Limits::F32).map(|(what, worst, _)| format!("{what} {worst}"));
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

/// ‖found − expected‖ / reference. The result is 0 without a difference, and infinite if the numbers of values
/// differ.
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
