//! Factors that act on learning rates: controls that show how much of amplification's effect is that of a larger step.

use std::sync::Arc;

use super::draw::Draw;
use super::gain::{self, Gain, ParameterGain};
use super::settings::Through;
use crate::Trace;
use crate::{Error, Result};

/// The multipliers of learning rates under a draw.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rates {
    /// The multiplier of the run's learning rate.
    pub(super) common: f64,
    /// A further multiplier for each parameter's learning rate.
    pub(super) own: Option<Arc<[f32]>>,
}

impl Rates {
    /// **Errors:** a gain that depends on the path, if each parameter has a learning rate of its own.
    pub(super) fn new(through: Through, trace: &Trace, draw: &Draw) -> Result<Self> {
        let (mut common, mut own) = (1.0, None);
        match through {
            Through::Gradient | Through::StepLength | Through::StepLengthPerLayer => {}
            Through::LearningRate => {
                let gains = gain::for_draw(trace, draw);
                let mut rates = vec![1.0; trace.parameters.len()];
                for ParameterGain { path, gain } in &gains {
                    let Gain::Factor(factor) = gain else {
                        return Err(no_rate(path));
                    };
                    if let Some(place) = trace.parameters.iter().position(|known| known == path) {
                        rates[place] = *factor as f32;
                    }
                }
                own = Some(rates.into());
            }
            Through::MeanLearningRate => {
                let gains = gain::for_draw(trace, draw);
                let sum: f64 = gains.iter().map(|parameter| parameter.gain.middle()).sum();
                common = if gains.is_empty() { 1.0 } else { sum / gains.len() as f64 };
            }
        }
        Ok(Self { common, own })
    }
}

/// **Errors:** a gain that depends on the path.
pub(super) fn check_gains(trace: &Trace, draw: &Draw) -> Result<()> {
    for ParameterGain { path, gain } in gain::for_draw(trace, draw) {
        if let Gain::DependsOnPath { .. } = gain {
            return Err(no_rate(&path));
        }
    }
    Ok(())
}

fn no_rate(path: &str) -> Error {
    let message = format!(
        "is \"learning_rate\", but the gain of {path} depends on the path of its gradient, as in a residual block, and no \
         learning rate has the same effect; expected \"gradient\" or \"step_length\""
    );
    Error::setting("through", message)
}
