use std::sync::Arc;

use gradamp_core::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::{Backend, Module, Parameters, Result, Tape, Var, ops};
use gradamp_models::ModelDefinition;

use crate::gelu;

/// The model `wide-resnet10`: a wide residual network of ten layers whose norms and activations come before the convolutions.
///
/// Its parameters have the names of `wide_resnet.py` in this crate's tests, so that weights from PyTorch can begin a run:
/// `--init weights.safetensors`.
///
/// **Source:** S. Zagoruyko, N. Komodakis, "Wide Residual Networks", BMVC 2016. `width` is that of the first group, 16 · k there.
#[derive(Clone, Copy, Debug)]
pub struct WideResNet10 {
    /// Whether [`gelu`] takes the place of ReLU.
    pub gelu: bool,
}

impl ModelDefinition for WideResNet10 {
    fn build<B: Backend>(
        &self,
        width: usize,
        [_, _, channels]: [usize; 3],
        classes: usize,
        parameters: &mut Parameters<B>,
    ) -> Result<Box<dyn Module<B>>> {
        const STEM: usize = 16;
        let stem = conv(parameters, "conv1", [channels, STEM], 3, 1)?;
        let (mut groups, mut c) = (Vec::new(), STEM);
        for (i, (widths, stride)) in [(1, 1), (2, 2), (4, 2)].into_iter().enumerate() {
            groups.push(Block::new(
                parameters,
                &format!("group{}.0", i + 1),
                [c, widths * width],
                stride,
                self.gelu,
            )?);
            c = widths * width;
        }
        let bn = BatchNorm2d::new(parameters, "bn", c)?;
        let linear = Linear::new(parameters, "linear", [c, classes])?;
        let end = Nonlinearity::new("activation", self.gelu);
        Ok(Box::new(WideResNet { stem, groups, bn, end, pool: MeanPool2d::new("pool"), linear }))
    }
}

/// A convolution without bias whose padding keeps the image's size at stride 1.
fn conv<B: Backend>(
    parameters: &mut Parameters<B>,
    path: &str,
    channels: [usize; 2],
    size: usize,
    stride: usize,
) -> Result<Conv2d> {
    let options = Conv2dOptions::default().with_stride(stride).with_padding(size / 2).with_bias(false);
    Conv2d::new(parameters, path, channels, size, options)
}

struct WideResNet {
    stem: Conv2d,
    groups: Vec<Block>,
    bn: BatchNorm2d,
    end: Nonlinearity,
    pool: MeanPool2d,
    linear: Linear,
}

impl<B: Backend> Module<B> for WideResNet {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let mut x = self.stem.forward(tape, x)?;
        for block in &self.groups {
            x = block.forward(tape, x)?;
        }
        let x = self.bn.forward(tape, x)?;
        let x = self.end.forward(tape, x)?;
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

/// conv2(f(bn2(conv1(f(bn1(x)))))) + shortcut, which is x, or a convolution of f(bn1(x)) where the shape changes.
struct Block {
    bn1: BatchNorm2d,
    first: Nonlinearity,
    conv1: Conv2d,
    bn2: BatchNorm2d,
    second: Nonlinearity,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Block {
    fn new<B: Backend>(
        parameters: &mut Parameters<B>,
        path: &str,
        [c, c_out]: [usize; 2],
        stride: usize,
        gelu: bool,
    ) -> Result<Self> {
        let at = |name: &str| format!("{path}.{name}");
        let changes = c != c_out || stride > 1;
        Ok(Self {
            bn1: BatchNorm2d::new(parameters, &at("bn1"), c)?,
            first: Nonlinearity::new(&at("activation1"), gelu),
            conv1: conv(parameters, &at("conv1"), [c, c_out], 3, stride)?,
            bn2: BatchNorm2d::new(parameters, &at("bn2"), c_out)?,
            second: Nonlinearity::new(&at("activation2"), gelu),
            conv2: conv(parameters, &at("conv2"), [c_out, c_out], 3, 1)?,
            shortcut: match changes {
                true => Some(conv(parameters, &at("shortcut"), [c, c_out], 1, stride)?),
                false => None,
            },
        })
    }
}

impl<B: Backend> Module<B> for Block {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let y = self.bn1.forward(tape, x.clone())?;
        let activated = self.first.forward(tape, y)?;
        let skipped = match &self.shortcut {
            Some(shortcut) => shortcut.forward(tape, activated.clone())?,
            None => x,
        };
        let y = self.conv1.forward(tape, activated)?;
        let y = self.bn2.forward(tape, y)?;
        let y = self.second.forward(tape, y)?;
        let y = self.conv2.forward(tape, y)?;
        ops::add(tape, &y, &skipped)
    }
}

/// ReLU or GELU.
enum Nonlinearity {
    Relu(Activation),
    Gelu(Arc<str>),
}

impl Nonlinearity {
    fn new(path: &str, gelu: bool) -> Self {
        if gelu { Self::Gelu(path.into()) } else { Self::Relu(Activation::relu(path)) }
    }
}

impl<B: Backend> Module<B> for Nonlinearity {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        match self {
            Self::Relu(relu) => relu.forward(tape, x),
            Self::Gelu(path) => gelu(tape, &x, path),
        }
    }
}
