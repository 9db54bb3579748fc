//! A wrong kernel shows in the comparison of backends, at the layer that uses it.

use gradamp_core::conformance::agreement::{FirstStep, losses};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Batch, BatchSource, Module, Parameters, Result, Tape, Tensor, Var, nn};

use crate::faulty::{Fault, Faulty};
use gradamp_core::Reference;

/// A convolution, batch norm and rectifier, a pool, a classifier.
struct Net(nn::Conv2d, nn::BatchNorm2d, nn::Activation, nn::MaxPool2d, nn::Linear);

impl Net {
    fn new<B: Backend>(backend: &B) -> (Self, Parameters<B>) {
        let mut parameters = Parameters::new(backend, 1);
        let conv =
            nn::Conv2d::new(&mut parameters, "conv", [2, 4], 3, nn::Conv2dOptions::default().with_padding(1))
                .unwrap();
        let bn = nn::BatchNorm2d::new(&mut parameters, "bn", 4).unwrap();
        let linear = nn::Linear::new(&mut parameters, "linear", [36, 3]).unwrap();
        (Self(conv, bn, nn::Activation::relu("relu"), nn::MaxPool2d::new("pool", 2, 2), linear), parameters)
    }
}

impl<B: Backend> Module<B> for Net {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let Self(conv, bn, relu, pool, linear) = self;
        let y = conv.forward(tape, x)?;
        let y = bn.forward(tape, y)?;
        let y = relu.forward(tape, y)?;
        let y = pool.forward(tape, y)?;
        linear.forward(tape, y)
    }
}

/// Epochs of two batches of random images.
struct Noise;

impl<B: Backend> BatchSource<B> for Noise {
    fn examples(&self) -> usize {
        10
    }
    fn batches(&self) -> usize {
        2
    }
    fn batch_size(&self) -> usize {
        5
    }
    fn image_shape(&self) -> [usize; 3] {
        [6, 6, 2]
    }
    fn classes(&self) -> usize {
        3
    }
    fn epoch<'a>(
        &'a self,
        backend: &B,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>> {
        let backend = backend.clone();
        Ok(Box::new((first..2).map(move |batch| {
            let stream = Stream::new(epoch as u64, Purpose::Test).at(batch as u64);
            let pixels: Vec<f32> = (0..360).map(|i| stream.uniform(i) - 0.5).collect();
            let images = Tensor::from_slice(&backend, &[5, 6, 6, 2], &pixels)?;
            Ok(Batch { images, labels: Tensor::from_slice(&backend, &[5], &[0.0, 1.0, 2.0, 0.0, 1.0])? })
        })))
    }
}

fn first_step<B: Backend>(backend: &B) -> FirstStep {
    let (net, parameters) = Net::new(backend);
    let batch = Noise.epoch(backend, 0, 0).unwrap().next().unwrap().unwrap();
    FirstStep::compute(&net, &parameters, &batch).unwrap()
}

#[test]
fn every_layer_is_compared() {
    let step = first_step(&Reference);
    let layers = step.differences(&step);
    let names: Vec<&str> = layers.iter().map(|layer| &*layer.site.path).collect();
    assert_eq!(names, ["conv", "bn", "relu", "pool", "linear"]);
    for layer in &layers {
        assert!(layer.activation == 0.0 && layer.worst_gradient() == 0.0, "{layer:?}");
        let has_parameters = ["conv", "bn", "linear"].contains(&&*layer.site.path);
        assert_eq!(layer.parameters.is_some(), has_parameters, "{layer:?}");
    }
}

/// The layers that differ from the reference if `kernel` is wrong, each with whether its output, its gradient and its parameters'
/// gradients differ.
fn differing_layers(kernel: &'static str) -> Vec<(String, [bool; 3])> {
    let differences = first_step(&Faulty::new(kernel, Fault::Sign)).differences(&first_step(&Reference));
    let marks = differences.into_iter().map(|layer| {
        let parameters = layer.parameters.unwrap_or(0.0);
        (layer.site.path.to_string(), [layer.activation, layer.gradient, parameters].map(|worst| worst > 0.1))
    });
    marks.filter(|(_, marks)| marks.contains(&true)).collect()
}

#[test]
fn a_wrong_kernel_shows_at_its_layer() {
    let expect = |kernel, layers: &[(&str, [bool; 3])]| {
        let layers: Vec<_> = layers.iter().map(|(name, marks)| ((*name).to_owned(), *marks)).collect();
        assert_eq!(differing_layers(kernel), layers, "{kernel}");
    };
    let (gradient, parameters) = ([false, true, false], [false, false, true]);
    expect("conv2d_backward_weight", &[("conv", parameters)]);
    expect(
        "max_pool2d_backward",
        &[("conv", [false, true, true]), ("bn", [false, true, true]), ("relu", gradient)],
    );
    // The fused kernel runs only without hooks, so that only the gradients of parameters show its fault: the sums that it computes. It
    // takes the place of the kernel of a rectified batch norm's backward, whose fault is therefore invisible.
    expect("fused_pool", &[("bn", parameters)]);
    expect("batch_norm_relu_backward", &[]);
    expect("im2col", &[]); // the convolutions of `Faulty` do not use im2col
}

#[test]
fn a_pool_that_chooses_another_pixel_is_distinguished_from_roundings() {
    let reference = first_step(&Reference);
    assert_eq!(reference.switched(&reference), 0);
    assert!(first_step(&Faulty::new("max_pool2d", Fault::Sign)).switched(&reference) > 0);
    assert_eq!(first_step(&Faulty::new("conv2d_backward_weight", Fault::Sign)).switched(&reference), 0);
}

#[test]
fn a_wrong_optimiser_shows_in_the_second_loss() {
    fn first_losses<B: Backend>(backend: &B) -> Vec<f32> {
        let (net, parameters) = Net::new(backend);
        losses(&net, parameters, &Noise, 0.05, 5).unwrap()
    }
    let (right, wrong) = (first_losses(&Reference), first_losses(&Faulty::new("sgd", Fault::Sign)));
    assert_eq!((right.len(), right[0]), (5, wrong[0]));
    assert!((1..5).all(|step| right[step] != wrong[step]), "{right:?} {wrong:?}");
}
