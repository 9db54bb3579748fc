//! Mean, deviation and interval of some values.

use serde::{Deserialize, Serialize};

use super::ALPHA;
use super::distributions::student_critical;
use crate::run_folder::lines::null_is_nan;

/// What some values say together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub n: usize,
    /// Their mean; NaN where there are none.
    #[serde(with = "null_is_nan")]
    pub mean: f64,
    /// Their standard deviation, by n − 1.
    pub sd: Option<f64>,
    /// The 95 % interval of the mean, by Student's distribution.
    pub ci: Option<(f64, f64)>,
}

impl Summary {
    /// Sums up `values`.
    pub fn of_values(values: &[f64]) -> Self {
        let n = values.len();
        // Equal values are their own mean, which rounding would miss, and have no spread.
        let constant = values.first().copied().filter(|first| values.iter().all(|value| value == first));
        let mean = constant.unwrap_or(values.iter().sum::<f64>() / n as f64);
        if n < 2 {
            return Self { n, mean, sd: None, ci: None };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (squares / (n - 1) as f64).sqrt();
        let half = student_critical(ALPHA, (n - 1) as f64) * sd / (n as f64).sqrt();
        Self { n, mean, sd: Some(sd), ci: Some((mean - half, mean + half)) }
    }

    /// The square of the mean's standard error.
    pub(super) fn squared_error(&self) -> Option<f64> {
        self.sd.map(|sd| sd * sd / self.n as f64)
    }
}
