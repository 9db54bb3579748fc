//! ResNet with a 3x3 stem, for small images.

use std::sync::Arc;

use gradamp_core::nn::{BatchNorm2d, Conv2d, Linear, MeanPool2d, Relu, join};
use gradamp_core::{Backend, Error, LayerKind, Module, Parameters, Tape, Var, ops};

use crate::{Architecture, ModelSettings, Result};

/// Blocks in each of the four stages; `None` for other families.
pub(crate) fn blocks(architecture: Architecture) -> Option<[usize; 4]> {
    match architecture {
        Architecture::ResNet18 => Some([2, 2, 2, 2]),
        Architecture::ResNet34 => Some([3, 4, 6, 3]),
        _ => None,
    }
}

/// y = relu2(bn2(conv2(relu1(bn1(conv1(x))))) + shortcut(x)): a site of its own around its layers' sites.
///
/// The shortcut is the identity, or a 1x1 convolution and a batch norm where the shape changes.
///
/// **Shapes:** x `[n, h, w, c_in]`, y `[n, h/stride, w/stride, c]`, rounded up.
#[derive(Clone, Debug)]
pub struct BasicBlock {
    path: Arc<str>,
    conv1: Conv2d,
    bn1: BatchNorm2d,
    relu1: Relu,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    relu2: Relu,
    shortcut: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    /// Registers the block's parameters under `path`.
    ///
    /// **Errors:** a path that is taken; out of memory.
    pub fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c_in, c]: [usize; 2],
        stride: usize,
    ) -> Result<Self> {
        let at = |name| join(path, name);
        Ok(Self {
            path: path.into(),
            conv1: Conv2d::new(parameters, &at("conv1"), [c_in, c], 3, stride, 1, false)?,
            bn1: BatchNorm2d::new(parameters, &at("bn1"), c)?,
            relu1: Relu::new(&at("relu1")),
            conv2: Conv2d::new(parameters, &at("conv2"), [c, c], 3, 1, 1, false)?,
            bn2: BatchNorm2d::new(parameters, &at("bn2"), c)?,
            relu2: Relu::new(&at("relu2")),
            shortcut: if stride == 1 && c_in == c {
                None
            } else {
                let conv = Conv2d::new(parameters, &at("shortcut.0"), [c_in, c], 1, stride, 0, false)?;
                Some((conv, BatchNorm2d::new(parameters, &at("shortcut.1"), c)?))
            },
        })
    }
}

impl<B: Backend> Module<B> for BasicBlock {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let (site, x) = tape.begin_site(&self.path, LayerKind::Block, x)?;
        let y = self.conv1.forward(tape, x.clone())?;
        let y = self.bn1.forward(tape, y)?;
        let y = self.relu1.forward(tape, y)?;
        let y = self.conv2.forward(tape, y)?;
        let residual = match &self.shortcut {
            None => x,
            Some((conv, bn)) => {
                let z = conv.forward(tape, x)?;
                bn.forward(tape, z)?
            }
        };
        let y = self.bn2.forward(tape, y)?;
        let y = ops::add(tape, &y, &residual)?;
        let y = self.relu2.forward(tape, y)?;
        tape.end_site(site, y)
    }
}

/// Stem (`conv1`, `bn1`, `relu1`), four stages (`layer1` to `layer4`) of blocks, a mean over all pixels (`avgpool`, which
/// PyTorch's model calls as a function and therefore does not name) and a `linear` classifier.
///
/// **Shapes:** x `[n, h, w, 3]`, y `[n, classes]`.
#[derive(Clone, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    relu1: Relu,
    blocks: Vec<BasicBlock>,
    avgpool: MeanPool2d,
    linear: Linear,
}

impl ResNet {
    /// Registers the model's parameters in the order of PyTorch's state_dict.
    ///
    /// **Errors:** an architecture of another family; a width or a number of classes out of range.
    pub fn new<B: Backend>(settings: &ModelSettings, parameters: &mut Parameters<B>) -> Result<Self> {
        settings.check()?;
        let depths = blocks(settings.architecture).ok_or_else(|| {
            Error::setting("architecture", format!("expected a ResNet, found {}", settings.architecture))
        })?;
        let mut c = settings.width;
        let conv1 = Conv2d::new(parameters, "conv1", [3, c], 3, 1, 1, false)?;
        let bn1 = BatchNorm2d::new(parameters, "bn1", c)?;
        let mut blocks = Vec::new();
        for (stage, (depth, widths)) in depths.into_iter().zip([1, 2, 4, 8]).enumerate() {
            for block in 0..depth {
                // Every stage but the first begins by halving the image.
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let path = format!("layer{}.{block}", stage + 1);
                let c_out = widths * settings.width;
                blocks.push(BasicBlock::new(parameters, &path, [c, c_out], stride)?);
                c = c_out;
            }
        }
        let linear = Linear::new(parameters, "linear", [c, settings.classes])?;
        let (relu1, avgpool) = (Relu::new("relu1"), MeanPool2d::new("avgpool"));
        Ok(Self { conv1, bn1, relu1, blocks, avgpool, linear })
    }
}

impl<B: Backend> Module<B> for ResNet {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> gradamp_core::Result<Var<B>> {
        let x = self.conv1.forward(tape, x)?;
        let x = self.bn1.forward(tape, x)?;
        let mut x = self.relu1.forward(tape, x)?;
        for block in &self.blocks {
            x = block.forward(tape, x)?;
        }
        let x = self.avgpool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}
