//! A multilayer perceptron on flattened images. With many layers, its gradients vanish or explode.

use gradamp_core::nn::{Activation, BatchNorm2d, Dropout, Linear};
use gradamp_core::{Backend, Error, Module, Parameters, Tape, Var};

use crate::{Architecture, ModelSettings, Norm, Result};

/// The settings of the MLP whose tensors have these names and shapes; `None` if the tensors are not those of a
/// complete MLP. The tensors do not show the activation, so the result has the standard one.
pub(crate) fn recognise(shape: &impl Fn(&str) -> Option<Vec<usize>>) -> Option<ModelSettings> {
    let [width, inputs] = shape("fc1.weight")?[..] else { return None };
    let classes = *shape("classifier.weight")?.first()?;
    let layers = (1..=ModelSettings::MAX_DEPTH).take_while(|i| shape(&format!("fc{i}.weight")).is_some());
    let norm = if shape("bn1.weight").is_some() { Norm::Batch } else { Norm::None };
    let standard = ModelSettings::new(Architecture::Mlp);
    let image = image_of(inputs);
    Some(ModelSettings { width, classes, image, norm, depth: layers.count(), ..standard })
}

/// The shape of an image of `values` values: a square one of three channels or of one, if there is such an image.
fn image_of(values: usize) -> [usize; 3] {
    let square = |channels: usize| {
        let side = (values / channels).isqrt();
        (side * side * channels == values).then_some([side, side, channels])
    };
    square(3).or_else(|| square(1)).unwrap_or([1, values, 1])
}

/// The layers `fc1`, `bn1`, `act1`, `fc2`, ...: `depth` hidden layers of `width` units, each followed by its
/// activation, and a linear `classifier`. The batch norms `bn1`, `bn2`, ... exist only if the settings ask for them.
///
/// **Shapes:** x `[n, h, w, c]`, where `[h, w, c]` is the image of the settings; y `[n, classes]`.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<(Linear, Option<BatchNorm2d>, Activation)>,
    dropout: Dropout,
    classifier: Linear,
}

impl Mlp {
    /// Registers the model's parameters in the order of PyTorch's state_dict.
    ///
    /// **Errors:** the settings name another architecture; those of [`ModelSettings::check`]; out of memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        settings.check()?;
        if settings.architecture != Architecture::Mlp {
            let message = format!("expected mlp, found {}", settings.architecture);
            return Err(Error::setting("architecture", message).into());
        }
        let mut layers = Vec::new();
        for i in 1..=settings.depth {
            let path = format!("fc{i}");
            let linear = match i {
                1 => Linear::on_images(parameters, &path, settings.image, settings.width)?,
                _ => Linear::new(parameters, &path, [settings.width, settings.width])?,
            };
            let norm = settings.norm.layer(parameters, &format!("bn{i}"), settings.width)?;
            layers.push((linear, norm, Activation::new(&format!("act{i}"), settings.activation)));
        }
        let classifier = Linear::new(parameters, "classifier", [settings.width, settings.classes])?;
        Ok(Self { layers, dropout: Dropout { p: settings.dropout }, classifier })
    }
}

impl<B: Backend> Module<B> for Mlp {
    fn forward(&self, tape: &mut Tape<'_, B>, mut x: Var<B>) -> gradamp_core::Result<Var<B>> {
        for (linear, norm, activation) in &self.layers {
            let y = linear.forward(tape, x)?;
            let y = norm.forward(tape, y)?;
            x = activation.forward(tape, y)?;
        }
        let x = self.dropout.forward(tape, x)?;
        self.classifier.forward(tape, x)
    }
}
