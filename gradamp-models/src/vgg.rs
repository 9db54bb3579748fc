//! VGG, with or without a batch norm after each convolution.

use gradamp_core::nn::{
    Activation, BatchNorm2d, Conv2d, Conv2dOptions, Dropout, Linear, MaxPool2d, MeanPool2d, join,
};
use gradamp_core::{Backend, Error, Module, Parameters, Tape, Var};

use crate::{Architecture, ModelSettings, Norm, Result};

/// A layer in the plan of a VGG: a convolution, whose output channels are given in multiples of the width, or a max
/// pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Conv(usize),
    Pool,
}

/// The layers of a VGG: five stages of convolutions, each with a max pool at its end. Each convolution is repeated
/// `repeat` times. `None` for architectures of other families.
fn plan(architecture: Architecture, repeat: usize) -> Option<Vec<Step>> {
    let depths = match architecture {
        Architecture::Vgg11 => [1, 1, 2, 2, 2],
        Architecture::Vgg13 => [2, 2, 2, 2, 2],
        Architecture::Vgg16 => [2, 2, 3, 3, 3],
        Architecture::Vgg19 => [2, 2, 4, 4, 4],
        _ => return None,
    };
    let stage = |(depth, widths)| std::iter::repeat_n(Step::Conv(widths), repeat * depth).chain([Step::Pool]);
    Some(depths.into_iter().zip([1, 2, 4, 8, 8]).flat_map(stage).collect())
}

/// The settings of the VGG whose tensors have these names and shapes; `None` if the tensors are not those of a
/// complete VGG. The tensors do not show the activation, so the result has the standard one.
pub(crate) fn recognise(shape: &impl Fn(&str) -> Option<Vec<usize>>) -> Option<ModelSettings> {
    let [width, channels, ..] = shape("features.0.weight")?[..] else { return None };
    let classes = *shape("classifier.weight")?.first()?;
    // The largest number of features: each convolution has a batch norm and an activation, and there are five max
    // pools.
    let most = 3 * ModelSettings::MAX_REPEAT * 16 + 5;
    let found: Vec<usize> = (0..most)
        .filter(|i| shape(&format!("features.{i}.weight")).is_some_and(|shape| shape.len() == 4))
        .collect();
    let [h, w, _] = ModelSettings::STANDARD_IMAGE;
    let norm = if shape("features.1.running_mean").is_some() { Norm::Batch } else { Norm::None };
    let candidates = (1..=ModelSettings::MAX_REPEAT).flat_map(|repeat| {
        let vggs = Architecture::ALL.into_iter().filter(|architecture| architecture.is_vgg());
        vggs.map(move |architecture| ModelSettings {
            width,
            classes,
            image: [h, w, channels],
            norm,
            repeat,
            ..ModelSettings::new(architecture)
        })
    });
    candidates.into_iter().find(|settings| convolutions(settings) == found)
}

/// The positions of the convolutions among the features.
fn convolutions(settings: &ModelSettings) -> Vec<usize> {
    let parts = if settings.norm == Norm::Batch { 3 } else { 2 };
    let (mut numbers, mut next) = (Vec::new(), 0);
    for step in plan(settings.architecture, settings.repeat).unwrap_or_default() {
        if step != Step::Pool {
            numbers.push(next);
        }
        next += if step == Step::Pool { 1 } else { parts };
    }
    numbers
}

/// A step of [`Vgg::features`].
#[derive(Clone, Debug)]
enum Feature {
    /// activation(norm(conv(x)))
    Conv {
        conv: Conv2d,
        norm: Option<BatchNorm2d>,
        activation: Activation,
    },
    Pool(MaxPool2d),
}

/// A VGG. Its `features` are convolutions (with biases), each followed by a batch norm and an activation, and five
/// max pools in between. Its `classifier` is one linear layer.
///
/// The five max pools leave one pixel of an image of 32x32 to 63x63 pixels. In a network for larger images, a mean
/// over all pixels (`avgpool`) follows.
///
/// **Shapes:** x `[n, h, w, c]`, where h and w are at least 32, and at most 63 without `avgpool`; y `[n, classes]`.
#[derive(Clone, Debug)]
pub struct Vgg {
    features: Vec<Feature>,
    avgpool: Option<MeanPool2d>,
    dropout: Dropout,
    classifier: Linear,
}

impl Vgg {
    /// Registers the model's parameters in the order of PyTorch's state_dict.
    ///
    /// **Errors:** the settings name an architecture of another family; those of [`ModelSettings::check`]; out of
    /// memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        settings.check()?;
        let plan = plan(settings.architecture, settings.repeat).ok_or_else(|| {
            Error::setting("architecture", format!("expected a VGG, found {}", settings.architecture))
        })?;
        let mut features = Vec::new();
        let [h, w, mut c] = settings.image;
        let mut number = 0;
        let mut next = || {
            number += 1;
            join("features", &(number - 1).to_string())
        };
        for step in plan {
            features.push(match step {
                Step::Pool => Feature::Pool(MaxPool2d::new(&next(), 2, 2)),
                Step::Conv(widths) => {
                    let c_out = widths * settings.width;
                    let conv = Conv2d::new(
                        parameters,
                        &next(),
                        [c, c_out],
                        3,
                        Conv2dOptions::default().with_padding(1),
                    )?;
                    let norm = match settings.norm {
                        Norm::Batch => Some(BatchNorm2d::new(parameters, &next(), c_out)?),
                        Norm::None => None,
                    };
                    c = c_out;
                    Feature::Conv { conv, norm, activation: Activation::new(&next(), settings.activation) }
                }
            });
        }
        let avgpool = (h > 63 || w > 63).then(|| MeanPool2d::new("avgpool"));
        let classifier = Linear::new(parameters, "classifier", [c, settings.classes])?;
        Ok(Self { features, avgpool, dropout: Dropout { p: settings.dropout }, classifier })
    }
}

impl<B: Backend> Module<B> for Vgg {
    fn forward(&self, tape: &mut Tape<'_, B>, mut x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let image = x.shape().to_vec();
        for feature in &self.features {
            x = match feature {
                Feature::Pool(pool) => pool.forward(tape, x)?,
                Feature::Conv { conv, norm, activation } => {
                    let y = conv.forward(tape, x)?;
                    let y = norm.forward(tape, y)?;
                    activation.forward(tape, y)?
                }
            };
        }
        if let Some(avgpool) = &self.avgpool {
            x = avgpool.forward(tape, x)?;
        } else if !matches!(x.shape(), [_, 1, 1, _]) {
            // Flattening [n, 1, 1, c] gives PyTorch's order of features. With more pixels, the orders would differ.
            let message = format!(
                "was built for images of 32x32 to 63x63 pixels, got x {image:?}, for which the features have size {:?}",
                x.shape()
            );
            return Err(Error::shape("vgg", message));
        }
        let x = self.dropout.forward(tape, x)?;
        self.classifier.forward(tape, x)
    }
}
