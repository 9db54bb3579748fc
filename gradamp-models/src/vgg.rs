//! VGG with batch norm.

use gradamp_core::nn::{BatchNorm2d, Conv2d, Linear, MaxPool2d, Relu, join};
use gradamp_core::{Backend, Error, Module, Parameters, Tape, Var};

use crate::{Architecture, ModelSettings, Result};

/// A layer of the plan: a convolution to so many widths, or a max-pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Conv(usize),
    Pool,
}

/// The plan: so many convolutions in each of the five stages, each stage closed by a pool. `None` for other families.
fn plan(architecture: Architecture) -> Option<Vec<Step>> {
    let depths = match architecture {
        Architecture::Vgg11 => [1, 1, 2, 2, 2],
        Architecture::Vgg13 => [2, 2, 2, 2, 2],
        Architecture::Vgg16 => [2, 2, 3, 3, 3],
        Architecture::Vgg19 => [2, 2, 4, 4, 4],
        _ => return None,
    };
    let stage = |(depth, widths)| std::iter::repeat_n(Step::Conv(widths), depth).chain([Step::Pool]);
    Some(depths.into_iter().zip([1, 2, 4, 8, 8]).flat_map(stage).collect())
}

/// The number of the last batch norm among the features.
pub(crate) fn last_norm(architecture: Architecture) -> usize {
    let plan = plan(architecture).unwrap_or_default();
    let layers: usize = plan.iter().map(|step| if *step == Step::Pool { 1 } else { 3 }).sum();
    layers.saturating_sub(3) // behind it: a rectifier and a pool
}

/// A step of [`Vgg::features`].
#[derive(Clone, Debug)]
enum Feature {
    /// relu(batch_norm(conv(x)))
    Conv {
        conv: Conv2d,
        norm: BatchNorm2d,
        relu: Relu,
    },
    Pool(MaxPool2d),
}

/// `features`: convolution (with bias), batch norm and rectifier, over and over, and five max-pools; `classifier`: one
/// linear layer.
///
/// **Shapes:** x `[n, h, w, 3]` with h and w from 32 to 63, so that five poolings leave one pixel; y `[n, classes]`.
#[derive(Clone, Debug)]
pub struct Vgg {
    features: Vec<Feature>,
    classifier: Linear,
}

impl Vgg {
    /// Registers the model's parameters in the order of PyTorch's state_dict.
    ///
    /// **Errors:** an architecture of another family; a width or a number of classes out of range.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        settings.check()?;
        let plan = plan(settings.architecture).ok_or_else(|| {
            Error::setting("architecture", format!("expected a VGG, found {}", settings.architecture))
        })?;
        let mut features = Vec::new();
        let (mut number, mut c) = (0, 3);
        let mut next = || {
            number += 1;
            join("features", &(number - 1).to_string())
        };
        for step in plan {
            features.push(match step {
                Step::Pool => Feature::Pool(MaxPool2d::new(&next(), 2, 2)),
                Step::Conv(widths) => {
                    let c_out = widths * settings.width;
                    let conv = Conv2d::new(parameters, &next(), [c, c_out], 3, 1, 1, true)?;
                    let norm = BatchNorm2d::new(parameters, &next(), c_out)?;
                    c = c_out;
                    Feature::Conv { conv, norm, relu: Relu::new(&next()) }
                }
            });
        }
        let classifier = Linear::new(parameters, "classifier", [c, settings.classes])?;
        Ok(Self { features, classifier })
    }
}

impl<B: Backend> Module<B> for Vgg {
    fn forward(&self, tape: &mut Tape<'_, B>, mut x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let image = x.shape().to_vec();
        for feature in &self.features {
            x = match feature {
                Feature::Pool(pool) => pool.forward(tape, x)?,
                Feature::Conv { conv, norm, relu } => {
                    let y = conv.forward(tape, x)?;
                    let y = norm.forward(tape, y)?;
                    relu.forward(tape, y)?
                }
            };
        }
        // One pixel: then flattening [n, 1, 1, c] gives PyTorch's order of features too.
        if !matches!(x.shape(), [_, 1, 1, _]) {
            let message = format!(
                "expects images of 32x32 to 63x63 pixels, got x {image:?}, which the features leave at {:?}",
                x.shape()
            );
            return Err(Error::shape("vgg", message));
        }
        self.classifier.forward(tape, x)
    }
}
