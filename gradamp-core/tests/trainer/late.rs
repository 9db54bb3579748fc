//! If a device lags behind the host, the host learns of results later, and nothing else changes.

use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{OnDivergence, Outcome, TrainSettings, Trainer, evaluate};
use gradamp_core::{Batch, BatchSource, Error, Result};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Log, Noise, assert_resumes, fresh, settings, train, values};

/// Settings with clipped gradients, whose clipping is decided on the device.
fn clipped() -> TrainSettings {
    let sgd = SgdSettings::default().with_clip_norm(Some(0.5));
    settings().with_optimizer(sgd.into())
}

#[test]
fn losses_reports_and_parameters_are_those_of_a_device_without_lag() {
    for (settings, is_clipped) in [(settings(), false), (clipped(), true)] {
        let (at_once, parameters, _) = train(&Lagging::new(0), settings.clone(), None).unwrap();
        let norms = at_once.steps.iter().filter(|report| report.gradient_norm.is_some()).count();
        assert_eq!(norms, if is_clipped { at_once.steps.len() } else { 0 });
        for ahead in [1, 3, 100] {
            let (late, late_parameters, outcome) =
                train(&Lagging::new(ahead), settings.clone(), None).unwrap();
            assert_eq!(outcome, Outcome::Finished);
            assert_eq!(values(&late_parameters), values(&parameters), "{ahead} steps ahead");
            assert_eq!(late.draws, at_once.draws, "{ahead} steps ahead");
            assert_eq!(late.steps, at_once.steps, "{ahead} steps ahead");
            assert_eq!(late.epochs, at_once.epochs, "{ahead} steps ahead");
        }
    }
}

#[test]
fn the_host_waits_once_for_several_steps() {
    let waits = |ahead, steps| {
        let backend = Lagging::new(ahead);
        let (model, parameters) = fresh(&backend).unwrap();
        let settings = settings().with_max_steps(Some(steps));
        let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
        let before = backend.counts();
        trainer.run(&Noise { poison: None }, &[]).unwrap();
        let after = backend.counts();
        assert_eq!((after.1 - before.1) as u64, steps, "work is submitted after every step");
        after.0 - before.0
    };
    // Epochs have 3 steps, of which the first and the last measure gradients. Results are read after steps 2 (the end of an epoch), 3,
    // 5 (an end), 7 and 8 (an end).
    assert_eq!(waits(3, 9), 5);
    // A limit of 10 steps makes one more read, after step 9.
    assert_eq!(waits(3, 10), 6);
    assert_eq!(waits(100, 12), 4);
    // All results have been read before the ends of these epochs, and before the limit.
    assert_eq!(waits(2, 9), 3);
}

/// A source that repeats the same noise.
struct Repeated(usize);

impl BatchSource<Lagging> for Repeated {
    fn examples(&self) -> usize {
        22 * self.0
    }
    fn batches(&self) -> usize {
        3 * self.0
    }
    fn batch_size(&self) -> usize {
        8
    }
    fn image_shape(&self) -> [usize; 3] {
        IMAGE
    }
    fn classes(&self) -> usize {
        3
    }
    fn epoch<'a>(
        &'a self,
        backend: &Lagging,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<Lagging>>> + 'a>> {
        let backend = backend.clone();
        let once = move |_| Noise { poison: None }.epoch(&backend, epoch, 0).into_iter().flatten();
        let batches: Vec<_> = (0..self.0).flat_map(once).collect();
        Ok(Box::new(batches.into_iter().skip(first)))
    }
}

#[test]
fn an_evaluation_waits_once_for_many_batches() {
    let backend = Lagging::new(3);
    let (model, mut parameters) = fresh(&backend).unwrap();
    let once = evaluate(&model, &mut parameters, &Noise { poison: None }).unwrap();
    let before = backend.counts().0;
    let many = evaluate(&model, &mut parameters, &Repeated(11)).unwrap();
    assert_eq!(backend.counts().0 - before, 6, "33 batches: 1, 2, 4, 8, 16 at a time, and the rest");
    let eleven = once.confusion.iter().map(|row| row.iter().map(|count| 11 * count).collect());
    assert_eq!(many.confusion, eleven.collect::<Vec<Vec<u64>>>());
    assert!((many.loss - once.loss).abs() < 1e-12 && many.examples == 242);
}

#[test]
fn a_run_that_lags_resumes_in_the_same_bits() {
    assert_resumes(&Lagging::new(3), &settings());
}

#[test]
fn a_step_limit_shorter_than_the_lag_is_kept_and_reported() {
    for limit in 1..=6 {
        let settings = settings().with_max_steps(Some(limit));
        let (log, _, outcome) = train(&Lagging::new(3), settings, None).unwrap();
        let steps: Vec<u64> = log.steps.iter().map(|report| report.step).collect();
        assert_eq!((steps, outcome), ((0..limit).collect(), Outcome::StepLimit));
    }
}

#[test]
fn a_loss_that_is_not_finite_is_found_late_and_the_error_names_its_step() {
    // Epoch 1 is steps 3, 4 and 5, whose results are read one by one, two at a time, or all together.
    for (ahead, poison) in [0, 1, 3, 100].into_iter().flat_map(|ahead| [0, 1, 2].map(|batch| (ahead, batch)))
    {
        let (model, parameters) = fresh(&Lagging::new(ahead)).unwrap();
        let mut log = Log::new(None);
        let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
        trainer.observe(&mut log);
        let error = trainer.run(&Noise { poison: Some(poison) }, &[]).unwrap_err();
        let bad = 3 + poison as u64;
        assert!(matches!(error, Error::Diverged { epoch: 1, step, .. } if step == bad), "{ahead}: {error}");
        let found = error.to_string();
        assert!(found.contains("the first site that is not finite is conv"), "{ahead}: {found}");
        assert_eq!(trainer.state().step, bad, "the state ends at the step that diverged");
        drop(trainer);
        assert!(log.steps.len() as u64 <= bad, "a step that diverged is not reported");
    }
}

#[test]
fn a_lagging_run_goes_on_after_a_divergence_if_the_settings_say_so() {
    let settings = settings().with_on_divergence(OnDivergence::Continue);
    let lost = |ahead| {
        let (model, parameters) = fresh(&Lagging::new(ahead)).unwrap();
        let mut log = Log::new(None);
        let mut trainer = Trainer::new(&model, parameters, IMAGE, settings.clone()).unwrap();
        trainer.observe(&mut log);
        assert_eq!(trainer.run(&Noise { poison: Some(0) }, &[]).unwrap(), Outcome::Finished);
        drop(trainer);
        log.steps.iter().map(|report| report.loss.to_bits()).collect::<Vec<_>>()
    };
    let at_once = lost(0);
    assert!(at_once.iter().any(|&bits| f32::from_bits(bits).is_nan()));
    assert_eq!(lost(3), at_once);
}
