//! With all methods that change gradients before the step, resumed runs and lagging devices give the same bits too.

use gradamp_core::optim::{
    AdamWSettings, AdaptiveClip, GradientNoise, Lars, LayerRate, Normalise, OptimizerSettings, SgdSettings,
};
use gradamp_core::train::{LossScaling, TrainSettings};
use gradamp_core::{Error, Reference};

use crate::lagging::Lagging;
use crate::run::{assert_resumes, settings, train, values};

fn with(optimizer: impl Into<OptimizerSettings>) -> TrainSettings {
    settings().with_optimizer(optimizer.into())
}

fn noisy() -> SgdSettings {
    SgdSettings::default().with_noise(Some(GradientNoise::default().with_eta(0.01).with_gamma(0.55)))
}

/// Settings with all of these methods.
fn all() -> SgdSettings {
    noisy()
        .with_centralise(true)
        .with_adaptive_clip(Some(AdaptiveClip::default().with_limit(0.5)))
        .with_clip_norm(Some(0.5))
        .with_lars(Some(Lars::default().with_trust(0.1)))
        .with_layer_rates(vec![LayerRate::new("linear.*", 0.5)])
}

#[test]
fn a_run_with_noise_resumed_after_any_step_ends_in_the_same_bits() {
    let normalised = |method| all().with_normalise(Some(method)).with_lars(None);
    for sgd in [noisy(), all(), normalised(Normalise::ZScore), normalised(Normalise::Autoscale)] {
        assert_resumes(&Reference, &with(sgd));
    }
    let scaled = with(all()).with_loss_scaling(Some(LossScaling::default()));
    assert_resumes(&Lagging::new(2), &scaled);
    let scaled = scaled.with_optimizer(normalised(Normalise::Block).into());
    assert_resumes(&Lagging::new(2), &scaled);
}

#[test]
fn a_run_of_adamw_resumed_after_any_step_ends_in_the_same_bits() {
    let settings = with(AdamWSettings::default().with_clip_norm(Some(0.5)));
    assert_resumes(&Reference, &settings);
    let scaled = settings.with_loss_scaling(Some(LossScaling::default()));
    assert_resumes(&Lagging::new(2), &scaled);
}

#[test]
fn noise_depends_on_the_runs_seed() {
    let run = |seed| train(&Reference, with(noisy()).with_seed(seed), None).unwrap();
    let (first, second) = (run(3), run(4));
    assert_eq!(values(&first.1), values(&run(3).1));
    // The first batch and its loss do not depend on the seed. The seed also decides which layers are amplified, from the second step
    // on.
    assert_eq!(first.0.steps[0].loss, second.0.steps[0].loss);
    assert_ne!(first.0.steps[1].loss, second.0.steps[1].loss);
}

#[test]
fn a_lag_changes_nothing() {
    let (at_once, parameters, _) = train(&Lagging::new(0), with(all()), None).unwrap();
    let (late, late_parameters, _) = train(&Lagging::new(3), with(all()), None).unwrap();
    assert_eq!(values(&late_parameters), values(&parameters));
    assert_eq!(late.steps, at_once.steps);
}

#[test]
fn a_rate_for_no_parameter_is_found_before_the_run() {
    let layer_rates = vec![LayerRate::new("linaer.*", 2.0)];
    let error = train(&Reference, with(noisy().with_layer_rates(layer_rates)), None).err().unwrap();
    assert!(
        matches!(&error, Error::Setting { field, .. } if field == "optimizer.layer_rates[0].paths"),
        "{error}"
    );
}
