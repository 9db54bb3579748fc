use serde::{Deserialize, Serialize};

use crate::error::at_least_zero;
use crate::glob::{self, Glob};
use crate::{Backend, Error, Parameters, Result};

/// A multiplier of the learning rate for some parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LayerRate {
    /// A glob on the paths of parameters, written like those of
    /// [`AmplificationSettings::paths`](crate::amplify::AmplificationSettings::paths): `layer1.**` matches everything inside
    /// the first stage, `**.bias` every bias.
    pub paths: String,
    /// The multiplier: finite, at least 0. With 0 the parameters do not change.
    pub lr: f32,
}

impl LayerRate {
    /// The multiplier `lr` for the parameters whose paths match the glob `paths`.
    pub fn new(paths: impl Into<String>, lr: f32) -> Self {
        Self { paths: paths.into(), lr }
    }

    /// Checks everything that needs no model.
    ///
    /// **Errors:** a text that is no glob, a rate out of its range; by its field.
    pub fn check(rates: &[Self]) -> Result<()> {
        rates.iter().enumerate().try_for_each(|(i, rate)| {
            at_least_zero(&format!("layer_rates[{i}].lr"), rate.lr)?;
            rate.glob(i).map(drop)
        })
    }

    /// The multiplier of each parameter: that of the last entry that matches the parameter's path, or 1 if none does.
    ///
    /// **Errors:** those of [`LayerRate::check`]; an entry that matches no trained parameter.
    pub fn resolve<B: Backend>(rates: &[Self], parameters: &Parameters<B>) -> Result<Vec<f32>> {
        let mut resolved = vec![1.0; parameters.len()];
        let trained = || parameters.iter().filter(|(_, parameter)| parameter.role.is_trained());
        for (i, rate) in rates.iter().enumerate() {
            let glob = rate.glob(i)?;
            let mut matched = trained().filter(|(_, parameter)| glob.matches(&parameter.path)).peekable();
            if matched.peek().is_none() {
                let nearest = glob::nearest(&rate.paths, trained().map(|(_, parameter)| &*parameter.path));
                let message = format!("\"{}\" matches no parameter{nearest}", rate.paths);
                return Err(Error::setting(paths_field(i), message));
            }
            matched.for_each(|(id, _)| resolved[id.index()] = rate.lr);
        }
        Ok(resolved)
    }

    fn glob(&self, i: usize) -> Result<Glob> {
        Glob::new(&self.paths).map_err(|message| Error::setting(paths_field(i), message))
    }
}

fn paths_field(i: usize) -> String {
    format!("layer_rates[{i}].paths")
}
