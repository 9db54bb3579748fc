//! How long one operation takes.

use std::time::Instant;

use gradamp_core::backend::Backend;

use super::median;
use super::operation::Operation;
use crate::failure::Result;

/// The median of some rounds, each long enough for the clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    /// Rounds.
    pub rounds: usize,
    /// Seconds of a round at least.
    pub stretch: f64,
}

impl Stopwatch {
    /// Seconds of `operation`, which on a GPU includes its share of handing it over.
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
        stretch(1)?; // compiles, and touches memory for the first time
        let once = stretch(1)?;
        let times = (self.stretch / once).ceil().clamp(1.0, 1000.0) as usize;
        let mut all = (0..self.rounds).map(|_| stretch(times)).collect::<Result<Vec<f64>>>()?;
        Ok(median(&mut all))
    }
}
