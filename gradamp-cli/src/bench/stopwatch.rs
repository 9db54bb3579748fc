//! Times an operation.

use std::time::Instant;

use gradamp_core::backend::Backend;

use super::operation::Operation;
use crate::failure::Result;

/// Measures the median of several rounds, each long enough for the clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    /// The number of rounds.
    pub rounds: usize,
    /// The least duration of a round, in seconds.
    pub stretch: f64,
}

impl Stopwatch {
    /// The seconds that one call of `operation` takes. On a GPU this includes its share of the time to submit the
    /// work.
    ///
    /// **Errors:** those of the device.
    pub fn seconds<B: Backend>(&self, operation: &Operation, backend: &B) -> Result<f64> {
        let mut call = operation.call(backend)?;
        let mut stretch = |times: usize| -> Result<f64> {
            let start = Instant::now();
            for _ in 0..times {
                call()?;
            }
            backend.synchronize()?;
            Ok(start.elapsed().as_secs_f64() / times as f64)
        };
        stretch(1)?; // compiles kernels and touches the memory for the first time
        let once = stretch(1)?;
        let times = (self.stretch / once).ceil().clamp(1.0, 1000.0) as usize;
        let mut all = (0..self.rounds).map(|_| stretch(times)).collect::<Result<Vec<f64>>>()?;
        Ok(median(&mut all))
    }
}

/// Sorts the values and returns the median.
pub fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let n = seconds.len();
    if n % 2 == 1 { seconds[n / 2] } else { (seconds[n / 2 - 1] + seconds[n / 2]) / 2.0 }
}

/// Rounds `value` to `digits` digits after the decimal point.
pub fn round(value: f64, digits: i32) -> f64 {
    let unit = 10.0_f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }
}
