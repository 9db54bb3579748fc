use serde::{Deserialize, Serialize};

use super::incoming::Incoming;
use super::settings::{above_zero, at_least_zero};
use crate::random::{Purpose, Stream};
use crate::{Backend, Parameters, Result};

/// Gradient noise: normal numbers, added to every element of every gradient, whose variance falls with time.
///
/// g ← g + N(0, eta / (1 + t)^gamma), t being the number of steps that were taken before
///
/// Added to the true gradient after amplification, centralisation and adaptive clipping, so that no factor makes it
/// larger. The numbers are a function of (seed, step, parameter, element): a run resumes bit for bit, and all devices add
/// the same. The host makes them.
///
/// **Source:** A. Neelakantan et al., "Adding Gradient Noise Improves Learning for Very Deep Networks", 2015
/// (arXiv 1511.06807), eq. 1; it takes eta from 0.01, 0.3 and 1.0, and gamma = 0.55.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientNoise {
    /// The variance at first: finite, above 0.
    pub eta: f32,
    /// How fast it falls: finite, at least 0.
    pub gamma: f32,
}

impl Default for GradientNoise {
    fn default() -> Self {
        Self { eta: 0.01, gamma: 0.55 }
    }
}

impl GradientNoise {
    /// **Errors:** a value out of its range; the message names the key.
    pub fn check(&self) -> Result<()> {
        above_zero("noise.eta", self.eta)?;
        at_least_zero("noise.gamma", self.gamma)
    }

    /// The standard deviation at step `t`, from 0.
    pub fn deviation(&self, t: u64) -> f32 {
        (f64::from(self.eta) / (1.0 + t as f64).powf(f64::from(self.gamma))).sqrt() as f32
    }

    /// Adds the noise of step `t` of the run of `seed`; the scalars of all gradients go into their values.
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
