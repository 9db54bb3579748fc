use serde::{Deserialize, Serialize};

use super::settings::at_least_zero;
use crate::glob::{self, Glob};
use crate::{Backend, Error, Parameters, Result};

/// The learning rate of some parameters, relative to that of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRate {
    /// A glob on the paths of parameters, written like those of
    /// [`AmplificationSettings::paths`](crate::amplify::AmplificationSettings::paths): `layer1.**` is all that lies inside
    /// the first stage, `**.bias` every bias.
    pub paths: String,
    /// What the learning rate is multiplied by: finite, at least 0; 0 keeps the parameters as they are.
    pub lr: f32,
}

impl LayerRate {
    /// Checks what can be checked without a model.
    ///
    /// **Errors:** a text that is no glob, a rate out of its range; the message names the key.
    pub fn check(rates: &[Self]) -> Result<()> {
        rates.iter().enumerate().try_for_each(|(i, rate)| {
            at_least_zero(&format!("layer_rates[{i}].lr"), rate.lr)?;
            rate.glob(i).map(drop)
        })
    }

    /// The multiplier of each parameter: that of the last entry which matches its path, else 1.
    ///
    /// **Errors:** as [`LayerRate::check`]; an entry that matches no parameter that is trained.
    pub fn resolve<B: Backend>(rates: &[Self], parameters: &Parameters<B>) -> Result<Vec<f32>> {
        let mut resolved = vec![1.0; parameters.len()];
        let trained = || parameters.iter().filter(|(_, parameter)| parameter.role.is_trained());
        for (i, rate) in rates.iter().enumerate() {
            let glob = rate.glob(i)?;
            let mut matched = trained().filter(|(_, parameter)| glob.matches(&parameter.path)).peekable();
            if matched.peek().is_none() {
                let nearest = glob::nearest(&rate.paths, trained().map(|(_, parameter)| &*parameter.path));
                let message = format!("\"{}\" matches no parameter{nearest}", rate.paths);
                return Err(Error::setting(key(i), message));
            }
            matched.for_each(|(id, _)| resolved[id.index()] = rate.lr);
        }
        Ok(resolved)
    }

    fn glob(&self, i: usize) -> Result<Glob> {
        Glob::new(&self.paths).map_err(|message| Error::setting(key(i), message))
    }
}

fn key(i: usize) -> String {
    format!("optimizer.layer_rates[{i}].paths")
}
