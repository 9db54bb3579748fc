//! The models of this crate: built from settings, and recognised by their tensors.

use gradamp_core::{Backend, Module, Parameters, Tape, Var};

use crate::{Architecture, ModelSettings, ResNet, Result, Vgg, external, resnet, vgg};

/// A model of this crate.
///
/// **Shapes:** x `[n, h, w, 3]`, y `[n, classes]`.
///
/// ```
/// use gradamp_core::{Module, Parameters, Reference, Tape, Tensor};
/// use gradamp_models::{Architecture, Model, ModelSettings};
///
/// let settings = ModelSettings { width: 4, ..ModelSettings::new(Architecture::ResNet18) };
/// let mut parameters = Parameters::new(&Reference, 0);
/// let model = Model::new(&settings, &mut parameters)?;
///
/// let images = Tensor::from_slice(&Reference, &[2, 32, 32, 3], &[0.5; 2 * 32 * 32 * 3])?;
/// let mut tape = Tape::evaluate(&mut parameters);
/// let x = tape.constant(images);
/// let y = model.forward(&mut tape, x)?;
/// assert_eq!(y.shape(), [2, 10]);
/// # Ok::<(), gradamp_models::Error>(())
/// ```
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
    /// Builds the model and registers its parameters. They are initialised as PyTorch does, from the seed of `parameters`.
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

impl ModelSettings {
    /// The settings of the model whose tensors have these names and shapes. `shape` returns the shape of a named tensor in
    /// PyTorch's layout, or `None` where there is none. The result is `None` for a model that is not of this crate, or for a
    /// part of one.
    pub fn from_tensors(shape: impl Fn(&str) -> Option<Vec<usize>>) -> Option<Self> {
        let first = |name: &str| shape(name)?.first().copied();
        let settings = |architecture, stem: &str, head: &str| {
            Some(Self { architecture, width: first(stem)?, classes: first(head)? })
        };
        // The deepest comes first: a deeper network has every tensor of a shallower one of its family, and more.
        for architecture in Self::DEEPEST_FIRST {
            let found = match resnet::blocks(architecture) {
                Some(blocks) => {
                    let last = format!("layer3.{}.conv2.weight", blocks[2] - 1);
                    shape(&last).and_then(|_| settings(architecture, "conv1.weight", "linear.weight"))
                }
                None => {
                    let last = format!("features.{}.running_mean", vgg::last_norm(architecture));
                    shape(&last)
                        .and_then(|_| settings(architecture, "features.0.weight", "classifier.weight"))
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// For each family, the tensors by which [`Self::from_tensors`] recognises its smallest model; the weight of the last layer
    /// comes first.
    pub(crate) fn characteristic_tensors() -> [[String; 3]; 2] {
        let resnet = ["linear.weight", "conv1.weight", "layer3.1.conv2.weight"].map(str::to_owned);
        let vgg_norm = format!("features.{}.running_mean", vgg::last_norm(Architecture::Vgg11));
        [resnet, ["classifier.weight".into(), "features.0.weight".into(), vgg_norm]]
    }

    const DEEPEST_FIRST: [Architecture; 6] = [
        Architecture::ResNet34,
        Architecture::ResNet18,
        Architecture::Vgg19,
        Architecture::Vgg16,
        Architecture::Vgg13,
        Architecture::Vgg11,
    ];
}
