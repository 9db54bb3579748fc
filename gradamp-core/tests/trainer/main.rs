//! The trainer on a tiny network: its reports, its limits, and resumed runs, which give the same bits.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

mod lagging;
mod late;
mod open;
mod options;
mod policies;
mod run;
mod scaled;
mod signals;
mod step_length;
mod stop;

use std::sync::{Arc, Mutex};

use gradamp_core::train::{OnDivergence, Outcome, Trainer};
use gradamp_core::{
    Backend, BackwardHook, Error, Gradient, GradientAction, LayerKind, Reference, Result, Site, nn,
};

use run::{IMAGE, Log, Noise, assert_resumes, fresh, settings, train, values};

#[test]
fn a_run_reports_every_step_epoch_and_draw() {
    let (log, _, outcome) = train(&Reference, settings(), None).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(log.steps.len(), 12);
    assert_eq!(log.epochs.len(), 4);
    // The two amplified epochs draw anew at every step.
    assert_eq!(log.draws.iter().map(|d| d.step).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    assert!(log.draws.iter().all(|d| d.factors == [2.0, 2.0]));
    let amplified: Vec<usize> = log.steps.iter().map(|s| s.amplified_sites).collect();
    assert_eq!(amplified, [0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0]);
    // Every third epoch is evaluated, and the last one.
    let evaluated: Vec<bool> = log.epochs.iter().map(|e| e.evaluation("test").is_some()).collect();
    assert_eq!(evaluated, [false, false, true, true]);
    assert!(log.epochs.iter().all(|e| e.examples == 22));
    let last = log.epochs[3].evaluation("test").unwrap();
    assert_eq!(last.examples, 22);
    assert!(last.loss < f64::from(log.steps[0].loss), "training did not lower the loss");
}

#[test]
fn gradients_are_measured_before_and_after_amplification() {
    let mut settings = settings();
    settings.amplification.count = None; // all eligible sites, so that every factor is known
    let (log, ..) = train(&Reference, settings, None).unwrap();
    for (epoch, amplified) in [(0, false), (1, true)] {
        for site in &log.epochs[epoch].gradients {
            assert_eq!(site.steps, 2, "steps 0 and 2 of each epoch are measured");
            let factor = if amplified && ["bn", "relu", "linear"].contains(&&*site.site) { 2.0 } else { 1.0 };
            assert!((site.norm_after / site.norm_before - factor).abs() < 1e-6, "{epoch} {site:?}");
            assert!(
                (site.mean_magnitude_after / site.mean_magnitude_before - factor).abs() < 1e-6,
                "{site:?}"
            );
        }
        let sites: Vec<&str> = log.epochs[epoch].gradients.iter().map(|g| &*g.site).collect();
        assert_eq!(sites, ["conv", "bn", "relu", "pool", "linear"]);
    }
}

/// A user's hook that records the size of each site's gradient.
struct Norms(Arc<Mutex<Vec<(String, f64)>>>);

impl<B: Backend> BackwardHook<B> for Norms {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        let norm = f64::from(gradient.statistics()?.sum_squares).sqrt();
        self.0.lock().unwrap().push((site.path.to_string(), norm));
        Ok(GradientAction::Keep)
    }
}

#[test]
fn each_site_is_measured_by_itself() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let (mut log, norms) = (Log::new(None), Arc::default());
    let settings = settings().with_gradients_every(3);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.observe(&mut log);
    trainer.hooks().add(Norms(Arc::clone(&norms))).forget();
    trainer.run(&Noise { poison: None }, &[]).unwrap();
    drop(trainer);
    // The trainer measured the first step of each epoch only. The hook saw its sites from the last to the first.
    let measured: Vec<_> = log.epochs[0].gradients.iter().map(|g| (g.site.clone(), g.norm_after)).collect();
    let noted: Vec<_> = norms.lock().unwrap().drain(..5).rev().collect();
    assert_eq!(measured, noted);
}

#[test]
fn measuring_gradients_changes_no_bit_of_the_training() {
    let (_, measured, _) = train(&Reference, settings(), None).unwrap();
    let (_, plain, _) = train(&Reference, settings().with_gradients_every(0), None).unwrap();
    assert_eq!(values(&measured), values(&plain));
}

#[test]
fn a_run_resumed_after_any_step_ends_in_the_same_bits() {
    assert_resumes(&Reference, &settings());
}

#[test]
fn a_run_stops_at_its_step_limit() {
    let (log, _, outcome) = train(&Reference, settings().with_max_steps(Some(5)), None).unwrap();
    assert_eq!((log.steps.len(), outcome), (5, Outcome::StepLimit));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_first_bad_site() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let source = Noise { poison: Some(0) };
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    let error = trainer.run(&source, &[]).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 1, step: 3, .. }), "{error}");
    assert!(error.to_string().contains("the first site that is not finite is conv"), "{error}");
}

#[test]
fn a_run_goes_on_after_a_divergence_if_the_settings_say_so() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let source = Noise { poison: Some(0) };
    let settings = settings().with_on_divergence(OnDivergence::Continue);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    assert_eq!(trainer.run(&source, &[]).unwrap(), Outcome::Finished);
}

#[test]
fn settings_out_of_range_name_their_key() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let error = Trainer::new(&model, parameters, IMAGE, settings().with_evaluate_every(0));
    assert!(error.err().unwrap().to_string().starts_with("evaluate_every"));
}

/// A user's hook that fails at one site.
struct Refuse;

impl<B: Backend> BackwardHook<B> for Refuse {
    fn on_gradient(&mut self, site: &Site, _: &Gradient<B>) -> Result<GradientAction<B>> {
        match &*site.path {
            "bn" => Err(Error::external("enough")),
            _ => Ok(GradientAction::Keep),
        }
    }
}

#[test]
fn an_error_of_a_users_hook_stops_the_run_and_names_the_site() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let source = Noise { poison: None };
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    let _guard = trainer.hooks().add(Refuse);
    assert_eq!(trainer.run(&source, &[]).unwrap_err().to_string(), "hook at site bn: enough");
}

#[test]
fn a_trace_lists_sites_in_forward_order_and_changes_nothing() {
    let (model, mut parameters) = fresh(&Reference).unwrap();
    let before = values(&parameters);
    let trace = nn::trace(&model, &mut parameters, IMAGE).unwrap();
    let sites: Vec<_> = trace.sites.iter().map(|s| (&*s.path, s.kind, s.index)).collect();
    use LayerKind::*;
    assert_eq!(
        sites,
        [
            ("conv", Conv, 0),
            ("bn", BatchNorm, 1),
            ("relu", Relu, 2),
            ("pool", Pool, 3),
            ("linear", Linear, 4)
        ]
    );
    assert_eq!(values(&parameters), before);
}
