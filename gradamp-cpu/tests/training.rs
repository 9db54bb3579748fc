//! Training on the CPU backend, compared with the reference backend; and its memory after the first steps.

#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use gradamp_core::amplify::{Amplify, LearningRate, Strategy};
use gradamp_core::backend::{Device, Precision};
use gradamp_core::conformance::agreement::FirstStep;
use gradamp_core::nn::ActivationFunction;
use gradamp_core::optim::{
    AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, Optimizer, Sgd, SgdSettings,
};
use gradamp_core::train::{Control, EpochReport, Observer, SiteSignals, Snapshot, TrainSettings, Trainer};
use gradamp_core::{Backend, BatchSource, Hooks, Module, Parameters, Reference, Tape, ops};
use gradamp_cpu::{Cpu, Isa};
use gradamp_data::{DataSettings, Loader, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};

const SEED: u64 = 5;

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

fn model<B: Backend>(backend: &B, architecture: Architecture) -> (Model, Parameters<B>) {
    let mut parameters = Parameters::new(backend, SEED);
    let settings = ModelSettings::new(architecture).with_width(2);
    (Model::new(&settings, &mut parameters).unwrap(), parameters)
}

/// A model of 16 channels in its first stage.
fn wider_model<B: Backend>(backend: &B, architecture: Architecture) -> (Model, Parameters<B>) {
    let mut parameters = Parameters::new(backend, SEED);
    let settings = ModelSettings::new(architecture).with_width(16);
    (Model::new(&settings, &mut parameters).unwrap(), parameters)
}

/// Tries several batches, since a rectifier's input may be so close to 0 that rounding decides its sign; see
/// [`FirstStep::switched`].
#[test]
fn first_gradients_agree_with_those_of_the_reference_backend() {
    let cpu = Cpu::default();
    let source = loader(32, 4);
    for architecture in [Architecture::ResNet18, Architecture::Vgg11] {
        let (on_cpu, expected) = (model(&cpu, architecture), model(&Reference, architecture));
        let batches = source.epoch(&cpu, 0, 0).unwrap().zip(source.epoch(&Reference, 0, 0).unwrap());
        let mut steps = batches.map(|(a, b)| {
            let found = FirstStep::compute(&on_cpu.0, &on_cpu.1, &a.unwrap()).unwrap();
            let expected = FirstStep::compute(&expected.0, &expected.1, &b.unwrap()).unwrap();
            (found.switched(&expected), found.differences(&expected))
        });
        let (_, layers) = steps.find(|(switched, _)| *switched == 0).unwrap();
        for layer in &layers {
            assert!(layer.worst_gradient() < 1e-4 && layer.activation < 1e-4, "{architecture}: {layer:?}");
        }
        assert!(layers.iter().any(|layer| layer.activation > 0.0), "both sum in the same order");
    }
}

/// In mixed precision, the activations of a first step are those of f32 up to the rounding of factors to bf16, and so is the gradient of
/// the last layer. Below, a rectifier that rounding switches changes single gradients by their whole value.
#[test]
fn mixed_precision_changes_activations_little() {
    let isa = Isa::ALL.into_iter().rev().find(|isa| isa.has_mixed()).unwrap();
    let (exact, mixed) = (Cpu::default(), Cpu::with_precision(2, isa, Precision::Mixed).unwrap());
    let source = loader(64, 64);
    for architecture in [Architecture::ResNet18, Architecture::Vgg11] {
        let (on_mixed, expected) = (wider_model(&mixed, architecture), wider_model(&exact, architecture));
        let mut batches = source.epoch(&mixed, 0, 0).unwrap().zip(source.epoch(&exact, 0, 0).unwrap());
        let (a, b) = batches.next().unwrap();
        let found = FirstStep::compute(&on_mixed.0, &on_mixed.1, &a.unwrap()).unwrap();
        let expected = FirstStep::compute(&expected.0, &expected.1, &b.unwrap()).unwrap();
        let layers = found.differences(&expected);
        assert!(layers.iter().all(|layer| layer.activation < 0.05), "{architecture}: {layers:?}");
        assert!(layers.iter().any(|layer| layer.activation > 1e-4), "{architecture} is not rounded");
        let last = layers.last().unwrap();
        assert!(last.worst_gradient() < 0.05, "{architecture}: {last:?}");
    }
}

/// Settings that together switch on every option: LARS excludes clipping by value and normalisation.
fn optimisers() -> [SgdSettings; 4] {
    let all = SgdSettings::default()
        .with_weight_decay(0.1)
        .with_centralise(true)
        .with_clip_norm(Some(4.0))
        .with_clip_value(Some(0.4))
        .with_adaptive_clip(Some(
            AdaptiveClip::default().with_limit(1.5).with_epsilon(0.5).with_last_linear(false),
        ))
        .with_noise(Some(GradientNoise::default().with_eta(0.1).with_gamma(0.3)))
        .with_layer_rates(vec![LayerRate::new("**.bias", 0.5)]);
    let lars = Some(Lars::default().with_trust(0.2));
    let normalised = |method| all.clone().with_normalise(Some(method));
    [
        normalised(Normalise::Block),
        normalised(Normalise::ZScore),
        normalised(Normalise::Autoscale),
        all.with_clip_value(None).with_lars(lars),
    ]
}

/// Takes steps of SGD on one batch and calls `after_step` after each.
fn train<B: Backend>(
    backend: &B,
    settings: SgdSettings,
    steps: usize,
    mut after_step: impl FnMut(&Parameters<B>),
) {
    let (model, mut parameters) = model(backend, Architecture::Vgg11);
    let batch = loader(4, 4).epoch(backend, 0, 0).unwrap().next().unwrap().unwrap();
    let mut sgd = Sgd::new(settings, &parameters).unwrap();
    for _ in 0..steps {
        let mut tape = Tape::train(&mut parameters);
        let x = tape.constant(batch.images.clone());
        let logits = model.forward(&mut tape, x).unwrap();
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &batch.labels, 0.0).unwrap();
        let gradients = tape.backward(&loss.mean, &Hooks::new()).unwrap();
        sgd.step(&mut parameters, &gradients, 0.1).unwrap();
        after_step(&parameters);
    }
}

#[test]
fn a_step_with_every_option_of_the_optimiser_agrees_with_the_reference_backend() {
    for settings in optimisers() {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        let values = |out: &mut Vec<Vec<f32>>, value: Vec<f32>| out.push(value);
        train(&Cpu::default(), settings.clone(), 1, |parameters| {
            parameters.iter().for_each(|(_, p)| values(&mut found, p.value.to_vec().unwrap()));
        });
        train(&Reference, settings, 1, |parameters| {
            parameters.iter().for_each(|(_, p)| values(&mut expected, p.value.to_vec().unwrap()));
        });
        for (found, expected) in found.iter().zip(&expected) {
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let size = expected.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
            assert!(off < 1e-4 * size, "{off} of {size}");
        }
    }
}

#[test]
fn after_the_first_steps_no_option_of_the_optimiser_takes_memory_from_the_system() {
    let cpu = Cpu::default();
    for settings in optimisers() {
        let mut counts = Vec::new();
        train(&cpu, settings, 6, |_| counts.push(cpu.fresh_allocations().unwrap()));
        assert_eq!(counts[5], counts[1]);
    }
}

/// The signals of the first epoch of a sigmoid network, whose first step is measured.
fn signals<B: Backend>(backend: &B) -> Vec<(String, SiteSignals)> {
    struct Keep(Vec<(String, SiteSignals)>);
    impl<B: Backend> Observer<B> for Keep {
        fn on_epoch(&mut self, report: &EpochReport, _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
            let found = report.gradients.iter().cloned();
            self.0 = found.map(|gradient| (gradient.site, gradient.signals.unwrap())).collect();
            Ok(Control::Continue)
        }
    }
    let mut parameters = Parameters::new(backend, SEED);
    let settings = ModelSettings::new(Architecture::Mlp)
        .with_width(24)
        .with_depth(3)
        .with_activation(ActivationFunction::Sigmoid);
    let model = Model::new(&settings, &mut parameters).unwrap();
    let strategy = Strategy::single(1, LearningRate::constant(0.1), Amplify::Off);
    let settings = TrainSettings::new(SEED, strategy, Default::default()).with_signals(true);
    let mut keep = Keep(Vec::new());
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings).unwrap();
    trainer.observe(&mut keep);
    trainer.run(&loader(16, 8), &[]).unwrap();
    drop(trainer);
    keep.0
}

#[test]
fn signals_agree_with_those_of_the_reference_backend() {
    let (found, expected) = (signals(&Cpu::default()), signals(&Reference));
    assert_eq!(found.len(), expected.len());
    for ((site, found), (_, expected)) in found.iter().zip(&expected) {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs() + 1e-6;
        let both = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => close(a, b),
            (a, b) => a == b,
        };
        assert!(close(found.output_mean, expected.output_mean), "{site}: {found:?} {expected:?}");
        assert!(close(found.output_deviation, expected.output_deviation), "{site}: {found:?} {expected:?}");
        for (a, b) in [
            (found.saturated, expected.saturated),
            (found.gradient_square, expected.gradient_square),
            (found.gradient_variance, expected.gradient_variance),
            (found.angular_update, expected.angular_update),
        ] {
            assert!(both(a, b), "{site}: {found:?} {expected:?}");
        }
    }
    assert!(expected.iter().any(|(_, signals)| signals.angular_update.is_some_and(|angle| angle > 0.0)));
}
