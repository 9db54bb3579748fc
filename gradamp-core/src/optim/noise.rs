use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use crate::error::{above_zero, at_least_zero};
use crate::random::{Purpose, Stream};
use crate::{Backend, Parameters, Result};

/// Gradient noise: normal numbers that are added to every element of every gradient. Their variance falls with time.
///
/// g ← g + N(0, eta / (1 + t)^gamma), where t is the number of finished steps
///
/// The noise is added to the true gradient after amplification, centralisation and adaptive clipping, so that no factor multiplies
/// it. The numbers are a function of (seed, step, parameter, element): a run resumes bit for bit, and all devices add the
/// same noise. The host computes the numbers.
///
/// **Source:** A. Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015
/// (arXiv 1511.06807), eq. 1, with eta out of 0.01, 0.3 and 1.0, and gamma = 0.55.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct GradientNoise {
    /// The variance at the first step: finite, above 0.
    pub eta: f32,
    /// The exponent of the variance's decay: finite, at least 0.
    pub gamma: f32,
}

impl Default for GradientNoise {
    fn default() -> Self {
        Self { eta: 0.01, gamma: 0.55 }
    }
}

impl GradientNoise {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field within [`SgdSettings`](super::SgdSettings).
    pub fn check(&self) -> Result<()> {
        above_zero("noise.eta", self.eta)?;
        at_least_zero("noise.gamma", self.gamma)
    }

    /// The standard deviation at step `t`, from 0.
    pub fn deviation(&self, t: u64) -> f32 {
        (f64::from(self.eta) / (1.0 + t as f64).powf(f64::from(self.gamma))).sqrt() as f32
    }

    /// Adds the noise of step `t` of the run with this seed. The scalars of all gradients are multiplied into their values.
    pub(super) fn add<B: Backend>(
        &self,
        seed: u64,
        t: u64,
        parameters: &Parameters<B>,
        incoming: &mut [Incoming<'_, B>],
    ) -> Result<()> {
        let backend = parameters.backend();
        let stream = Stream::new(seed, Purpose::Noise).at(t);
        for gradient in incoming {
            let (stream, scale) = (stream.at(gradient.id.index() as u64), gradient.scale);
            gradient.replace(|old, new| {
                backend.axpby(old.elements(), scale, old.buffer(), 0.0, new)?;
                backend.add_noise(old.elements(), stream, self.deviation(t), new)
            })?;
            gradient.scale = 1.0;
        }
        Ok(())
    }
}
