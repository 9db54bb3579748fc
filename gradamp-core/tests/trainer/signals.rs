//! Forward signals, gradient noise and angular updates, compared with f64.

use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Strategy};
use gradamp_core::nn::{Activation, ActivationFunction, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::train::{SiteSignals, TrainSettings, Trainer};
use gradamp_core::{
    Backend, Batch, BatchSource, Error, Hooks, Initialisation, LayerKind, Module, Parameters, Reference,
    Result, Tape, Tensor, Var, ops,
};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Log, Noise, assert_resumes, settings, train, values};

/// Convolutions with each kind of activation, whose initial weights are large enough to saturate some units.
struct Curved {
    conv: [Conv2d; 3],
    activations: [Activation; 3],
    pool: MeanPool2d,
    linear: Linear,
}

fn curved<B: Backend>(backend: &B) -> (Curved, Parameters<B>) {
    let initialisation = Initialisation::default().with_gain(8.0);
    let mut parameters = Parameters::new(backend, 1).with_initialisation(initialisation);
    let mut conv = |path: &str, channels| {
        let options = Conv2dOptions::default().with_padding(1);
        Conv2d::new(&mut parameters, path, channels, 3, options).unwrap()
    };
    let conv = [conv("conv1", [2, 5]), conv("conv2", [5, 7]), conv("conv3", [7, 3])];
    let linear = Linear::new(&mut parameters, "linear", [3, 3]).unwrap();
    let activations = [
        Activation::new("tanh", ActivationFunction::Tanh),
        Activation::new("sigmoid", ActivationFunction::Sigmoid),
        Activation::new("relu", ActivationFunction::Relu),
    ];
    (Curved { conv, activations, pool: MeanPool2d::new("pool"), linear }, parameters)
}

impl<B: Backend> Module<B> for Curved {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let mut x = x;
        for (conv, activation) in self.conv.iter().zip(&self.activations) {
            x = conv.forward(tape, x)?;
            x = activation.forward(tape, x)?;
        }
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

fn wide(tensor: &Tensor<Reference>) -> Vec<f64> {
    tensor.to_vec().unwrap().into_iter().map(f64::from).collect()
}

fn square(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

fn mean(x: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = x.len() as f64;
    x.sum::<f64>() / count
}

/// What the first `rows` examples of the first batch give: each site's output, and each parameter's gradient.
struct Twin {
    outputs: Vec<(String, LayerKind, Vec<f64>)>,
    gradients: Vec<(String, Vec<f64>)>,
    rows: usize,
}

impl Twin {
    fn new(rows: usize) -> Self {
        let (model, mut parameters) = curved(&Reference);
        let batch = first_batch();
        let beginning = |tensor: &Tensor<Reference>| {
            let values = tensor.to_vec().unwrap();
            let mut shape = tensor.shape().to_vec();
            let each = values.len() / shape[0];
            shape[0] = rows;
            Tensor::from_slice(&Reference, &shape, &values[..each * rows]).unwrap()
        };
        let mut outputs = Vec::new();
        let mut tape = Tape::train(&mut parameters).with_probe(Box::new(|site, y| {
            outputs.push((site.path.to_string(), site.kind, wide(y)));
            Ok(())
        }));
        let x = tape.constant(beginning(&batch.images));
        let logits = model.forward(&mut tape, x).unwrap();
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &beginning(&batch.labels), 0.0).unwrap();
        let gradients = tape.backward(&loss.mean, &Hooks::new()).unwrap();
        let mut of_parameters = Vec::new();
        for (id, parameter) in parameters.iter() {
            let gradient = gradients.parameter(id).unwrap();
            let scale = f64::from(gradient.scale());
            let values = wide(gradient.unscaled().unwrap()).iter().map(|g| g * scale).collect();
            of_parameters.push((parameter.path.to_string(), values));
        }
        Self { outputs, gradients: of_parameters, rows }
    }

    /// The gradient of a layer's parameters as one vector.
    fn of_layer(&self, site: &str) -> Vec<f64> {
        let owned = self.gradients.iter().filter(|(path, _)| path.starts_with(&format!("{site}.")));
        owned.flat_map(|(_, gradient)| gradient.clone()).collect()
    }
}

fn first_batch() -> Batch<Reference> {
    Noise { poison: None }.epoch(&Reference, 0, 0).unwrap().next().unwrap().unwrap()
}

/// One epoch of three steps, of which the first is measured.
fn one_epoch(lr: f64, amplify: Amplify) -> TrainSettings {
    let strategy = Strategy::single(1, LearningRate::constant(lr), amplify);
    let kinds = vec![LayerKind::Tanh, LayerKind::Sigmoid];
    let amplification = AmplificationSettings::default().with_kinds(kinds).with_factor(4.0);
    TrainSettings::new(3, strategy, amplification).with_gradients_every(3).with_signals(true)
}

fn measured(settings: TrainSettings) -> Vec<(String, SiteSignals)> {
    let (model, parameters) = curved(&Reference);
    let mut log = Log::new(None);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.observe(&mut log);
    trainer.run(&Noise { poison: None }, &[]).unwrap();
    drop(trainer);
    let gradients = log.epochs.remove(0).gradients;
    gradients.into_iter().map(|gradient| (gradient.site, gradient.signals.unwrap())).collect()
}

fn assert_close(found: f64, expected: f64, relative: f64, what: &str) {
    assert!(
        (found - expected).abs() <= relative * expected.abs() + 1e-12,
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn forward_signals_are_those_of_the_first_half_of_the_batch() {
    let twin = Twin::new(4);
    let found = measured(one_epoch(0.1, Amplify::Off));
    assert_eq!(found.len(), twin.outputs.len());
    for ((site, kind, y), (path, signals)) in twin.outputs.iter().zip(&found) {
        assert_eq!(site, path);
        assert_close(signals.output_mean, mean(y.iter().copied()), 1e-4, site);
        let units = y.len() / twin.rows;
        let variance = |unit: usize| {
            let over: Vec<f64> = y.iter().skip(unit).step_by(units).copied().collect();
            let middle = mean(over.iter().copied());
            mean(over.iter().map(|y| (y - middle).powi(2)))
        };
        assert_close(signals.output_deviation, mean((0..units).map(variance)).sqrt(), 1e-5, site);
        let is_saturated: Option<fn(f64) -> bool> = match kind {
            LayerKind::Tanh => Some(|y| y.abs() > 0.97),
            LayerKind::Sigmoid => Some(|y| (2.0 * y - 1.0).abs() > 0.97),
            LayerKind::Relu => Some(|y| y == 0.0),
            _ => None,
        };
        let share = is_saturated.map(|is| mean(y.iter().map(|y| f64::from(u8::from(is(*y))))));
        match (signals.saturated, share) {
            (Some(found), Some(expected)) => {
                assert_close(found, expected, 1e-6, site);
                assert!((0.01..0.99).contains(&found), "{site}: {found} tells nothing");
            }
            (found, expected) => assert_eq!(found, expected, "{site}"),
        }
    }
}

#[test]
fn noise_is_the_distance_between_the_batchs_gradient_and_its_halfs() {
    let (whole, half) = (Twin::new(8), Twin::new(4));
    let plain = measured(one_epoch(0.1, Amplify::Off));
    let amplified = measured(one_epoch(0.1, Amplify::on()));
    for ((site, signals), (_, amplified)) in plain.iter().zip(&amplified) {
        let (g, h) = (whole.of_layer(site), half.of_layer(site));
        assert_eq!(signals.gradient_square.is_none(), g.is_empty(), "{site}");
        let (Some(found), false) = (signals.gradient_square, g.is_empty()) else { continue };
        let distance: Vec<f64> = g.iter().zip(&h).map(|(g, h)| h - g).collect();
        assert_close(found, square(&g), 1e-4, site);
        // n / m − 1 is 1.
        assert_close(signals.gradient_variance.unwrap(), square(&distance), 1e-4, site);
        let ratio = square(&g) / square(&distance) - 1.0;
        assert!((signals.signal_to_noise().unwrap() - ratio).abs() < 1e-3 * (1.0 + ratio.abs()), "{site}");
        // Amplification multiplies signal and noise alike.
        let other = amplified.signal_to_noise().unwrap();
        assert!((other - ratio).abs() < 1e-3 * (1.0 + ratio.abs()), "{site}: {other} {ratio}");
    }
    let first = |signals: &[(String, SiteSignals)]| signals[0].1.gradient_square.unwrap();
    assert_close(first(&amplified), 256.0 * first(&plain), 1e-4, "two factors of 4");
}

#[test]
fn the_angular_update_is_the_angle_between_the_weights_before_and_after() {
    for (lr, relative) in [(0.5, 1e-4), (1e-3, 1e-4), (1e-5, 1e-2)] {
        let (model, parameters) = curved(&Reference);
        let before: Vec<(String, Vec<f64>)> =
            parameters.iter().map(|(_, p)| (p.path.to_string(), wide(&p.value))).collect();
        let settings = one_epoch(lr, Amplify::Off);
        let mut one =
            Trainer::new(&model, parameters, IMAGE, settings.clone().with_max_steps(Some(1))).unwrap();
        one.run(&Noise { poison: None }, &[]).unwrap();
        let after: Vec<Vec<f64>> = one.parameters().iter().map(|(_, p)| wide(&p.value)).collect();
        let mut compared = 0;
        for (site, signals) in measured(settings) {
            let owned = |path: &str| path.starts_with(&format!("{site}."));
            let all = before.iter().zip(&after).filter(|((path, _), _)| owned(path));
            let (w, next): (Vec<f64>, Vec<f64>) =
                all.flat_map(|((_, a), b)| a.iter().copied().zip(b.iter().copied())).unzip();
            assert_eq!(signals.angular_update.is_none(), w.is_empty(), "{site}");
            let Some(found) = signals.angular_update else { continue };
            // By half the angle, which is exact for small ones: 2 · asin(‖a − b‖ / 2) of the unit vectors a and b.
            let (before, after) = (square(&w).sqrt(), square(&next).sqrt());
            let apart: Vec<f64> = w.iter().zip(&next).map(|(a, b)| a / before - b / after).collect();
            assert_close(
                found,
                2.0 * (square(&apart).sqrt() / 2.0).asin(),
                relative,
                &format!("{site} at {lr}"),
            );
            compared += 1;
        }
        assert_eq!(compared, 4);
    }
}

#[test]
fn signals_change_no_bit_of_a_run_and_survive_a_resume() {
    let on = settings().with_signals(true);
    for lag in [0, 2] {
        let backend = Lagging::new(lag);
        let (mut with, parameters, _) = train(&backend, on.clone(), None).unwrap();
        let (without, expected, _) = train(&backend, settings(), None).unwrap();
        assert_eq!(values(&parameters), values(&expected));
        assert_eq!(with.steps, without.steps);
        for gradient in with.epochs.iter_mut().flat_map(|epoch| &mut epoch.gradients) {
            assert!(gradient.signals.take().is_some(), "{}", gradient.site);
        }
        assert_eq!(with.epochs, without.epochs);
    }
    assert_resumes(&Lagging::new(2), &on);
}

#[test]
fn signals_without_measured_gradients_are_refused() {
    let wrong = settings().with_signals(true).with_gradients_every(0);
    let error = train(&Reference, wrong, None).err().unwrap();
    assert!(matches!(&error, Error::Setting { field, .. } if field == "signals"), "{error}");
}
