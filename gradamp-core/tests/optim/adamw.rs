//! AdamW against PyTorch and against f64, what amplification changes under it, and its state.

use gradamp_core::optim::{AdamW, AdamWSettings, LayerRate, Optimizer, OptimizerSettings, ParameterSet};
use gradamp_core::{Backend, Initial, Parameters, Reference, Role, Tensor};

use crate::planted::{LR, MODEL, bits, gradients, parameters, train_by, trained, values};

/// Four steps of three weights by `torch.optim.AdamW` of PyTorch 2.15.
struct ByPyTorch {
    settings: AdamWSettings,
    rates: [f32; 4],
    weights: [[f32; 3]; 4],
    averages: [[f32; 3]; 2],
}

const GRADIENTS: [[f32; 3]; 4] =
    [[0.1, -0.2, 0.3], [1e-3, 2e-3, -4e-3], [0.0, 0.5, -0.25], [-3.0, 1e-6, 0.125]];

#[expect(clippy::excessive_precision, reason = "the digits that PyTorch prints")]
fn by_pytorch() -> [ByPyTorch; 2] {
    [
        ByPyTorch {
            settings: AdamWSettings::default(),
            rates: [0.1; 4],
            weights: [
                [0.399500012, -1.14874995, 1.898],
                [0.331353575, -1.08134329, 1.83009481],
                [0.278653651, -1.1205759, 1.82999969],
                [0.335028619, -1.15247822, 1.81179035],
            ],
            averages: [
                [-0.292629004, 0.0305820964, 0.0115459999],
                [0.00900997128, 0.000289634132, 0.000167808757],
            ],
        },
        ByPyTorch {
            settings: AdamWSettings::default()
                .with_betas([0.5, 0.75])
                .with_epsilon(0.01)
                .with_weight_decay(0.2),
            rates: [0.1, 0.05, 0.2, 0.025],
            weights: [
                [0.399090916, -1.12976193, 1.86322582],
                [0.372574419, -1.09528661, 1.82101691],
                [0.308545679, -1.19737446, 1.83567464],
                [0.328831762, -1.20199728, 1.82408333],
            ],
            averages: [[-1.49362504, 0.112750493, 0.0182500035], [2.25105476, 0.0510943085, 0.0251194369]],
        },
    ]
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 3e-7 * expected.abs().max(0.05),
            "{what}: {found}, expected {expected}"
        );
    }
}

#[test]
fn steps_and_averages_equal_pytorch_s() {
    for (number, ByPyTorch { settings, rates, weights, averages }) in by_pytorch().into_iter().enumerate() {
        let mut parameters = Parameters::new(&Reference, 1);
        let id = parameters.add("w", Role::LinearWeight, &[3, 1], Initial::Constant(0.0)).unwrap();
        parameters.set(id, &[0.5, -1.25, 2.0]).unwrap();
        let mut adamw = AdamW::new(settings, &parameters).unwrap();
        for (step, (gradient, lr)) in GRADIENTS.iter().zip(rates).enumerate() {
            let gradients = gradients(&mut parameters, &[gradient.to_vec()], 1.0);
            adamw.step(&mut parameters, &gradients, lr).unwrap();
            let found = parameters.get(id).value.to_vec().unwrap();
            assert_close(&found, &weights[step], &format!("case {number}, step {step}"));
        }
        for (name, expected) in ["exp_avg", "exp_avg_sq"].into_iter().zip(averages) {
            let state = Optimizer::<Reference>::state(&adamw);
            let found = state.iter().find(|tensor| tensor.name == name).unwrap().tensor.to_vec().unwrap();
            assert_close(&found, &expected, name);
        }
    }
}

/// AdamW in f64, with all gradients `scale` times [`values`].
fn reference(settings: &AdamWSettings, scale: f64, steps: u64, rate: impl Fn(&str) -> f64) -> Vec<Vec<f64>> {
    let begin = parameters(&Reference);
    let [beta1, beta2] = settings.betas;
    let of = |(place, id): (usize, gradamp_core::ParameterId)| {
        let (path, role, _) = MODEL[id.index()];
        let mut w: Vec<f64> = begin.get(id).value.to_vec().unwrap().into_iter().map(f64::from).collect();
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let decays = !(settings.no_decay.contains(&ParameterSet::Bias) && role == Role::Bias);
        let decay = if decays { f64::from(settings.weight_decay) } else { 0.0 };
        let lr = f64::from(LR) * rate(path);
        let clip = settings.clip_value.map_or(f64::INFINITY, f64::from);
        for t in 1..=steps {
            for (i, g) in values(t - 1)[place].iter().enumerate() {
                let g = (scale * f64::from(*g)).clamp(-clip, clip);
                m[i] = beta1 * m[i] + (1.0 - beta1) * g;
                v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
                let (mean, square) =
                    (m[i] / (1.0 - beta1.powi(t as i32)), v[i] / (1.0 - beta2.powi(t as i32)));
                w[i] -= lr * decay * w[i] + lr * mean / (square.sqrt() + f64::from(settings.epsilon));
            }
        }
        w
    };
    trained(&begin).into_iter().enumerate().map(of).collect()
}

/// The largest difference of any weight.
fn distance<B: Backend>(found: &Parameters<B>, expected: &[Vec<f64>]) -> f64 {
    let of = |(id, expected): (_, &Vec<f64>)| {
        let found = found.get(id).value.to_vec().unwrap();
        found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
    };
    trained(found).into_iter().zip(expected).map(of).fold(0.0, f64::max)
}

#[test]
fn every_setting_acts_as_in_f64() {
    let plain = AdamWSettings::default().with_weight_decay(0.1).with_epsilon(0.05);
    let rates = vec![LayerRate::new("fc.*", 0.5)];
    for (name, settings) in [
        ("plain", plain.clone()),
        ("betas", plain.clone().with_betas([0.5, 0.9])),
        ("no_decay", plain.clone().with_no_decay(vec![ParameterSet::Bias])),
        ("clip_value", plain.clone().with_clip_value(Some(0.2))),
        ("layer_rates", plain.clone().with_layer_rates(rates)),
    ] {
        let slow =
            |path: &str| if !settings.layer_rates.is_empty() && path.starts_with("fc") { 0.5 } else { 1.0 };
        let expected = reference(&settings, 3.0, 4, slow);
        let found = train_by(&Reference, &settings.clone().into(), 4, |_| 3.0);
        assert!(distance(&found, &expected) < 2e-6, "{name}: {:.1e}", distance(&found, &expected));
        let of_plain = reference(&plain, 3.0, 4, |_| 1.0);
        assert_eq!(distance(&found, &of_plain) > 1e-3, name != "plain", "{name} changes nothing");
    }
}

/// A factor that does not change in time cancels, but for epsilon. A factor that is switched on acts.
#[test]
fn amplification_is_invisible_but_for_epsilon_and_for_being_switched() {
    let with = |epsilon| OptimizerSettings::AdamW(AdamWSettings::default().with_epsilon(epsilon));
    let weights = |epsilon, scale: fn(u64) -> f32| {
        let found = train_by(&Reference, &with(epsilon), 5, scale);
        let of = |id| found.get(id).value.to_vec().unwrap().into_iter().map(f64::from).collect();
        trained(&found).into_iter().map(of).collect::<Vec<Vec<f64>>>()
    };
    let off = |a: &[Vec<f64>], b: &[Vec<f64>]| {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let plain = weights(1e-12, |_| 1.0);
    assert!(off(&plain, &weights(1e-12, |_| 64.0)) < 1e-6, "a constant factor cancels");
    assert!(off(&weights(0.1, |_| 1.0), &weights(0.1, |_| 64.0)) > 1e-2, "epsilon shows the factor");
    assert!(
        off(&plain, &weights(1e-12, |step| if step < 2 { 1.0 } else { 64.0 })) > 1e-2,
        "a switched factor acts"
    );
}

/// The state after a step that is not finite is that before, also the count of steps.
#[test]
fn a_skipped_step_does_not_count() {
    let after = |poisoned: bool| {
        let mut parameters = parameters(&Reference);
        let mut adamw = AdamW::new(AdamWSettings::default(), &parameters).unwrap();
        Optimizer::<Reference>::skip_non_finite(&mut adamw, true).unwrap();
        for step in 0..3 {
            if poisoned && step == 1 {
                let mut values = values(9);
                values[0][100] = f32::NAN;
                let gradients = gradients(&mut parameters, &values, 1.0);
                let gate = adamw.step(&mut parameters, &gradients, LR).unwrap().unwrap();
                assert_eq!(gate.to_vec().unwrap()[2], 0.0, "the step is skipped");
            }
            let gradients = gradients(&mut parameters, &values(step), 1.0);
            adamw.step(&mut parameters, &gradients, LR).unwrap();
        }
        bits(&parameters)
    };
    assert_eq!(after(true), after(false));
}

#[test]
fn a_state_that_is_not_its_own_is_refused() {
    let parameters = parameters(&Reference);
    let mut adamw = AdamW::new(AdamWSettings::default(), &parameters).unwrap();
    let id = trained(&parameters)[0];
    let tensor = || Tensor::full(&Reference, &[2, 2], 0.0).unwrap();
    let error = |adamw: &mut AdamW<Reference>, name: &str, parameter| {
        adamw.restore(&parameters, name, parameter, tensor()).unwrap_err().to_string()
    };
    let shape = error(&mut adamw, "exp_avg", Some(id));
    assert!(shape.contains("conv.weight") && shape.contains("expects exp_avg of shape"), "{shape}");
    assert!(error(&mut adamw, "momentum", Some(id)).contains("AdamW has no state called `momentum`"));
    assert!(error(&mut adamw, "corrections", None).contains("2 `corrections`"));
}

#[test]
fn settings_out_of_range_name_their_field() {
    for (field, settings) in [
        ("betas[0]", AdamWSettings::default().with_betas([1.0, 0.9])),
        ("betas[1]", AdamWSettings::default().with_betas([0.9, f64::NAN])),
        ("epsilon", AdamWSettings::default().with_epsilon(0.0)),
        ("weight_decay", AdamWSettings::default().with_weight_decay(-0.1)),
        ("clip_norm", AdamWSettings::default().with_clip_norm(Some(0.0))),
    ] {
        match settings.check() {
            Err(gradamp_core::Error::Setting { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}
