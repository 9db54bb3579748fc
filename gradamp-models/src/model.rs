//! Any of the models.

use gradamp_core::{Backend, Module, Parameters, Tape, Var};

use crate::external;
use crate::{Architecture, ModelSettings, ResNet, Result, Vgg};

/// A model of this crate.
///
/// **Shapes:** x `[n, h, w, 3]`, y `[n, classes]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// A VGG.
    Vgg(Vgg),
    /// A ResNet.
    ResNet(ResNet),
}

/// Builds the model that `settings` name, of this crate or registered by another one.
///
/// **Errors:** as [`Model::new`]; a registered model that does not exist on this backend.
pub fn build<B: Backend>(
    settings: &ModelSettings,
    parameters: &mut Parameters<B>,
) -> Result<Box<dyn Module<B>>> {
    let Architecture::External(name) = settings.architecture else {
        return Ok(Box::new(Model::new(settings, parameters)?));
    };
    settings.check()?;
    match external::build(name, settings.width, settings.classes, parameters) {
        Some(model) => Ok(model?),
        None => Err(unknown_here(name, parameters).into()),
    }
}

fn unknown_here<B: Backend>(name: &str, parameters: &Parameters<B>) -> gradamp_core::Error {
    let backend = parameters.backend().name();
    gradamp_core::Error::setting("architecture", format!("the model {name} is not registered for {backend}"))
}

impl Model {
    /// Builds the model and registers its parameters, initialised as PyTorch would, from the seed of `parameters`.
    ///
    /// **Errors:** a width or a number of classes out of range; a model of another crate, which [`build`] makes; out of
    /// memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        Ok(match settings.architecture {
            Architecture::Vgg11 | Architecture::Vgg13 | Architecture::Vgg16 | Architecture::Vgg19 => {
                Model::Vgg(Vgg::new(settings, parameters)?)
            }
            Architecture::ResNet18 | Architecture::ResNet34 => {
                Model::ResNet(ResNet::new(settings, parameters)?)
            }
            // Only `build` has a place for a model of any type.
            Architecture::External(name) => return Err(unknown_here(name, parameters).into()),
        })
    }
}

impl<B: Backend> Module<B> for Model {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        match self {
            Model::Vgg(model) => model.forward(tape, x),
            Model::ResNet(model) => model.forward(tape, x),
        }
    }
}
