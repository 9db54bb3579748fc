//! Training on a GPU: compared with the CPU, in steady state, and when the device fails.
//!
//! The tests use the GPU that `GRADAMP_TEST_ADAPTER` names (by its number or a part of its name), or the best GPU, or
//! the software rasteriser. Without any of these they are skipped.

#![allow(clippy::unwrap_used, reason = "an error fails the test")]

use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Strategy};
use gradamp_core::backend::{Device, Memory};
use gradamp_core::conformance::agreement::{self, FirstStep};
use gradamp_core::optim::{Optimizer, Sgd, SgdSettings};
use gradamp_core::train::{Control, EpochReport, Observer, Snapshot, StepReport, TrainSettings, Trainer};
use gradamp_core::{Backend, BatchSource, Hooks, LayerKind, Module, Parameters, Result, Tape, ops};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, Loader, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};
use gradamp_wgpu::{Counters, Kind, Options, Wgpu};

const SEED: u64 = 5;

fn open(options: &Options) -> Option<Wgpu> {
    gradamp_wgpu::testing::adapter().unwrap().map(|adapter| Wgpu::open(&adapter, options).unwrap())
}

fn loader(examples: usize, batch: usize) -> Loader {
    let shapes = ShapesSettings::default().with_train(examples).with_test(1).with_seed(SEED);
    let data = DataSettings::default()
        .with_source(Source::Shapes)
        .with_shapes(shapes)
        .with_crop_padding(0)
        .with_flip(false)
        .with_workers(0);
    data.train_loader(&data.split(data.load().unwrap(), SEED).unwrap(), batch, SEED).unwrap()
}

fn model<B: Backend>(backend: &B, architecture: Architecture, width: usize) -> (Model, Parameters<B>) {
    let mut parameters = Parameters::new(backend, SEED);
    let settings = ModelSettings::new(architecture).with_width(width);
    (Model::new(&settings, &mut parameters).unwrap(), parameters)
}

/// The largest number of batches to try. A batch is used if no rectifier's input is within rounding of 0; see
/// [`FirstStep::switched`].
const BATCHES: usize = 8;

fn first_gradients_agree(gpu: &Wgpu, cpu: &Cpu, architecture: Architecture) {
    let (on_gpu, on_cpu) = (model(gpu, architecture, 8), model(cpu, architecture, 8));
    let few = loader(16 * BATCHES, 16);
    let batches = few.epoch(gpu, 0, 0).unwrap().zip(few.epoch(cpu, 0, 0).unwrap());
    let mut steps = batches.map(|(a, b)| {
        let found = FirstStep::compute(&on_gpu.0, &on_gpu.1, &a.unwrap()).unwrap();
        let expected = FirstStep::compute(&on_cpu.0, &on_cpu.1, &b.unwrap()).unwrap();
        (found.switched(&expected), found.differences(&expected))
    });
    let (_, layers) = steps.find(|(switched, _)| *switched == 0).unwrap();
    for layer in layers {
        assert!(layer.worst_gradient() < 1e-4 && layer.activation < 1e-4, "{architecture}: {layer:?}");
    }
}

#[test]
fn first_gradients_of_gpu_kernels_agree_with_those_of_the_cpu() {
    let Some(gpu) = open_as(Kind::Discrete) else { return };
    first_gradients_agree(&gpu, &Cpu::new().unwrap(), Architecture::ResNet18);
}

#[test]
fn first_gradients_and_fifty_losses_agree_with_those_of_the_cpu() {
    let Some(gpu) = open(&Options::default()) else { return };
    let cpu = Cpu::new().unwrap();
    for architecture in [Architecture::ResNet18, Architecture::Vgg11] {
        first_gradients_agree(&gpu, &cpu, architecture);

        let (on_gpu, on_cpu) = (model(&gpu, architecture, 8), model(&cpu, architecture, 8));
        // All steps use one batch. Its loss falls by a factor of twenty and more in a few steps, so rounding errors
        // have little time to grow.
        let source = loader(32, 32);
        let found = agreement::losses(&on_gpu.0, on_gpu.1, &source, 0.003, 50).unwrap();
        let expected = agreement::losses(&on_cpu.0, on_cpu.1, &source, 0.003, 50).unwrap();
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found / expected - 1.0).abs() < 0.02,
                "{architecture}, step {step}: {found}, {expected}"
            );
        }
        assert!(
            expected[49] < 0.1 * expected[0],
            "{architecture} learns too little for this test: {expected:?}"
        );
    }
}

/// Records the number of steps in each report, and the device's counters at that time.
struct Counter {
    gpu: Wgpu,
    told: Vec<usize>,
    counters: Vec<Counters>,
}

impl Counter {
    fn new(gpu: &Wgpu) -> Self {
        Self { gpu: gpu.clone(), told: Vec::new(), counters: Vec::new() }
    }
}

impl Observer<Wgpu> for Counter {
    fn on_steps(&mut self, reports: &[StepReport], _snapshot: &Snapshot<'_, Wgpu>) -> Result<Control> {
        self.told.push(reports.len());
        self.counters.push(self.gpu.counters());
        Ok(Control::Continue)
    }
}

/// Trains with amplification and clipping on images that are kept on the device, as the program does. Returns the
/// bits of the parameters.
fn train(
    gpu: &Wgpu,
    architecture: Architecture,
    batches: usize,
    observer: &mut dyn Observer<Wgpu>,
) -> Result<Vec<Vec<u32>>> {
    let source = loader(4 * batches, 4);
    let kept = source.keep_on(gpu)?;
    let source: &dyn BatchSource<Wgpu> = kept.as_ref().map_or(&source, |kept| kept);
    let (model, parameters) = model(gpu, architecture, 4);
    let amplification =
        AmplificationSettings::default().with_kinds(vec![LayerKind::BatchNorm]).with_factor(1.1);
    let strategy = Strategy::single(1, LearningRate::constant(0.01), Amplify::on());
    let mut settings = TrainSettings::new(SEED, strategy, amplification);
    settings.optimizer = SgdSettings::default().with_clip_norm(Some(5.0)).into();
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings)?;
    trainer.observe(observer);
    trainer.run(source, &[])?;
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    trainer.parameters().iter().map(|(_, parameter)| parameter.value.to_vec().map(bits)).collect()
}

#[test]
fn a_step_in_steady_state_creates_nothing_and_submits_once() {
    // With `tiled`, a software rasteriser also keeps the images and runs the kernels of GPUs.
    for tiled in [false, true] {
        let Some(gpu) = open(&Options::default().with_tiled(tiled)) else { return };
        let mut counter = Counter::new(&gpu);
        train(&gpu, Architecture::ResNet18, 6 * (gpu.steps_ahead() + 1), &mut counter).unwrap();
        let [.., before, last] = counter.counters[..] else { panic!("{:?}", counter.counters) };
        // The number of submissions is not compared here: the trainer submits when it reads a loss, which may happen
        // within a step.
        assert_eq!(with_submissions(last, 0), with_submissions(before, 0), "a step creates something");

        let (model, mut parameters) = model(&gpu, Architecture::Vgg11, 4);
        let mut sgd = Sgd::new(SgdSettings::default(), &parameters).unwrap();
        let batch = loader(4, 4).epoch(&gpu, 0, 0).unwrap().next().unwrap().unwrap();
        let mut step = || {
            let mut tape = Tape::train(&mut parameters);
            let x = tape.constant(batch.images.clone());
            let logits = model.forward(&mut tape, x).unwrap();
            let loss = ops::softmax_cross_entropy(&mut tape, &logits, &batch.labels, 0.0).unwrap();
            let gradients = tape.backward(&loss.mean, &Hooks::new()).unwrap();
            sgd.step(&mut parameters, &gradients, 0.01).unwrap();
            gpu.submit().unwrap();
            gpu.counters()
        };
        let [_, _, third, fourth] = [(); 4].map(|()| step());
        let expected = with_submissions(third, third.submissions + 1);
        // A step is split into several submissions only on a GPU that may drive a desktop with a watchdog.
        if gpu.adapter().most_dispatches() == usize::MAX {
            assert_eq!(fourth, expected);
        }
    }
}

fn with_submissions(mut counters: Counters, submissions: u64) -> Counters {
    counters.submissions = submissions;
    counters
}

/// Opens the test adapter as if it were of this kind, with the kernels of GPUs.
fn open_as(kind: Kind) -> Option<Wgpu> {
    let mut adapter = gradamp_wgpu::testing::adapter().unwrap()?;
    adapter.kind = kind;
    Some(Wgpu::open(&adapter, &Options::default().with_tiled(true)).unwrap())
}

/// Steps are submitted to a GPU one after the other, and losses are read late. On a GPU that may drive a desktop,
/// each step is submitted in parts, so that no watchdog resets the GPU. The bits equal those of a device that the
/// host waits for at each step.
#[test]
fn losses_are_read_late_and_steps_are_split_on_gpus_that_may_have_a_watchdog() {
    const STEPS: usize = 18;
    let mut all = Vec::new();
    for kind in [Kind::Software, Kind::Discrete, Kind::Integrated] {
        let Some(gpu) = open_as(kind) else { return };
        let mut counter = Counter::new(&gpu);
        let parameters = train(&gpu, Architecture::Vgg11, STEPS, &mut counter).unwrap();
        let [.., before, last] = counter.counters[..] else { panic!("{:?}", counter.counters) };
        let submissions = (last.submissions - before.submissions) as usize;
        all.push((counter.told, submissions, parameters));
    }
    let [(at_once, _, expected), (late, whole, discrete), (_, parts, integrated)] = &all[..] else {
        panic!()
    };
    assert_eq!((at_once, late), (&vec![1; STEPS], &vec![STEPS / 2; 2]));
    assert_eq!(*whole, STEPS / 2 + 1, "each step and each reading of losses is one submission");
    assert!(*parts > 3 * whole, "{parts} submissions");
    assert!(discrete == expected && integrated == expected, "the bits differ");
}

/// Loses the device after the third step.
struct DeviceLoss(Wgpu, u64);

impl Observer<Wgpu> for DeviceLoss {
    fn on_steps(&mut self, reports: &[StepReport], _snapshot: &Snapshot<'_, Wgpu>) -> Result<Control> {
        self.1 = reports.iter().map(|report| report.step).fold(self.1, u64::max);
        if self.1 >= 2 {
            self.0.destroy();
        }
        Ok(Control::Continue)
    }

    fn on_epoch(&mut self, _report: &EpochReport, _snapshot: &Snapshot<'_, Wgpu>) -> Result<Control> {
        unreachable!("the device is lost before the end of the epoch")
    }
}

#[test]
fn a_run_whose_device_is_lost_ends_with_an_error_that_names_it() {
    for kind in [Kind::Software, Kind::Discrete] {
        let Some(gpu) = open_as(kind) else { return };
        let mut loser = DeviceLoss(gpu.clone(), 0);
        let steps = 2 * (gpu.steps_ahead() + 3);
        let error = train(&gpu, Architecture::Vgg11, steps, &mut loser).unwrap_err().to_string();
        assert!(error.contains("the device was lost") && error.contains(&gpu.adapter().name), "{error}");
        assert!(gpu.allocate(1).is_err(), "every later call fails, too");
    }
}

#[test]
fn the_error_for_a_tensor_beyond_the_adapters_limit_names_both_sizes() {
    let Some(gpu) = open(&Options::default()) else { return };
    let limit = gpu.adapter().limits.tensor;
    let error = gpu.allocate((limit / 4) as usize + 1).unwrap_err().to_string();
    let limit = format!("this adapter's limit is {:.1} MiB", limit as f64 / 1048576.0);
    assert!(error.contains(&limit) && error.contains("a smaller batch fits"), "{error}");
    assert!(gpu.allocate(1000).is_ok(), "the device can still be used");
}
