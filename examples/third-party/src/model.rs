use std::sync::Arc;

use gradamp_core::nn::{BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::{Backend, Module, Parameters, Result, Tape, Var};
use gradamp_models::ModelDefinition;

use crate::leaky_relu;

/// The slope of the leaky rectifiers for negative inputs.
const SLOPE: f32 = 0.1;

/// The model `leaky`: three convolutions with batch norms and leaky rectifiers, a mean over all pixels, and a linear
/// layer.
#[derive(Clone, Copy, Debug)]
pub struct LeakyNet;

impl ModelDefinition for LeakyNet {
    fn build<B: Backend>(
        &self,
        width: usize,
        image: [usize; 3],
        classes: usize,
        parameters: &mut Parameters<B>,
    ) -> Result<Box<dyn Module<B>>> {
        let (mut layers, mut c) = (Vec::new(), image[2]);
        for (i, widths) in [1, 2, 4].into_iter().enumerate() {
            let c_out = widths * width;
            layers.push(Layer {
                conv: Conv2d::new(
                    parameters,
                    &format!("layers.{i}.conv"),
                    [c, c_out],
                    3,
                    Conv2dOptions::default().with_stride(2).with_padding(1).with_bias(false),
                )?,
                norm: BatchNorm2d::new(parameters, &format!("layers.{i}.norm"), c_out)?,
                activation: format!("layers.{i}.activation").into(),
            });
            c = c_out;
        }
        let head = Linear::new(parameters, "head", [c, classes])?;
        Ok(Box::new(Net { layers, pool: MeanPool2d::new("pool"), head }))
    }
}

struct Net {
    layers: Vec<Layer>,
    pool: MeanPool2d,
    head: Linear,
}

struct Layer {
    conv: Conv2d,
    norm: BatchNorm2d,
    activation: Arc<str>,
}

impl<B: Backend> Module<B> for Net {
    fn forward(&self, tape: &mut Tape<'_, B>, mut x: Var<B>) -> Result<Var<B>> {
        for layer in &self.layers {
            let y = layer.conv.forward(tape, x)?;
            let y = layer.norm.forward(tape, y)?;
            x = leaky_relu(tape, &y, SLOPE, &layer.activation)?;
        }
        let x = self.pool.forward(tape, x)?;
        self.head.forward(tape, x)
    }
}
