//! The models of this crate: building them from settings, and recognising them by their tensors.

use gradamp_core::{Backend, Module, Parameters, Tape, Var};

use crate::{Architecture, Mlp, ModelSettings, ResNet, Result, Vgg, external, mlp, resnet, vgg};

/// A model of this crate.
///
/// **Shapes:** x `[n, h, w, c]`, where `[h, w, c]` is the image of the settings; y `[n, classes]`.
///
/// ```
/// use gradamp_core::{Module, Parameters, Reference, Tape, Tensor};
/// use gradamp_models::{Architecture, Model, ModelSettings};
///
/// let settings = ModelSettings::new(Architecture::ResNet18).with_width(4);
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
    /// A multilayer perceptron.
    Mlp(Mlp),
}

/// Builds the model that `settings` name: one of this crate, or one that another crate registered.
///
/// **Errors:** those of [`Model::new`]; the registered model does not exist for this backend.
pub fn build<B: Backend>(
    settings: &ModelSettings,
    parameters: &mut Parameters<B>,
) -> Result<Box<dyn Module<B>>> {
    let Architecture::External(name) = settings.architecture else {
        return Ok(Box::new(Model::new(settings, parameters)?));
    };
    settings.check()?;
    let size = (settings.width, settings.image, settings.classes);
    match external::build(name, size, parameters) {
        Some(model) => Ok(model?),
        None => Err(unknown_here(name, parameters).into()),
    }
}

fn unknown_here<B: Backend>(name: &str, parameters: &Parameters<B>) -> gradamp_core::Error {
    let backend = parameters.backend().name();
    gradamp_core::Error::setting("architecture", format!("the model {name} is not registered for {backend}"))
}

impl Model {
    /// Builds the model and registers its parameters, which are initialised as in PyTorch, from the seed of
    /// `parameters`.
    ///
    /// **Errors:** those of [`ModelSettings::check`]; the model belongs to another crate (use [`build`]); out of
    /// memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        Ok(match settings.architecture {
            Architecture::Vgg11 | Architecture::Vgg13 | Architecture::Vgg16 | Architecture::Vgg19 => {
                Model::Vgg(Vgg::new(settings, parameters)?)
            }
            Architecture::ResNet18 | Architecture::ResNet34 => {
                Model::ResNet(ResNet::new(settings, parameters)?)
            }
            Architecture::Mlp => Model::Mlp(Mlp::new(settings, parameters)?),
            // `Model` can only hold the models of this crate. `build` returns a boxed module and can build any model.
            Architecture::External(name) => return Err(unknown_here(name, parameters).into()),
        })
    }
}

impl<B: Backend> Module<B> for Model {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        match self {
            Model::Vgg(model) => model.forward(tape, x),
            Model::ResNet(model) => model.forward(tape, x),
            Model::Mlp(model) => model.forward(tape, x),
        }
    }
}

impl ModelSettings {
    /// The settings of the model whose tensors have these names and shapes; `None` if the tensors are not those of a
    /// complete model of this crate. `shape` returns the shape of a named tensor in PyTorch's layout, or `None` if
    /// there is no such tensor. The tensors do not show the activation, so the result has the standard one. They show an
    /// image's channels but not its size: the result has the standard size, or for an MLP a square one.
    pub fn from_tensors(shape: impl Fn(&str) -> Option<Vec<usize>>) -> Option<Self> {
        resnet::recognise(&shape).or_else(|| vgg::recognise(&shape)).or_else(|| mlp::recognise(&shape))
    }

    /// For each family, tensors that all of its models have. The weight of the last layer comes first.
    pub(crate) fn characteristic_tensors() -> [&'static [&'static str]; 3] {
        [
            &["linear.weight", "conv1.weight", "layer3.1.conv2.weight"],
            &["classifier.weight", "features.0.weight"],
            &["classifier.weight", "fc1.weight"],
        ]
    }
}
