//! ResNet with a 3x3 stem, for small images.

use std::sync::Arc;

use gradamp_core::nn::{
    Activation, ActivationFunction, BatchNorm2d, Conv2d, Conv2dOptions, Dropout, Linear, MeanPool2d, join,
};
use gradamp_core::{Backend, Error, LayerKind, Module, Parameters, Tape, Var, ops};

use crate::{Architecture, ModelSettings, Norm, Result};

/// The number of blocks in each of the four stages; `None` for architectures of other families.
fn blocks(architecture: Architecture) -> Option<[usize; 4]> {
    match architecture {
        Architecture::ResNet18 => Some([2, 2, 2, 2]),
        Architecture::ResNet34 => Some([3, 4, 6, 3]),
        _ => None,
    }
}

/// The settings of the ResNet whose tensors have these names and shapes; `None` if the tensors are not those of a
/// complete ResNet. The tensors do not show the activation, so the result has the standard one.
pub(crate) fn recognise(shape: &impl Fn(&str) -> Option<Vec<usize>>) -> Option<ModelSettings> {
    let [width, channels, ..] = shape("conv1.weight")?[..] else { return None };
    let classes = *shape("linear.weight")?.first()?;
    let has = |name: String| shape(&name).is_some();
    // Deeper networks are tried first, because they have all tensors of the shallower ones.
    let architecture = [Architecture::ResNet34, Architecture::ResNet18].into_iter().find(|architecture| {
        let depth = blocks(*architecture).map_or(0, |blocks| blocks[2]);
        has(format!("layer3.{}.conv2.weight", depth - 1))
    })?;
    let norm = if has("conv1.bias".into()) { Norm::None } else { Norm::Batch };
    let skip = has("layer2.0.shortcut.0.weight".into());
    let [h, w, _] = ModelSettings::STANDARD_IMAGE;
    let image = [h, w, channels];
    Some(ModelSettings { width, classes, image, norm, skip, ..ModelSettings::new(architecture) })
}

/// A 3x3 convolution that keeps the size of the image. It has a bias if no normalisation follows.
fn same_size(settings: &ModelSettings) -> Conv2dOptions {
    Conv2dOptions::default().with_padding(1).with_bias(settings.norm == Norm::None)
}

/// The activation with this number, called `relu1` or `relu2` if it is a ReLU, and `act1` or `act2` otherwise.
fn activation(settings: &ModelSettings, parent: &str, number: usize) -> Activation {
    let name = if settings.activation == ActivationFunction::Relu { "relu" } else { "act" };
    Activation::new(&join(parent, &format!("{name}{number}")), settings.activation)
}

/// A residual block: y = relu2(bn2(conv2(relu1(bn1(conv1(x))))) + shortcut(x)). The block is a site that contains the sites of its
/// layers.
///
/// The shortcut is the identity if x and y have the same shape, and otherwise a 1x1 convolution with a batch norm.
/// The settings may leave out the shortcut or the batch norms, and may replace the ReLUs by other activations.
///
/// **Shapes:** x `[n, h, w, c_in]`, y `[n, h/stride, w/stride, c]`, rounded up.
#[derive(Clone, Debug)]
struct BasicBlock {
    path: Arc<str>,
    conv1: Conv2d,
    bn1: Option<BatchNorm2d>,
    activation1: Activation,
    conv2: Conv2d,
    bn2: Option<BatchNorm2d>,
    activation2: Activation,
    shortcut: Shortcut,
    /// The probability with which the block is skipped for an example.
    skipped: f32,
}

/// What a block adds to its result.
#[derive(Clone, Debug)]
enum Shortcut {
    None,
    Identity,
    Projection(Conv2d, Option<BatchNorm2d>),
}

impl BasicBlock {
    /// Registers the block's parameters under `path`.
    fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c]: [usize; 2],
        stride: usize,
        skipped: f32,
        settings: &ModelSettings,
    ) -> Result<Self> {
        let at = |name| join(path, name);
        let first = same_size(settings).with_stride(stride);
        Ok(Self {
            path: path.into(),
            conv1: Conv2d::new(parameters, &at("conv1"), [c_in, c], 3, first)?,
            bn1: settings.norm.layer(parameters, &at("bn1"), c)?,
            activation1: activation(settings, path, 1),
            conv2: Conv2d::new(parameters, &at("conv2"), [c, c], 3, same_size(settings))?,
            bn2: settings.norm.layer(parameters, &at("bn2"), c)?,
            activation2: activation(settings, path, 2),
            shortcut: match settings.skip {
                false => Shortcut::None,
                true if stride == 1 && c_in == c => Shortcut::Identity,
                true => {
                    let options = same_size(settings).with_stride(stride).with_padding(0);
                    let conv = Conv2d::new(parameters, &at("shortcut.0"), [c_in, c], 1, options)?;
                    Shortcut::Projection(conv, settings.norm.layer(parameters, &at("shortcut.1"), c)?)
                }
            },
            skipped,
        })
    }
}

impl<B: Backend> Module<B> for BasicBlock {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let (site, x) = tape.begin_site(&self.path, LayerKind::Block, x)?;
        let y = self.conv1.forward(tape, x.clone())?;
        let y = self.bn1.forward(tape, y)?;
        let y = self.activation1.forward(tape, y)?;
        let y = self.conv2.forward(tape, y)?;
        let residual = match &self.shortcut {
            Shortcut::None => None,
            Shortcut::Identity => Some(x),
            Shortcut::Projection(conv, bn) => {
                let z = conv.forward(tape, x)?;
                Some(bn.forward(tape, z)?)
            }
        };
        let mut y = self.bn2.forward(tape, y)?;
        if let Some(residual) = residual {
            if self.skipped > 0.0 {
                y = ops::drop_examples(tape, &y, self.skipped)?;
            }
            y = ops::add(tape, &y, &residual)?;
        }
        let y = self.activation2.forward(tape, y)?;
        tape.end_site(site, y)
    }
}

/// A stem (`conv1`, `bn1`, `relu1`), four stages of blocks (`layer1` to `layer4`), a mean over all pixels (`avgpool`,
/// which has no name in PyTorch's model, where it is a function), and a `linear` classifier.
///
/// **Shapes:** x `[n, h, w, c]`, y `[n, classes]`.
#[derive(Clone, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: Option<BatchNorm2d>,
    activation1: Activation,
    blocks: Vec<BasicBlock>,
    avgpool: MeanPool2d,
    dropout: Dropout,
    linear: Linear,
}

impl ResNet {
    /// Registers the model's parameters in the order of PyTorch's state_dict.
    ///
    /// **Errors:** the settings name an architecture of another family; those of [`ModelSettings::check`]; out of
    /// memory.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        settings.check()?;
        let depths = blocks(settings.architecture).ok_or_else(|| {
            Error::setting("architecture", format!("expected a ResNet, found {}", settings.architecture))
        })?;
        let mut c = settings.width;
        let conv1 = Conv2d::new(parameters, "conv1", [settings.image[2], c], 3, same_size(settings))?;
        let bn1 = settings.norm.layer(parameters, "bn1", c)?;
        let mut blocks = Vec::new();
        for (stage, (depth, widths)) in depths.into_iter().zip([1, 2, 4, 8]).enumerate() {
            for block in 0..depth {
                // The first block of each stage halves the image, except in the first stage.
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let path = format!("layer{}.{block}", stage + 1);
                let c_out = widths * settings.width;
                let place = (blocks.len() + 1) as f32 / depths.iter().sum::<usize>() as f32;
                let skipped = place * settings.stochastic_depth;
                blocks.push(BasicBlock::new(parameters, &path, [c, c_out], stride, skipped, settings)?);
                c = c_out;
            }
        }
        let linear = Linear::new(parameters, "linear", [c, settings.classes])?;
        let (activation1, avgpool) = (activation(settings, "", 1), MeanPool2d::new("avgpool"));
        let dropout = Dropout { p: settings.dropout };
        Ok(Self { conv1, bn1, activation1, blocks, avgpool, dropout, linear })
    }
}

impl<B: Backend> Module<B> for ResNet {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let x = self.conv1.forward(tape, x)?;
        let x = self.bn1.forward(tape, x)?;
        let mut x = self.activation1.forward(tape, x)?;
        for block in &self.blocks {
            x = block.forward(tape, x)?;
        }
        let x = self.avgpool.forward(tape, x)?;
        let x = self.dropout.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}
