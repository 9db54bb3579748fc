//! Any of the models.

use gradamp_core::{Backend, Module, Parameters, Tape, Var};

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

impl Model {
    /// Builds the model and registers its parameters, initialised as PyTorch would, from the seed of `parameters`.
    ///
    /// **Errors:** a width or a number of classes out of range; out of memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        Ok(match settings.architecture {
            Architecture::Vgg11 | Architecture::Vgg13 | Architecture::Vgg16 | Architecture::Vgg19 => {
                Model::Vgg(Vgg::new(settings, parameters)?)
            }
            Architecture::ResNet18 | Architecture::ResNet34 => {
                Model::ResNet(ResNet::new(settings, parameters)?)
            }
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
