//! The mean, standard deviation and interval of a sample.

use serde::{Deserialize, Serialize};

use super::ALPHA;
use super::distributions::student_critical;
use crate::run_folder::null_is_nan;

/// A summary of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of values.
    pub n: usize,
    /// The mean; NaN without values.
    #[serde(with = "null_is_nan")]
    pub mean: f64,
    /// The standard deviation, with the divisor n − 1; `None` for fewer than two values.
    pub sd: Option<f64>,
    /// The 95 % interval of the mean, by Student's distribution; `None` for fewer than two values.
    pub ci: Option<(f64, f64)>,
}

impl Summary {
    /// The summary of `values`.
    pub fn of_values(values: &[f64]) -> Self {
        let n = values.len();
        // The mean of equal values is each of them, and their deviation is 0. Rounding would give other numbers.
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

    /// The square of the standard error of the mean.
    pub(super) fn squared_error(&self) -> Option<f64> {
        self.sd.map(|sd| sd * sd / self.n as f64)
    }
}
