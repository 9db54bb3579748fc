//! Models of other crates, which settings name like the models of this crate.

use std::any::Any;
use std::sync::Arc;

use gradamp_core::registry::Registry;
use gradamp_core::{Backend, Module, Parameters, Result};

/// A model of another crate, on any backend.
///
/// A program registers a definition under a name. From then on, settings may name it as their architecture.
pub trait ModelDefinition: Send + Sync + 'static {
    /// Builds the model for images of three channels and registers its parameters, initialised from their seed.
    ///
    /// **Shapes:** the model reads x `[n, h, w, 3]` and gives y `[n, classes]`.
    /// **Errors:** a width or a number of classes that the model cannot have; out of memory.
    fn build<B: Backend>(
        &self,
        width: usize,
        classes: usize,
        parameters: &mut Parameters<B>,
    ) -> Result<Box<dyn Module<B>>>;
}

/// A definition for one backend: given `Parameters<B>`, it builds a `Box<dyn Module<B>>`; `None` for another backend.
pub struct OnBackend(Builder);

type Builder = Box<dyn Fn(usize, usize, &mut dyn Any) -> Option<Result<Box<dyn Any>>> + Send + Sync>;

impl OnBackend {
    /// `definition` for the backend `B`.
    pub fn new<B: Backend, D: ModelDefinition>(definition: &Arc<D>) -> Self {
        let definition = definition.clone();
        Self(Box::new(move |width, classes, parameters| {
            let parameters = parameters.downcast_mut::<Parameters<B>>()?;
            let model = definition.build(width, classes, parameters);
            Some(model.map(|model| Box::new(model) as Box<dyn Any>))
        }))
    }
}

pub(crate) static EXTERNAL: Registry<Vec<OnBackend>> =
    Registry::new("model", &["vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "mlp"]);

/// Lets settings name a model of another crate, on the backends that a program has.
///
/// **Errors:** a name that is taken, or that has other characters than lower-case letters, digits, `_` and `-`.
pub fn register(name: &str, backends: Vec<OnBackend>) -> Result<()> {
    EXTERNAL.add(name, backends)
}

/// The names of the models that other crates have registered.
pub fn registered() -> Vec<&'static str> {
    EXTERNAL.added()
}

/// The registered model called `name`; `None` if no crate has registered this name for this backend.
pub(crate) fn build<B: Backend>(
    name: &str,
    width: usize,
    classes: usize,
    parameters: &mut Parameters<B>,
) -> Option<Result<Box<dyn Module<B>>>> {
    let (_, backends) = EXTERNAL.find(name)?;
    let built = backends.iter().find_map(|OnBackend(build)| build(width, classes, parameters))?;
    Some(match built {
        Ok(model) => model.downcast::<Box<dyn Module<B>>>().ok().map(|model| *model).map(Ok)?,
        Err(error) => Err(error),
    })
}
