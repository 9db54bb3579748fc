//! Models of other crates, which settings name like the models of this crate.

use std::any::Any;
use std::sync::Arc;

use gradamp_core::registry::Registry;
use gradamp_core::{Backend, Module, Parameters, Result};

/// A model of another crate, on any backend.
///
/// A program registers a definition under a name. After that, settings can name it as their architecture.
pub trait ModelDefinition: Send + Sync + 'static {
    /// Builds the model for images of the shape `image` (`[h, w, c]`) and registers its parameters, which are initialised
    /// from the seed of `parameters`.
    ///
    /// **Shapes:** the model maps x `[n, h, w, c]` to y `[n, classes]`.
    ///
    /// **Errors:** the model cannot have this width, image or number of classes; out of memory.
    fn build<B: Backend>(
        &self,
        width: usize,
        image: [usize; 3],
        classes: usize,
        parameters: &mut Parameters<B>,
    ) -> Result<Box<dyn Module<B>>>;
}

/// A definition for one backend. Given `Parameters<B>` of this backend, the function builds a `Box<dyn Module<B>>`;
/// given those of another backend, it returns `None`.
pub struct OnBackend(Builder);

/// The width, the shape of an image, and the number of classes.
type Size = (usize, [usize; 3], usize);

type Builder = Box<dyn Fn(Size, &mut dyn Any) -> Option<Result<Box<dyn Any>>> + Send + Sync>;

impl OnBackend {
    /// Makes `definition` available on the backend `B`.
    pub fn new<B: Backend, D: ModelDefinition>(definition: &Arc<D>) -> Self {
        let definition = definition.clone();
        Self(Box::new(move |(width, image, classes), parameters| {
            let parameters = parameters.downcast_mut::<Parameters<B>>()?;
            let model = definition.build(width, image, classes, parameters);
            Some(model.map(|model| Box::new(model) as Box<dyn Any>))
        }))
    }
}

pub(crate) static EXTERNAL: Registry<Vec<OnBackend>> =
    Registry::new("model", &["vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "mlp"]);

/// Registers a model of another crate under `name`, so that settings can name it, on the given backends.
///
/// **Errors:** the name is taken, or has characters other than lower-case letters, digits, `_` and `-`.
pub fn register(name: &str, backends: Vec<OnBackend>) -> Result<()> {
    EXTERNAL.add(name, backends)
}

/// The names of the models that other crates have registered.
pub fn registered() -> Vec<&'static str> {
    EXTERNAL.added()
}

/// Builds the registered model called `name`. Returns `None` if no model is registered under this name for this
/// backend.
pub(crate) fn build<B: Backend>(
    name: &str,
    size: Size,
    parameters: &mut Parameters<B>,
) -> Option<Result<Box<dyn Module<B>>>> {
    let (_, backends) = EXTERNAL.find(name)?;
    let built = backends.iter().find_map(|OnBackend(build)| build(size, parameters))?;
    Some(match built {
        Ok(model) => model.downcast::<Box<dyn Module<B>>>().ok().map(|model| *model).map(Ok)?,
        Err(error) => Err(error),
    })
}
