//! The control of step length: the amplified gradient's length, the plain gradient's direction.

use gradamp_core::amplify::{
    AmplificationSettings, Amplify, LearningRate, Placement, Redraw, Strategy, Through,
};
use gradamp_core::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{LossScaling, TrainSettings, TrainState, Trainer};
use gradamp_core::{Backend, LayerKind, Module, Parameters, Reference, Result, Tape, Tensor, Var};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Noise, assert_resumes, settings, values};

/// Values by the paths of parameters.
type ByPath = Vec<(String, Vec<f64>)>;

/// Two convolutions, with or without batch norm between them, and a linear layer.
struct Chain {
    first: Conv2d,
    norm: Option<BatchNorm2d>,
    relu: Activation,
    second: Conv2d,
    pool: MeanPool2d,
    linear: Linear,
}

impl Chain {
    fn new(parameters: &mut Parameters<Reference>, has_norm: bool) -> Result<Self> {
        let options = || Conv2dOptions::default().with_padding(1);
        Ok(Self {
            first: Conv2d::new(parameters, "first", [2, 5], 3, options())?,
            norm: has_norm.then(|| BatchNorm2d::new(parameters, "norm", 5)).transpose()?,
            relu: Activation::relu("relu"),
            second: Conv2d::new(parameters, "second", [5, 4], 3, options())?,
            pool: MeanPool2d::new("pool"),
            linear: Linear::new(parameters, "linear", [4, 3])?,
        })
    }
}

impl<B: Backend> Module<B> for Chain {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let mut x = self.first.forward(tape, x)?;
        if let Some(norm) = &self.norm {
            x = norm.forward(tape, x)?;
        }
        let x = self.relu.forward(tape, x)?;
        let x = self.second.forward(tape, x)?;
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

fn amplified(through: Through, placement: Placement) -> TrainSettings {
    let amplification = AmplificationSettings::default()
        .with_kinds(vec![LayerKind::Conv, LayerKind::Linear])
        .with_count(Some(2))
        .with_redraw(Redraw::Step)
        .with_factor(3.0)
        .with_placement(placement)
        .with_through(through);
    let sgd = SgdSettings::default().with_momentum(0.9).with_weight_decay(0.0);
    let strategy = Strategy::single(4, LearningRate::constant(0.1), Amplify::on());
    TrainSettings::new(3, strategy, amplification).with_optimizer(sgd.into()).with_gradients_every(0)
}

/// The gradients of the next step from these parameters (by path), the parameters after it, and the state.
fn step(
    has_norm: bool,
    settings: &TrainSettings,
    parameters: &Parameters<Reference>,
    state: &TrainState,
) -> (ByPath, Parameters<Reference>, TrainState) {
    let model = Chain::new(&mut Parameters::new(&Reference, 1), has_norm).unwrap();
    let settings = settings.clone().with_max_steps(Some(state.step + 1));
    // The velocity after the first step of an optimiser is the gradient itself.
    let mut trainer = Trainer::resume(&model, parameters.clone(), state.clone(), IMAGE, settings).unwrap();
    trainer.run(&Noise { poison: None }, &[]).unwrap();
    let snapshot = trainer.snapshot();
    let gradient = |t: &Tensor<Reference>| t.to_vec().unwrap().into_iter().map(f64::from).collect();
    let velocities = snapshot.optimizer.state().into_iter();
    let gradients = velocities.map(|velocity| {
        let path = snapshot.parameters.get(velocity.parameter.unwrap()).path.to_string();
        (path, gradient(velocity.tensor))
    });
    (gradients.collect(), trainer.parameters().clone(), trainer.state().clone())
}

/// All values of the layers that `counts` names, as one vector.
fn vector(gradients: &[(String, Vec<f64>)], counts: impl Fn(&str) -> bool) -> Vec<f64> {
    gradients.iter().filter(|(path, _)| counts(path)).flat_map(|(_, values)| values.clone()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// ‖a‖ / ‖b‖ and the cosine of the angle between the two.
fn compare(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (aa, bb) = (dot(a, a).sqrt(), dot(b, b).sqrt());
    (aa / bb, dot(a, b) / (aa * bb))
}

fn assert_lengths(has_norm: bool, control: &TrainSettings, groups: &[&str]) {
    let with = |through, on: bool| {
        let mut settings = control.clone();
        settings.amplification.through = through;
        if !on {
            settings.strategy.phases[0].amplify = Amplify::Off;
        }
        settings
    };
    let mut parameters = Parameters::new(&Reference, 1);
    Chain::new(&mut parameters, has_norm).unwrap();
    let mut state = TrainState::default();
    let mut effect = 1.0_f64;
    for number in 0..8 {
        let (own, after, next) = step(has_norm, control, &parameters, &state);
        let (large, ..) = step(has_norm, &with(Through::Gradient, true), &parameters, &state);
        let (plain, after_plain, _) = step(has_norm, &with(Through::Gradient, false), &parameters, &state);
        for group in groups {
            let [own, large, plain] =
                [&own, &large, &plain].map(|g| vector(g, |path| path.starts_with(group)));
            if dot(&plain, &plain) == 0.0 {
                continue;
            }
            let (length, _) = compare(&own, &large);
            let (factor, angle) = compare(&own, &plain);
            assert!(
                (length - 1.0).abs() < 1e-5,
                "step {number}, {group:?}: {length} of the amplified length"
            );
            assert!(
                (angle - 1.0).abs() < 1e-10,
                "step {number}, {group:?}: the direction's cosine is {angle}"
            );
            effect = effect.max(factor);
        }
        // Running statistics are moved once.
        for ((_, a), (_, b)) in
            after.iter().zip(after_plain.iter()).filter(|((_, p), _)| !p.role.is_trained())
        {
            assert_eq!(a.value.to_vec().unwrap(), b.value.to_vec().unwrap(), "step {number}, {}", a.path);
        }
        (parameters, state) = (after, next);
    }
    assert!(effect > 1.5, "amplification lengthened nothing: {effect}");
}

#[test]
fn the_controls_gradient_has_the_amplified_length_and_the_plain_direction() {
    for has_norm in [false, true] {
        for placement in [Placement::Output, Placement::Input, Placement::Params] {
            assert_lengths(has_norm, &amplified(Through::StepLength, placement), &[""]);
            let layers = ["first.", "second.", "linear."];
            assert_lengths(has_norm, &amplified(Through::StepLengthPerLayer, placement), &layers);
        }
    }
}

#[test]
fn lengths_are_those_of_true_gradients_under_loss_scaling() {
    let scaling = LossScaling::default().with_initial(1024.0);
    let settings = amplified(Through::StepLength, Placement::Output).with_loss_scaling(Some(scaling));
    assert_lengths(true, &settings, &[""]);
}

#[test]
fn a_run_of_the_control_resumes_in_the_same_bits_on_a_device_that_runs_ahead_too() {
    for through in [Through::StepLength, Through::StepLengthPerLayer] {
        let mut settings = settings();
        settings.amplification.through = through;
        assert_resumes(&Reference, &settings);
        assert_resumes(&Lagging::new(3), &settings);
        let run = |settings| crate::run::train(&Reference, settings, None).unwrap().1;
        let control = run(settings.clone());
        settings.amplification.through = Through::Gradient;
        // In a chain each layer has one gain, and the control by layers is amplification itself.
        let is_same = values(&control) == values(&run(settings));
        assert_eq!(is_same, through == Through::StepLengthPerLayer);
    }
}

/// Weight decay moves the weights by lr · decay · w, whatever a factor acts on.
#[test]
fn neither_amplification_nor_a_control_scales_weight_decay() {
    const DECAY: f32 = 0.05;
    for through in [Through::Gradient, Through::StepLength, Through::StepLengthPerLayer] {
        let after = |weight_decay| {
            let mut settings = amplified(through, Placement::Output).with_max_steps(Some(1));
            settings.optimizer =
                SgdSettings::default().with_momentum(0.0).with_weight_decay(weight_decay).into();
            settings.amplification.factor = 64.0;
            let mut parameters = Parameters::new(&Reference, 1);
            let model = Chain::new(&mut parameters, true).unwrap();
            let begin = parameters.clone();
            let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
            trainer.run(&Noise { poison: None }, &[]).unwrap();
            let trained = |parameters: &Parameters<Reference>| -> Vec<f32> {
                let trained = parameters.iter().filter(|(_, parameter)| parameter.role.is_trained());
                trained.flat_map(|(_, parameter)| parameter.value.to_vec().unwrap()).collect()
            };
            (trained(&begin), trained(trainer.parameters()))
        };
        let ((w, with), (_, without)) = (after(DECAY), after(0.0));
        for ((w, with), without) in w.iter().zip(&with).zip(&without) {
            let (decayed, expected) = (with - without, -0.1 * DECAY * w);
            // The roundings of a weight and of a step that is 64 times as long.
            assert!(
                (decayed - expected).abs() < 1e-6 * (1.0 + without.abs()),
                "{through:?}: {decayed} is not {expected}"
            );
        }
    }
}

#[test]
fn controls_of_earlier_versions_are_refused() {
    for (through, name) in
        [(Through::LearningRate, "learning_rate"), (Through::MeanLearningRate, "mean_learning_rate")]
    {
        let mut parameters = Parameters::new(&Reference, 1);
        let model = Chain::new(&mut parameters, true).unwrap();
        let settings = amplified(through, Placement::Output);
        let error = Trainer::new(&model, parameters, IMAGE, settings).err().unwrap().to_string();
        assert!(error.starts_with(&format!("amplification.through: is \"{name}\"")), "{error}");
    }
}
