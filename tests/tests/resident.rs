//! Compares a data set that is kept on a GPU with one whose batches the host makes: the batches and the trained
//! parameters are the same, bit for bit.
//!
//! The tests use the GPU that `GRADAMP_TEST_ADAPTER` names (by its number or a part of its name), or the best GPU, or
//! the software rasteriser, which is then made to keep the images as GPUs do. Without any of these they are skipped.

#![allow(clippy::unwrap_used, reason = "an error fails the test")]

use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Strategy};
use gradamp_core::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{Backend, BatchSource, LayerKind, Module, Parameters, Result, Tape, Tensor, Var};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, ShapesSettings, Source};
use gradamp_wgpu::{Options, Wgpu};

const SEED: u64 = 7;
const BATCH: usize = 12;

fn gpu() -> Option<Wgpu> {
    let options = Options::default().with_tiled(true);
    gradamp_wgpu::testing::adapter().unwrap().map(|adapter| Wgpu::open(&adapter, &options).unwrap())
}

fn data() -> DataSettings {
    let shapes = ShapesSettings::default().with_train(50).with_test(20).with_seed(1);
    DataSettings::default().with_source(Source::Shapes).with_shapes(shapes).with_validation(10).with_cutout(8)
}

fn bits<B: Backend>(tensor: &Tensor<B>) -> Vec<u32> {
    tensor.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
}

fn epoch<B: Backend>(source: &dyn BatchSource<B>, backend: &B, epoch: usize) -> Vec<[Vec<u32>; 2]> {
    let batches = source.epoch(backend, epoch, 0).unwrap().map(Result::unwrap);
    batches.map(|batch| [bits(&batch.images), bits(&batch.labels)]).collect()
}

#[test]
fn a_gpu_makes_the_same_batches_as_the_host() {
    let Some(gpu) = gpu() else { return };
    let (data, cpu) = (data(), Cpu::new().unwrap());
    let parts = data.split(data.load().unwrap(), SEED).unwrap();
    let train = data.train_loader(&parts, BATCH, SEED).unwrap();
    let validation = data.validation_loader(&parts, BATCH).unwrap().unwrap();
    let test = data.test_loader(&parts, BATCH).unwrap();
    let kept = train.keep_on(&gpu).unwrap().unwrap();
    let shared = kept.share(&validation).unwrap();
    let kept_test = test.keep_on(&gpu).unwrap().unwrap();
    for (kept, loader) in [(&kept, &train), (&shared, &validation), (&kept_test, &test)] {
        for number in [0, 3] {
            assert!(epoch(kept, &gpu, number) == epoch(loader, &cpu, number), "epoch {number} of {loader:?}");
        }
    }
}

/// A network with one convolution only, because kernels for GPUs are slow on a software rasteriser.
struct Tiny {
    conv: Conv2d,
    bn: BatchNorm2d,
    relu: Activation,
    pool: MeanPool2d,
    linear: Linear,
}

impl Module<Wgpu> for Tiny {
    fn forward(&self, tape: &mut Tape<'_, Wgpu>, x: Var<Wgpu>) -> Result<Var<Wgpu>> {
        let x = self.conv.forward(tape, x)?;
        let x = self.bn.forward(tape, x)?;
        let x = self.relu.forward(tape, x)?;
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

/// Trains for two epochs with amplification and returns the bits of the parameters.
fn train(gpu: &Wgpu, train: &dyn BatchSource<Wgpu>, test: &dyn BatchSource<Wgpu>) -> Vec<Vec<u32>> {
    let mut parameters = Parameters::new(gpu, SEED);
    let model = Tiny {
        conv: Conv2d::new(
            &mut parameters,
            "conv",
            [3, 8],
            3,
            Conv2dOptions::default().with_stride(2).with_padding(1).with_bias(false),
        )
        .unwrap(),
        bn: BatchNorm2d::new(&mut parameters, "bn", 8).unwrap(),
        relu: Activation::relu("relu"),
        pool: MeanPool2d::new("pool"),
        linear: Linear::new(&mut parameters, "linear", [8, train.classes()]).unwrap(),
    };
    let strategy = Strategy::single(2, LearningRate::constant(0.05), Amplify::on());
    let kinds = vec![LayerKind::BatchNorm];
    let amplification = AmplificationSettings::default().with_kinds(kinds).with_factor(1.5);
    let settings = TrainSettings::new(SEED, strategy, amplification);
    let mut trainer = Trainer::new(&model, parameters, train.image_shape(), settings).unwrap();
    trainer.run(train, &[("test", test)]).unwrap();
    trainer.parameters().iter().map(|(_, parameter)| bits(&parameter.value)).collect()
}

#[test]
fn training_on_images_kept_on_the_gpu_gives_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let data = data();
    let parts = data.split(data.load().unwrap(), SEED).unwrap();
    let loaders = [data.train_loader(&parts, BATCH, SEED).unwrap(), data.test_loader(&parts, BATCH).unwrap()];
    let [kept, kept_test] = loaders.each_ref().map(|loader| loader.keep_on(&gpu).unwrap().unwrap());
    let from_host = train(&gpu, &loaders[0], &loaders[1]);
    assert!(train(&gpu, &kept, &kept_test) == from_host);
}
