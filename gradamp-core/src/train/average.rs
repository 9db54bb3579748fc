use crate::{Backend, Parameters, Result};

/// The exponential moving average of a run's parameters and running statistics.
///
/// After step t (from 0): a ← d · a + (1 − d) · w, with d = min(decay, (1 + t) / (10 + t))
///
/// The smaller d of the first steps lets the average leave the initial weights. Counters are those of the parameters.
///
/// **Source:** B. Polyak, A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the smaller d as in TensorFlow's
/// `ExponentialMovingAverage` with `num_updates`.
#[derive(Debug)]
pub(super) struct WeightAverage<B: Backend> {
    decay: f64,
    pub(super) parameters: Parameters<B>,
}

impl<B: Backend> WeightAverage<B> {
    /// An average that begins at `parameters`.
    pub(super) fn new(decay: f64, parameters: Parameters<B>) -> Self {
        Self { decay, parameters }
    }

    /// Adds the parameters after `step`.
    pub(super) fn add(&mut self, parameters: &Parameters<B>, step: u64) -> Result<()> {
        let t = step as f64;
        let decay = self.decay.min((1.0 + t) / (10.0 + t));
        let backend = parameters.backend();
        for ((_, average), (_, parameter)) in self.parameters.iter_mut().zip(parameters.iter()) {
            let (share, keep) = ((1.0 - decay) as f32, decay as f32);
            let values = parameter.value.buffer();
            backend.axpby(parameter.value.elements(), share, values, keep, average.value.buffer_mut()?)?;
        }
        for ((_, average), (_, count)) in self.parameters.counters_mut().iter_mut().zip(parameters.counters())
        {
            *average = *count;
        }
        Ok(())
    }
}
