use gradamp_core::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MaxPool2d};
use gradamp_core::{Backend, Module, Parameters, Result, Tape, Var};
use gradamp_models::ModelDefinition;

/// The model `plain-vgg11`: a VGG-11 written layer by layer, as in PyTorch.
///
/// It has the same parameters as `vgg11` in `gradamp-models`, computes the same bits, and trains at the same speed.
/// Convolution, batch norm and rectifier are three calls, and the tape fuses them.
///
/// ```sh
/// third-party bench step --model plain-vgg11 --width 64 --batch 64 --device cpu
/// third-party bench step --model vgg11 --width 64 --batch 64 --device cpu
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PlainVgg11;

/// The output channels of each convolution, in multiples of the width; 0 stands for a max pool.
const PLAN: [usize; 13] = [1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0];

enum Layer {
    Conv(Conv2d),
    Norm(BatchNorm2d),
    Relu(Activation),
    Pool(MaxPool2d),
}

struct Net {
    features: Vec<Layer>,
    classifier: Linear,
}

impl ModelDefinition for PlainVgg11 {
    fn build<B: Backend>(
        &self,
        width: usize,
        image: [usize; 3],
        classes: usize,
        parameters: &mut Parameters<B>,
    ) -> Result<Box<dyn Module<B>>> {
        let (mut features, mut c) = (Vec::new(), image[2]);
        for widths in PLAN {
            let path = |features: &[Layer]| format!("features.{}", features.len());
            if widths == 0 {
                features.push(Layer::Pool(MaxPool2d::new(&path(&features), 2, 2)));
                continue;
            }
            let c_out = widths * width;
            let conv = Conv2d::new(
                parameters,
                &path(&features),
                [c, c_out],
                3,
                Conv2dOptions::default().with_padding(1),
            )?;
            features.push(Layer::Conv(conv));
            features.push(Layer::Norm(BatchNorm2d::new(parameters, &path(&features), c_out)?));
            features.push(Layer::Relu(Activation::relu(&path(&features))));
            c = c_out;
        }
        let classifier = Linear::new(parameters, "classifier", [c, classes])?;
        Ok(Box::new(Net { features, classifier }))
    }
}

impl<B: Backend> Module<B> for Net {
    fn forward(&self, tape: &mut Tape<'_, B>, mut x: Var<B>) -> Result<Var<B>> {
        for layer in &self.features {
            x = match layer {
                Layer::Conv(conv) => conv.forward(tape, x)?,
                Layer::Norm(norm) => norm.forward(tape, x)?,
                Layer::Relu(relu) => relu.forward(tape, x)?,
                Layer::Pool(pool) => pool.forward(tape, x)?,
            };
        }
        self.classifier.forward(tape, x)
    }
}
