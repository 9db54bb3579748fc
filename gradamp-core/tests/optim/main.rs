//! The methods that change gradients before SGD's step, compared with f64 and with NumPy.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

mod adamw;
mod normalise;
mod not_finite;
mod planted;
mod reference;
mod settings;

use gradamp_core::backend::{OptimizerKernels, SgdSlot, SgdStep};
use gradamp_core::optim::{
    AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, Optimizer, ParameterSet, Sgd, SgdSettings,
};
use gradamp_core::{Backend, Initial, Parameters, Reference, Role, Tensor};
use proptest::prelude::*;

use planted::{LR, bits, gradients, parameters, trained, values};
use reference::{ORDER, Stage};

/// Each method alone, with momentum and weight decay.
pub fn alone() -> Vec<(&'static str, SgdSettings)> {
    let plain = SgdSettings::default().with_weight_decay(0.1);
    let clip = AdaptiveClip::default().with_limit(0.3).with_epsilon(0.05).with_last_linear(false);
    let lars = Lars::default().with_trust(0.2);
    vec![
        ("plain", plain.clone()),
        ("centralise", plain.clone().with_centralise(true)),
        ("block", plain.clone().with_normalise(Some(Normalise::Block))),
        ("z_score", plain.clone().with_normalise(Some(Normalise::ZScore))),
        ("autoscale", plain.clone().with_normalise(Some(Normalise::Autoscale))),
        ("adaptive_clip", plain.clone().with_adaptive_clip(Some(clip.clone()))),
        (
            "adaptive_clip of all",
            plain.clone().with_adaptive_clip(Some(clip.with_last_linear(true))).with_nesterov(true),
        ),
        ("noise", plain.clone().with_noise(Some(GradientNoise::default().with_eta(0.3).with_gamma(0.55)))),
        ("lars", plain.clone().with_lars(Some(lars.clone())).with_no_decay(vec![ParameterSet::Bias])),
        ("lars of all", plain.clone().with_lars(Some(lars.with_exclude(Vec::new())))),
        ("layer_rates", plain.with_layer_rates(rates())),
    ]
}

fn rates() -> Vec<LayerRate> {
    let rate = |paths: &str, lr| LayerRate::new(paths, lr);
    vec![rate("**.bias", 0.5), rate("block.**", 3.0), rate("fc.*", 0.25), rate("bn.bias", 0.0)]
}

/// The rate that [`rates`] give a parameter, written out without globs.
fn rate_of(path: &str) -> f64 {
    match path {
        "conv.bias" | "hidden.bias" => 0.5,
        "block.0.conv.weight" => 3.0,
        "fc.weight" | "fc.bias" => 0.25,
        "bn.bias" => 0.0,
        _ => 1.0,
    }
}

/// Settings that together switch on every method: LARS excludes clipping by value and normalisation.
pub fn together() -> [SgdSettings; 4] {
    let all = SgdSettings::default()
        .with_weight_decay(0.1)
        .with_no_decay(vec![ParameterSet::BatchNorm])
        .with_centralise(true)
        .with_clip_norm(Some(4.0))
        .with_clip_value(Some(0.4))
        .with_adaptive_clip(Some(
            AdaptiveClip::default().with_limit(1.5).with_epsilon(0.5).with_last_linear(false),
        ))
        .with_noise(Some(GradientNoise::default().with_eta(0.1).with_gamma(0.3)))
        .with_layer_rates(rates());
    let lars = Some(Lars::default().with_trust(0.2));
    let normalised = |method| all.clone().with_normalise(Some(method));
    [
        normalised(Normalise::Block),
        normalised(Normalise::ZScore),
        normalised(Normalise::Autoscale),
        all.with_clip_value(None).with_lars(lars),
    ]
}

/// The largest difference of any parameter's values, relative to the largest change of this parameter since the beginning.
fn distance<B: Backend>(found: &Parameters<B>, expected: &[Vec<f64>]) -> f64 {
    let begin = parameters(found.backend());
    let relative = |(id, expected): (_, &Vec<f64>)| {
        let [begin, found] = [&begin, found].map(|parameters| parameters.get(id).value.to_vec().unwrap());
        let largest = |differences: &mut dyn Iterator<Item = f64>| differences.fold(0.0, f64::max);
        let change = largest(&mut begin.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()));
        let off = largest(&mut found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()));
        if off == 0.0 { 0.0 } else { off / change }
    };
    trained(found).into_iter().zip(expected).map(relative).fold(0.0, f64::max)
}

/// Takes three steps with gradients amplified by 3.
fn assert_equals_reference(name: &str, settings: &SgdSettings) {
    let rate = |path: &str| if settings.layer_rates.is_empty() { 1.0 } else { rate_of(path) };
    let expected = reference::train(settings, 3.0, 3, &ORDER, rate);
    let off = distance(&planted::train(&Reference, settings, 3.0, 3), &expected);
    assert!(off < 1e-5, "{name}: {off:.1e}");
}

#[test]
fn each_method_equals_its_reference() {
    let alone = alone();
    let plain = reference::train(&alone[0].1, 3.0, 3, &ORDER, |_| 1.0);
    for (i, (name, settings)) in alone.iter().enumerate() {
        assert_equals_reference(name, settings);
        let changes = distance(&planted::train(&Reference, settings, 3.0, 3), &plain) > 0.01;
        assert_eq!(changes, i > 0, "{name}");
    }
}

#[test]
fn all_together_act_in_the_documented_order() {
    for settings in together() {
        assert_equals_reference("together", &settings);
        let found = planted::train(&Reference, &settings, 3.0, 3);
        for i in 0..ORDER.len() - 1 {
            let mut order = ORDER;
            order.swap(i, i + 1);
            let idle = |stage| match stage {
                Stage::Normalise => settings.normalise.is_none(),
                Stage::ClipValue => settings.clip_value.is_none(),
                Stage::Lars => settings.lars.is_none(),
                _ => false,
            };
            // Amplification and centralisation may change places, since a mean is linear. Any other exchange must change the result.
            if order[1] == Stage::Amplify || idle(order[i]) || idle(order[i + 1]) {
                continue;
            }
            let off = distance(&found, &reference::train(&settings, 3.0, 3, &order, rate_of));
            assert!(off > 1e-3, "{ORDER:?} and {order:?} give the same result: {off:.1e}");
        }
        let mut late = ORDER;
        late[..4].rotate_left(1);
        let off = distance(&found, &reference::train(&settings, 3.0, 3, &late, rate_of));
        assert!(off > 1e-3, "amplification after adaptive clipping gives the same result: {off:.1e}");
    }
}

/// How much one step of lr 1 without momentum decreases each weight of a linear layer `[3, 3]`, which is not the last one.
fn decreases(settings: SgdSettings) -> Vec<f32> {
    const W: [f32; 9] = [0.5, -0.0005, 1.0, 0.25, 0.0002, -2.0, -0.125, 0.0001, 0.5];
    const G: [f32; 9] = [3.0, 0.02, 0.004, -1.0, -0.01, 0.002, 2.5, 0.04, -0.006];
    let mut parameters = Parameters::new(&Reference, 0);
    let zero = Initial::Constant(0.0);
    let id = parameters.add("first.weight", Role::LinearWeight, &[3, 3], zero).unwrap();
    parameters.add("last.weight", Role::LinearWeight, &[1, 1], zero).unwrap();
    parameters.set(id, &W).unwrap();
    // Each gradient is its values times 4.
    let gradients = gradients(&mut parameters, &[G.map(|g| g / 4.0).to_vec(), vec![1.0]], 4.0);
    let mut sgd = Sgd::new(settings.with_momentum(0.0), &parameters).unwrap();
    sgd.step(&mut parameters, &gradients, 1.0).unwrap();
    parameters.get(id).value.to_vec().unwrap().iter().zip(W).map(|(after, before)| before - after).collect()
}

/// The expected values are NumPy's in f64, with w and g as in [`decreases`]:
///
/// - `g - g.mean(axis=0)`
/// - `mx = 0.01 * np.maximum(wn, 1e-3); np.where(gn > mx, g * (mx / np.maximum(gn, 1e-6)), g)` with
///   `wn, gn = (np.sqrt((x**2).sum(axis=0)) for x in (w, g))`: one unit clipped by its weights, one by epsilon, one left
/// - `g / np.linalg.norm(g)`, `(g - g.mean()) / g.std()`, and `(g - g.mean()) / np.sqrt(((g - g.mean())**2).sum() / 10)`,
///   since the last layer has one more weight, whose gradient is its own mean
/// - `r = 0.001 * wn / (gn + 0.05 * wn + 1e-8); r * (g + 0.05 * w)` with `wn, gn = map(np.linalg.norm, (w, g))`
#[test]
fn each_method_equals_numpy() {
    let bare = SgdSettings::default().with_weight_decay(0.0);
    let normalised = |method| bare.clone().with_normalise(Some(method));
    let cases: [(SgdSettings, [f64; 9]); 6] = [
        (
            bare.clone().with_centralise(true),
            [1.5, 0.00333333333, 0.004, -2.5, -0.0266666667, 0.002, 1.0, 0.0233333333, -0.006],
        ),
        (
            bare.clone().with_adaptive_clip(Some(AdaptiveClip::default())),
            [
                0.0042629892,
                4.3643578e-06,
                0.004,
                -0.0014209964,
                -2.1821789e-06,
                0.002,
                0.003552491,
                8.72871561e-06,
                -0.006,
            ],
        ),
        (
            normalised(Normalise::Block),
            [
                0.744159043,
                0.00496106017,
                0.000992212104,
                -0.248053014,
                -0.00248053009,
                0.000496106052,
                0.620132536,
                0.00992212035,
                -0.0014883181,
            ],
        ),
        (
            normalised(Normalise::ZScore),
            [
                2.00345113,
                -0.389981355,
                -0.402831999,
                -1.20920992,
                -0.414076312,
                -0.404438329,
                1.60186849,
                -0.37391805,
                -0.410863652,
            ],
        ),
        (
            normalised(Normalise::Autoscale),
            [
                2.11182291,
                -0.411076442,
                -0.42462221,
                -1.27461917,
                -0.436474758,
                -0.426315431,
                1.68851765,
                -0.394144232,
                -0.433088316,
            ],
        ),
        (
            bare.with_lars(Some(Lars::default())).with_weight_decay(0.05),
            [
                0.00172177005,
                1.13693741e-05,
                3.07357298e-05,
                -0.000562065429,
                -5.68611001e-06,
                -5.57796577e-05,
                0.00141939308,
                2.27700531e-05,
                1.08144234e-05,
            ],
        ),
    ];
    for (settings, expected) in cases {
        for (found, expected) in decreases(settings.clone()).into_iter().zip(expected) {
            // The limit is half a rounding of a weight of up to 2, plus the roundings of the step itself.
            let off = (f64::from(found) - expected).abs();
            assert!(off < 1.3e-7 + 1e-6 * expected.abs(), "{found} is not {expected}: {settings:?}");
        }
    }
    let noise = GradientNoise::default().with_eta(0.3).with_gamma(0.55);
    for (t, expected) in [(0, 0.5477225575051661), (9, 0.29077738553390564), (999, 0.08195220201864631)] {
        // np.sqrt(0.3 / (1 + t) ** 0.55)
        assert!((f64::from(noise.deviation(t)) - expected).abs() < 1e-7, "{t}");
    }
}

#[test]
fn a_step_without_methods_is_one_call_of_the_kernel() {
    let settings = SgdSettings::default().with_momentum(0.0);
    let found = planted::train(&Reference, &settings, 3.0, 1);
    let mut expected = parameters(&Reference);
    for (id, values) in trained(&expected).into_iter().zip(values(0)) {
        let gradient = Tensor::from_slice(&Reference, &[values.len()], &values).unwrap();
        let step = SgdStep {
            lr: LR,
            momentum: 0.0,
            weight_decay: settings.weight_decay,
            nesterov: false,
            gradient_scale: 3.0,
            clip_value: f32::INFINITY,
        };
        let parameter = expected.get_mut(id).value.buffer_mut().unwrap();
        let len = values.len();
        Reference
            .sgd(SgdSlot { step, len, gradient: gradient.buffer(), gate: None, velocity: None, parameter })
            .unwrap();
    }
    assert_eq!(bits(&found), bits(&expected));
}

#[test]
fn noise_has_its_variance_and_differs_between_parameters_steps_and_seeds() {
    let noise = |seed, step| {
        let mut parameters = Parameters::new(&Reference, 0);
        for path in ["a.weight", "b.weight"] {
            parameters.add(path, Role::LinearWeight, &[150, 101], Initial::Constant(0.0)).unwrap();
        }
        let gradients = gradients(&mut parameters, &[vec![0.0; 15150], vec![0.0; 15150]], 8.0);
        let noise = Some(GradientNoise::default().with_eta(0.3).with_gamma(0.55));
        let mut sgd = Sgd::new(SgdSettings::default().with_noise(noise), &parameters).unwrap();
        sgd.count_from(seed, step);
        sgd.step(&mut parameters, &gradients, 1.0).unwrap();
        [0, 1].map(|i| parameters.iter().nth(i).unwrap().1.value.to_vec().unwrap())
    };
    let streams: Vec<Vec<f32>> =
        [noise(1, 0), noise(2, 0), noise(1, 9), noise(1, 10)].into_iter().flatten().collect();
    for (i, deviation) in [(0, 0.547_722_6), (1, 0.547_722_6), (4, 0.290_777_4)] {
        let variance = streams[i].iter().map(|n| f64::from(n * n)).sum::<f64>() / streams[i].len() as f64;
        assert!((variance.sqrt() / deviation - 1.0).abs() < 0.02, "{i}: {variance}");
    }
    for (i, a) in streams.iter().enumerate() {
        for b in &streams[..i] {
            let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let correlation = product(a, b) / (product(a, a) * product(b, b)).sqrt();
            assert!(correlation.abs() < 0.04, "{correlation}");
        }
    }
    assert_eq!(noise(1, 9), noise(1, 9));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// With any scale, no unit changes by more than its limit.
    #[test]
    fn no_scale_gets_past_adaptive_clipping(scale in -1e6f32..1e6, limit in 0.01f32..1.0) {
        let bare = SgdSettings::default().with_momentum(0.0).with_weight_decay(0.0);
        let clip = AdaptiveClip::default().with_limit(limit).with_epsilon(1e-3).with_last_linear(true);
        let clipped = bare.with_adaptive_clip(Some(clip));
        let (begin, end) = (parameters(&Reference), planted::train(&Reference, &clipped, scale, 1));
        let id = begin.find("hidden.weight").unwrap();
        let [begin, end] = [begin, end].map(|p| p.get(id).value.to_vec().unwrap());
        let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
        for unit in 0..13 {
            let column = |x: &[f32]| x.iter().skip(unit).step_by(13).map(|x| f64::from(*x)).collect::<Vec<_>>();
            let (w, after) = (column(&begin), column(&end));
            let moved = norm(&mut w.iter().zip(&after).map(|(a, b)| a - b)) / f64::from(LR);
            let most = f64::from(limit) * norm(&mut w.iter().copied()).max(1e-3);
            prop_assert!(moved <= most * (1.0 + 1e-5) + 1e-6, "{moved} of {most}");
        }
    }
}
