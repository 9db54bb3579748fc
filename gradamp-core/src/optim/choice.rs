use super::{AdamW, AdamWSettings, Optimizer, Sgd, SgdSettings};
use crate::{Backend, Parameters, Result};

/// The optimiser of a run, with its settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptimizerSettings {
    /// [`Sgd`]
    Sgd(SgdSettings),
    /// [`AdamW`]
    AdamW(AdamWSettings),
}

impl OptimizerSettings {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, or two settings that exclude each other; by its field.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Sgd(settings) => settings.check(),
            Self::AdamW(settings) => settings.check(),
        }
    }

    /// An optimiser that has made no step.
    ///
    /// **Errors:** those of [`check`](Self::check); an entry of `layer_rates` that matches no parameter.
    pub fn build<B: Backend>(&self, parameters: &Parameters<B>) -> Result<Box<dyn Optimizer<B>>> {
        Ok(match self {
            Self::Sgd(settings) => Box::new(Sgd::new(settings.clone(), parameters)?),
            Self::AdamW(settings) => Box::new(AdamW::new(settings.clone(), parameters)?),
        })
    }
}

/// SGD with its default settings.
impl Default for OptimizerSettings {
    fn default() -> Self {
        Self::Sgd(SgdSettings::default())
    }
}

impl From<SgdSettings> for OptimizerSettings {
    fn from(settings: SgdSettings) -> Self {
        Self::Sgd(settings)
    }
}

impl From<AdamWSettings> for OptimizerSettings {
    fn from(settings: AdamWSettings) -> Self {
        Self::AdamW(settings)
    }
}
