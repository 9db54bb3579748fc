//! Factors that act through learning rates: the controls that tell amplification from a larger step.

use std::sync::Arc;

use super::draw::Draw;
use super::gain::{self, Gain, ParameterGain};
use super::history::History;
use super::overrides::Keys;
use super::policy::Predictability;
use super::selection::Selection;
use super::settings::Through;
use crate::Trace;
use crate::{Error, Result};

/// What a draw makes of learning rates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rates {
    /// What the learning rate is multiplied by.
    pub(super) common: f64,
    /// What each parameter's learning rate is multiplied by besides.
    pub(super) own: Option<Arc<[f32]>>,
}

impl Rates {
    /// **Errors:** a gain that depends on the path, where each parameter is to have its own rate.
    pub(super) fn new(through: Through, trace: &Trace, draw: &Draw) -> Result<Self> {
        let (mut common, mut own) = (1.0, None);
        match through {
            Through::Gradient => {}
            Through::LearningRate => {
                let gains = gain::of_draw(trace, draw);
                let mut rates = vec![1.0; trace.parameters.len()];
                for ParameterGain { path, gain } in &gains {
                    let Gain::Factor(factor) = gain else {
                        return Err(no_rate("amplification.through", path));
                    };
                    if let Some(place) = trace.parameters.iter().position(|known| known == path) {
                        rates[place] = *factor as f32;
                    }
                }
                own = Some(rates.into());
            }
            Through::MeanLearningRate => {
                let gains = gain::of_draw(trace, draw);
                let sum: f64 = gains.iter().map(|parameter| parameter.gain.middle()).sum();
                common = if gains.is_empty() { 1.0 } else { sum / gains.len() as f64 };
            }
        }
        Ok(Self { common, own })
    }
}

/// **Errors:** learning rates of parameters' own for a selection whose gains depend on the path, before the run begins.
///
/// Where each eligible layer lies on all paths to a parameter or on none, so does every subset of them.
pub(super) fn check(keys: &Keys, selection: &Selection, trace: &Trace) -> Result<()> {
    if selection.through() != Through::LearningRate {
        return Ok(());
    }
    let draws = match selection.policy().predictability() {
        Predictability::Fixed => vec![selection.draw(0, 0, &History::default())?],
        Predictability::Drawn { .. } | Predictability::Unknown => {
            let alone = |&site: &usize| Draw {
                sites: vec![site],
                factors: vec![2.0],
                placement: selection.placement(),
                power: None,
            };
            selection.eligible().iter().map(alone).collect()
        }
    };
    for gain in draws.iter().flat_map(|draw| gain::of_draw(trace, draw)) {
        if let Gain::DependsOnPath { .. } = gain.gain {
            return Err(no_rate(&keys.key("through"), &gain.path));
        }
    }
    Ok(())
}

fn no_rate(key: &str, path: &str) -> Error {
    let message = format!(
        "is \"learning_rate\", but what amplification makes of {path}'s gradient depends on the path that the gradient \
         takes, as in a residual block: no learning rate does the same; expected \"gradient\" or \"mean_learning_rate\""
    );
    Error::setting(key, message)
}
