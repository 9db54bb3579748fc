//! SGD where PyTorch's fixtures do not test it: clipping; the order of amplification, clipping and weight decay; sets of parameters
//! without weight decay. A step of lr 1 without momentum decreases a parameter by exactly its changed gradient.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

use gradamp_core::backend::StepGate;
use gradamp_core::nn::{BatchNorm2d, Linear, MeanPool2d};
use gradamp_core::optim::{Optimizer, ParameterSet, Sgd, SgdSettings};
use gradamp_core::{
    Backend, BackwardHook, Gradient, GradientAction, Hooks, Module, Parameters, Reference, Result, Role,
    Site, Tape, Tensor, ops,
};
use proptest::prelude::*;

/// Scales the gradient at the classifier.
struct Amplify(f32);

impl<B: Backend> BackwardHook<B> for Amplify {
    fn on_gradient(&mut self, site: &Site, _: &Gradient<B>) -> Result<GradientAction<B>> {
        Ok(if &*site.path == "linear" { GradientAction::Scale(self.0) } else { GradientAction::Keep })
    }
}

/// A parameter's path, its role, and by how much a step decreased its values.
type Decrease = (String, Role, Vec<f32>);

/// How much one step of lr 1 decreases each parameter, and the norm that clipping measured.
fn decreases(settings: SgdSettings, factor: f32) -> (Vec<Decrease>, Option<f32>) {
    let (taken, gate) = stepped(settings, factor, false);
    (taken, gate.map(|gate| gate.norm))
}

/// Like [`decreases`], with the whole gate. If `skips`, a step with gradients that are not finite changes nothing.
fn stepped(settings: SgdSettings, factor: f32, skips: bool) -> (Vec<Decrease>, Option<StepGate>) {
    let mut parameters = Parameters::new(&Reference, 4);
    let bn = BatchNorm2d::new(&mut parameters, "bn", 3).unwrap();
    let pool = MeanPool2d::new("pool");
    let linear = Linear::new(&mut parameters, "linear", [3, 4]).unwrap();
    let x: Vec<f32> = (0..5 * 2 * 2 * 3).map(|i| (i as f32 * 0.7).sin()).collect();
    let labels = Tensor::from_slice(&Reference, &[5], &[0.0, 1.0, 2.0, 3.0, 0.0]).unwrap();
    let before = parameters.clone();

    let hooks = Hooks::new();
    let _guard = hooks.add(Amplify(factor));
    let mut tape = Tape::train(&mut parameters);
    let x = tape.constant(Tensor::from_slice(&Reference, &[5, 2, 2, 3], &x).unwrap());
    let x = bn.forward(&mut tape, x).unwrap();
    let x = pool.forward(&mut tape, x).unwrap();
    let logits = linear.forward(&mut tape, x).unwrap();
    let loss = ops::softmax_cross_entropy(&mut tape, &logits, &labels, 0.1).unwrap();
    let gradients = tape.backward(&loss.mean, &hooks).unwrap();
    let mut sgd = Sgd::new(settings, &parameters).unwrap();
    sgd.skip_non_finite(skips).unwrap();
    let gate = sgd.step(&mut parameters, &gradients, 1.0).unwrap();
    let gate = gate.map(|gate| StepGate::from_array(gate.to_vec().unwrap().try_into().unwrap()));

    let difference = |old: &Tensor<Reference>, new: &Tensor<Reference>| {
        old.to_vec().unwrap().iter().zip(new.to_vec().unwrap()).map(|(old, new)| old - new).collect()
    };
    let trained = before.iter().zip(parameters.iter()).filter(|((_, p), _)| p.role.is_trained());
    let taken = trained
        .map(|((_, old), (_, new))| (old.path.to_string(), old.role, difference(&old.value, &new.value)));
    (taken.collect(), gate)
}

fn plain() -> SgdSettings {
    SgdSettings::default().with_momentum(0.0).with_weight_decay(0.0)
}

fn norm(taken: &[Decrease]) -> f32 {
    taken.iter().flat_map(|(_, _, values)| values).map(|v| v * v).sum::<f32>().sqrt()
}

fn assert_close(a: &[Decrease], b: &[Decrease], scale: f32) {
    for ((path, _, a), (_, _, b)) in a.iter().zip(b) {
        for (a, b) in a.iter().zip(b) {
            assert!((a - scale * b).abs() < 2e-6, "{path}: {a} is not {scale} times {b}");
        }
    }
}

#[test]
fn clipping_by_norm_scales_all_gradients_together_after_amplification() {
    let (gradient, none) = decreases(plain(), 3.0);
    assert_eq!(none, None, "the norm is computed only where it is asked for");
    let limit = norm(&gradient) / 2.0;
    let (clipped, measured) = decreases(plain().with_clip_norm(Some(limit)), 3.0);
    assert!(
        (measured.unwrap() - norm(&gradient)).abs() < 1e-5,
        "the norm is that of the amplified gradients"
    );
    assert_close(&clipped, &gradient, 0.5);
}

#[test]
fn a_norm_below_the_limit_changes_nothing() {
    let (gradient, _) = decreases(plain(), 1.0);
    let (same, _) = decreases(plain().with_clip_norm(Some(norm(&gradient) * 1.01)), 1.0);
    assert_eq!(same, gradient);
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_where_such_steps_are_skipped() {
    let finite = |taken: &[Decrease]| taken.iter().all(|(_, _, values)| values.iter().all(|v| v.is_finite()));
    for clip_norm in [None, Some(0.1)] {
        let settings = plain().with_momentum(0.9).with_weight_decay(0.1).with_clip_norm(clip_norm);
        for factor in [f32::INFINITY, f32::NAN] {
            let (taken, gate) = stepped(settings.clone(), factor, true);
            assert!(
                taken.iter().all(|(_, _, values)| values.iter().all(|&v| v == 0.0)),
                "{factor}: {taken:?}"
            );
            assert!(gate.is_some_and(|gate| !gate.applies && !gate.norm.is_finite()), "{gate:?}");
            assert!(!finite(&stepped(settings.clone(), factor, false).0), "{factor}");
        }
        let (taken, gate) = stepped(settings.clone(), 2.0, true);
        assert_eq!(taken, stepped(settings, 2.0, false).0);
        assert!(gate.unwrap().applies);
    }
}

#[test]
fn clipping_by_value_limits_each_element_after_amplification() {
    let (gradient, _) = decreases(plain(), 3.0);
    let (clipped, _) = decreases(plain().with_clip_value(Some(0.05)), 3.0);
    let mut limited = 0;
    for ((path, _, clipped), (_, _, gradient)) in clipped.iter().zip(&gradient) {
        for (clipped, gradient) in clipped.iter().zip(gradient) {
            assert!(
                (clipped - gradient.clamp(-0.05, 0.05)).abs() < 1e-6,
                "{path}: {clipped} from {gradient}"
            );
            limited += usize::from(gradient.abs() > 0.05);
        }
    }
    assert!(limited > 0, "the limit was never reached");
}

#[test]
fn weight_decay_comes_after_clipping_and_is_not_amplified() {
    let decay = plain().with_weight_decay(0.5).with_clip_value(Some(1e-9));
    let (taken, _) = decreases(decay, 1000.0);
    // Clipping makes the gradient nearly 0, so that the step is weight decay only: half of each parameter.
    let (_, _, gamma) = taken.iter().find(|(path, ..)| path == "bn.weight").unwrap();
    assert!(gamma.iter().all(|g| (g - 0.5).abs() < 1e-6), "{gamma:?}");
}

#[test]
fn sets_that_are_not_decayed_take_the_bare_gradient() {
    let (bare, _) = decreases(plain(), 1.0);
    let sets =
        [(ParameterSet::Bias, vec![Role::Bias]), (ParameterSet::BatchNorm, vec![Role::Gamma, Role::Beta])];
    for (set, roles) in sets {
        let settings = plain().with_weight_decay(0.5).with_no_decay(vec![set]);
        for ((path, role, with), (_, _, without)) in decreases(settings, 1.0).0.iter().zip(&bare) {
            // beta begins at 0, and the decay of 0 is 0.
            if *role != Role::Beta {
                assert_eq!(with == without, roles.contains(role), "{set:?}: {path}");
            }
        }
    }
}

#[test]
fn settings_out_of_range_name_their_key() {
    let cases = [
        ("momentum", plain().with_momentum(1.0)),
        ("weight_decay", plain().with_weight_decay(-1.0)),
        ("nesterov", plain().with_nesterov(true)),
        ("clip_norm", plain().with_clip_norm(Some(0.0))),
        ("clip_value", plain().with_clip_value(Some(f32::NAN))),
    ];
    for (key, settings) in cases {
        let error = settings.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// With any factor, the norm of the clipped gradients is at most the limit.
    #[test]
    fn no_factor_gets_past_clipping_by_norm(factor in 0.01f32..1e4, limit in 1e-3f32..10.0) {
        let (taken, _) = decreases(plain().with_clip_norm(Some(limit)), factor);
        prop_assert!(norm(&taken) <= limit * 1.0001 + 1e-5);
    }
}
