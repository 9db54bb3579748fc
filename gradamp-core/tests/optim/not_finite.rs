//! Gradients that are not finite, and gradients that loss scaling has multiplied.

use gradamp_core::optim::{Optimizer, Sgd, SgdSettings};
use gradamp_core::{Backend, Reference};

use crate::planted::{self, LR, bits, gradients, parameters, values};
use crate::{alone, together};

/// The bits of every parameter, and every velocity.
type State = (Vec<Vec<u32>>, Vec<Vec<f32>>);

/// The state before and after a step in which one gradient contains `value` and has the scale `scale`.
fn step<B: Backend>(backend: &B, settings: &SgdSettings, value: f32, scale: f32, skips: bool) -> [State; 2] {
    let mut parameters = parameters(backend);
    let mut sgd = Sgd::new(settings.clone(), &parameters).unwrap();
    sgd.skip_non_finite(skips).unwrap();
    let healthy = gradients(&mut parameters, &values(0), 3.0);
    sgd.step(&mut parameters, &healthy, LR).unwrap();
    let mut state = |poisoned: bool| {
        if poisoned {
            let mut values = values(1);
            values[0][100] = value;
            let gradients = gradients(&mut parameters, &values, scale);
            let gate = sgd.step(&mut parameters, &gradients, LR).unwrap();
            assert_eq!(gate.is_some(), skips || settings.clip_norm.is_some());
        }
        let velocity = |(id, _)| sgd.velocity(id).map(|velocity| velocity.to_vec().unwrap());
        (bits(&parameters), parameters.iter().filter_map(velocity).collect())
    };
    [state(false), state(true)]
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_if_such_steps_are_skipped() {
    let settings = alone().into_iter().map(|(_, settings)| settings).chain(together());
    for settings in settings {
        let poisons = [(f32::NAN, 1.0), (f32::INFINITY, 0.5), (f32::NEG_INFINITY, 1.0), (0.5, f32::INFINITY)];
        for (value, scale) in poisons {
            let [before, after] = step(&Reference, &settings, value, scale, true);
            assert_eq!(after, before, "{value} times {scale}: {settings:?}");
            let [_, (parameters, _)] = step(&Reference, &settings, value, scale, false);
            let shows = parameters.iter().flatten().any(|bits| !f32::from_bits(*bits).is_finite());
            assert!(shows, "{value} times {scale}: {settings:?}");
        }
    }
}

/// If the square of a norm exceeds f32, a gradient divided by this norm would be 0, and the divergence would be invisible.
#[test]
fn a_step_whose_norm_exceeds_f32_is_skipped_or_gives_nan() {
    for (name, settings) in alone() {
        let [before, after] = step(&Reference, &settings, 1e30, 1.0, true);
        assert_eq!(after, before, "{name}");
        if settings.adaptive_clip.is_some() || settings.lars.is_some() || settings.normalise.is_some() {
            let [_, (parameters, _)] = step(&Reference, &settings, 1e30, 1.0, false);
            assert!(f32::from_bits(parameters[0][100]).is_nan(), "{name}");
        }
    }
}

#[test]
fn loss_scaling_by_a_power_of_two_changes_no_bit() {
    const S: f32 = 65536.0;
    let settings = alone().into_iter().map(|(_, settings)| settings).chain(together());
    for settings in settings {
        let plain = planted::train(&Reference, &settings, 3.0, 3);
        let mut scaled = parameters(&Reference);
        let mut sgd = Sgd::new(settings.clone(), &scaled).unwrap();
        sgd.count_from(planted::SEED, 0);
        sgd.skip_non_finite(true).unwrap();
        for step in 0..3 {
            let values: Vec<Vec<f32>> =
                values(step).into_iter().map(|values| values.into_iter().map(|g| S * g).collect()).collect();
            let gradients = gradients(&mut scaled, &values, 3.0 / S);
            sgd.step(&mut scaled, &gradients, LR).unwrap();
        }
        assert_eq!(bits(&scaled), bits(&plain), "{settings:?}");
    }
}
