//! Loss scaling changes no bit of steps that are finite. A step that is not finite changes only the factor.

use gradamp_core::amplify::{Amplify, Phase};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{LossScaling, OnDivergence, Outcome, TrainSettings, Trainer};
use gradamp_core::{Error, Reference, Tape, Tensor, ops};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Noise, assert_resumes, fresh, settings, train, values};

/// 45 steps, of which those in the middle are amplified.
fn long(loss_scaling: Option<LossScaling>) -> TrainSettings {
    let mut settings = settings().with_loss_scaling(loss_scaling);
    settings.strategy.phases = [(5, Amplify::Off), (7, Amplify::on()), (3, Amplify::Off)]
        .map(|(epochs, amplify)| Phase::new(epochs).with_amplify(amplify))
        .to_vec();
    settings
}

/// A factor that doubles after every 16 steps without overflow.
fn growing() -> LossScaling {
    LossScaling::default().with_growth_interval(16)
}

/// A factor so large that the squares of the first gradients exceed f32. Once it is halved, some of the next 16 steps still overflow.
const TOO_LARGE: f32 = 3.75 * (1u128 << 64) as f32;

fn too_large() -> LossScaling {
    growing().with_initial(TOO_LARGE).with_max(1e30)
}

#[test]
fn a_factor_multiplies_values_and_divides_their_scalar() {
    let (_, mut parameters) = fresh(&Reference).unwrap();
    let mut tape = Tape::train(&mut parameters);
    let x = tape.leaf(Tensor::from_slice(&Reference, &[1, 2], &[0.5, -1.0]).unwrap());
    let y = ops::loss_scale(&mut tape, &x, 1024.0).unwrap();
    assert_eq!(y.tensor().unwrap().to_vec().unwrap(), [0.5, -1.0]);
    let gradients = tape.backward(&y, &Default::default()).unwrap();
    let dx = gradients.leaf(&x).unwrap();
    assert_eq!((dx.unscaled().unwrap().to_vec().unwrap(), dx.scale()), (vec![1024.0; 2], 1.0 / 1024.0));
    assert_eq!(dx.values().unwrap().to_vec().unwrap(), [1.0, 1.0]);

    for factor in [0.0, -1.0, f32::INFINITY, f32::NAN] {
        let mut tape = Tape::train(&mut parameters);
        let x = tape.leaf(Tensor::full(&Reference, &[1], 0.0).unwrap());
        let error = ops::loss_scale(&mut tape, &x, factor).unwrap_err().to_string();
        assert!(error.starts_with("loss_scale: expected a number above 0"), "{error}");
    }
}

#[test]
fn powers_of_two_change_no_bit() {
    for clip_norm in [None, Some(0.5)] {
        let with = |loss_scaling| {
            let settings = long(loss_scaling);
            let sgd = SgdSettings::default().with_clip_norm(clip_norm);
            train(&Reference, settings.with_optimizer(sgd.into()), None).unwrap()
        };
        let (plain, plain_parameters, _) = with(None);
        let (scaled, scaled_parameters, _) = with(Some(growing()));
        assert_eq!(values(&scaled_parameters), values(&plain_parameters));
        for (scaled, plain) in scaled.steps.iter().zip(&plain.steps) {
            assert_eq!((scaled.loss, scaled.correct), (plain.loss, plain.correct), "step {}", plain.step);
            assert!(plain.gradient_norm.is_none() || scaled.gradient_norm == plain.gradient_norm);
            assert_eq!((plain.loss_scale, scaled.skipped), (None, false));
        }
        assert_eq!(scaled.epochs, plain.epochs, "hooks meet the same gradients");
        // 45 steps: the factor is reconsidered after 16 and 32.
        let factors = [0, 15, 16, 31, 32, 44].map(|step: usize| scaled.steps[step].loss_scale.unwrap());
        assert_eq!(factors, [1.0, 1.0, 2.0, 2.0, 4.0, 4.0].map(|growth| 65536.0 * growth));
    }
}

#[test]
fn steps_that_overflow_are_skipped_and_halve_the_factor() {
    let (log, ..) = train(&Reference, long(Some(too_large())), None).unwrap();
    let of = |step: usize| (log.steps[step].loss_scale.unwrap() / TOO_LARGE, log.steps[step].skipped);
    assert_eq!([0, 15, 16].map(of), [(1.0, true), (1.0, true), (0.5, true)]);
    let first_good = log.steps.iter().position(|report| !report.skipped).unwrap();
    assert!((17..32).contains(&first_good), "{first_good}");
    assert_eq!([31, 32].map(of), [(0.5, false), (0.25, false)], "one skipped step of 16 halves the factor");
    let mut skipped = log.steps.iter().filter(|report| report.skipped);
    assert!(skipped.all(|report| report.gradient_norm == Some(f32::INFINITY) && report.loss.is_finite()));
    let (before, after) = (&log.epochs[0], &log.epochs[log.epochs.len() - 1]);
    assert!(after.train_loss < before.train_loss, "training did not lower the loss");

    // While all steps are skipped, only the running statistics change.
    let settings = long(Some(too_large())).with_max_steps(Some(first_good as u64));
    let (model, parameters) = fresh(&Reference).unwrap();
    let begin = values(&parameters);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.run(&Noise { poison: None }, &[]).unwrap();
    let end = values(trainer.parameters());
    for ((place, begin), end) in begin.iter().enumerate().zip(&end) {
        let (_, parameter) = trainer.parameters().iter().nth(place).unwrap();
        assert_eq!(begin == end, parameter.role.is_trained(), "{}", parameter.path);
    }
    assert_eq!(trainer.state().loss_scale.as_ref().unwrap().skipped, first_good as u64);
}

#[test]
fn a_run_resumed_after_any_step_has_the_same_factors() {
    assert_resumes(&Reference, &long(Some(too_large())));
}

#[test]
fn a_lag_changes_no_factor() {
    let (at_once, parameters, _) = train(&Lagging::new(0), long(Some(too_large())), None).unwrap();
    for ahead in [3, 20] {
        let backend = Lagging::new(ahead);
        let (late, late_parameters, _) = train(&backend, long(Some(too_large())), None).unwrap();
        assert_eq!(values(&late_parameters), values(&parameters), "{ahead} steps ahead");
        assert_eq!(late.steps, at_once.steps, "{ahead} steps ahead");
    }
    assert_resumes(&Lagging::new(20), &long(Some(too_large())));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_leaves_all_parameters_finite() {
    for ahead in [0, 3] {
        let (model, parameters) = fresh(&Lagging::new(ahead)).unwrap();
        let mut trainer = Trainer::new(&model, parameters, IMAGE, long(Some(growing()))).unwrap();
        let error = trainer.run(&Noise { poison: Some(1) }, &[]).unwrap_err();
        assert!(matches!(error, Error::Diverged { epoch: 1, step: 4, .. }), "{ahead}: {error}");
        assert!(error.to_string().ends_with("the first site that is not finite is conv"), "{ahead}: {error}");
    }
}

#[test]
fn a_run_that_goes_on_after_a_divergence_counts_the_skipped_steps() {
    let (model, parameters) = fresh(&Lagging::new(3)).unwrap();
    let settings = long(Some(LossScaling::default())).with_on_divergence(OnDivergence::Continue);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    assert_eq!(trainer.run(&Noise { poison: Some(1) }, &[]).unwrap(), Outcome::Finished);
    let scale = trainer.state().loss_scale.clone().unwrap();
    assert_eq!((scale.skipped, scale.factor), (2, 32768.0));
}
