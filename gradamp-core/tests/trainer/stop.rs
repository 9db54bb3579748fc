//! A run can stop before any step and before any batch of an evaluation. Resumed, it gives the same bits.

use gradamp_core::train::{Control, Next, Observer, Outcome, Snapshot, TrainSettings, Trainer};
use gradamp_core::{Backend, Reference, Result};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Log, Noise, Saved, fresh, resume, save, settings, train, values};

/// Stops the run after a number of steps and batches of evaluations, and saves its state.
struct StopAfter<B: Backend> {
    passes: usize,
    asked: Vec<Next>,
    saved: Option<Saved<B>>,
}

impl<B: Backend> Observer<B> for StopAfter<B> {
    fn before(&mut self, next: Next) -> Control {
        if self.asked.len() == self.passes {
            return Control::Stop;
        }
        self.asked.push(next);
        Control::Continue
    }

    fn on_stop(&mut self, snapshot: &Snapshot<'_, B>) -> Result<()> {
        assert!(self.saved.is_none(), "`on_stop` was called twice");
        self.saved = Some(save(snapshot)?);
        Ok(())
    }
}

fn stopped<B: Backend>(
    backend: &B,
    settings: TrainSettings,
    passes: usize,
) -> (Log<B>, StopAfter<B>, Outcome) {
    let (model, parameters) = fresh(backend).unwrap();
    let (mut log, mut stop) = (Log::new(None), StopAfter { passes, asked: Vec::new(), saved: None });
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.observe(&mut stop);
    trainer.observe(&mut log);
    let source = Noise { poison: None };
    let outcome = trainer.run(&source, &[("validation", &source), ("test", &source)]).unwrap();
    drop(trainer);
    (log, stop, outcome)
}

fn assert_resumes_anywhere<B: Backend>(backend: &B) {
    let settings = settings().with_evaluate_every(2);
    let (whole, _, outcome) = stopped(backend, settings.clone(), usize::MAX);
    assert_eq!(outcome, Outcome::Finished);
    let (_, parameters, _) = train(backend, settings.clone(), None).unwrap();
    // The run has 4 epochs of 3 steps. After the second and after the last epoch, there are two evaluations of 3 batches each.
    for passes in 0..24 {
        let (first, stop, outcome) = stopped(backend, settings.clone(), passes);
        assert_eq!(outcome, Outcome::Stopped, "after {passes}");
        let (second, resumed, outcome) = resume(settings.clone(), stop.saved.unwrap()).unwrap();
        assert_eq!(outcome, Outcome::Finished);
        assert_eq!(values(&resumed), values(&parameters), "after {passes}");
        assert_eq!([first.steps, second.steps].concat(), whole.steps, "after {passes}");
        assert_eq!([first.draws, second.draws].concat(), whole.draws, "after {passes}");
        let epochs: Vec<_> =
            first.epochs.iter().chain(&second.epochs).map(|epoch| epoch.evaluation("test")).collect();
        assert_eq!(epochs, whole.epochs.iter().map(|epoch| epoch.evaluation("test")).collect::<Vec<_>>());
    }
    assert_eq!(stopped(backend, settings, 24).2, Outcome::Finished, "there is nothing left to stop");
}

#[test]
fn a_run_stopped_before_any_step_or_batch_of_an_evaluation_resumes_in_the_same_bits() {
    assert_resumes_anywhere(&Reference);
}

#[test]
fn a_stopped_run_on_a_lagging_device_resumes_in_the_same_bits() {
    assert_resumes_anywhere(&Lagging::new(3));
}

#[test]
fn a_step_limit_at_the_end_of_an_epoch_still_evaluates_the_epoch() {
    for (limit, epochs, expected) in
        [(2, 0, Outcome::StepLimit), (3, 1, Outcome::StepLimit), (12, 4, Outcome::Finished)]
    {
        let settings = settings().with_max_steps(Some(limit)).with_evaluate_every(1);
        let (log, stop, outcome) = stopped(&Reference, settings, usize::MAX);
        assert_eq!((log.epochs.len(), outcome), (epochs, expected), "a limit of {limit} steps");
        assert!(log.epochs.iter().all(|epoch| epoch.evaluation("test").is_some()));
        assert_eq!(
            stop.saved.is_some(),
            outcome == Outcome::StepLimit,
            "where a run stops is shown, its end is not"
        );
    }
}
