//! What a run can be given in place of the defaults: an objective, a schedule, several batches a step, an average of the weights, and
//! patience.

use gradamp_core::amplify::{LearningRate, Moment};
use gradamp_core::objective::{CrossEntropy, Mixing, SquaredError};
use gradamp_core::train::{Evaluation, Outcome, TrainSettings, Trainer};
use gradamp_core::{
    Backend, Batch, BatchSource, Module, Parameters, Reference, Result, Tape, Tensor, Var, nn,
};

use super::lagging::Lagging;
use super::run::{IMAGE, Log, Noise, assert_resumes, fresh, settings, train, values};

/// A linear layer on images of one pixel: without batch norm, so that a step of several batches is one of a large batch.
struct Line(nn::Linear);

impl Line {
    fn new<B: Backend>(parameters: &mut Parameters<B>) -> Result<Self> {
        Ok(Self(nn::Linear::new(parameters, "linear", [2, 2])?))
    }
}

impl<B: Backend> Module<B> for Line {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        self.0.forward(tape, x)
    }
}

/// The same ten points, in batches of this size. Labels are classes, or two values for each point.
struct Points {
    batch: usize,
    values: bool,
}

impl BatchSource<Reference> for Points {
    fn examples(&self) -> usize {
        10
    }
    fn batches(&self) -> usize {
        10_usize.div_ceil(self.batch)
    }
    fn batch_size(&self) -> usize {
        self.batch
    }
    fn image_shape(&self) -> [usize; 3] {
        [1, 1, 2]
    }
    fn classes(&self) -> usize {
        2
    }
    fn epoch<'a>(
        &'a self,
        _: &Reference,
        _: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<Reference>>> + 'a>> {
        Ok(Box::new((first..BatchSource::batches(self)).map(move |batch| {
            let points = batch * self.batch..(10).min((batch + 1) * self.batch);
            let n = points.len();
            let x: Vec<f32> = points.clone().flat_map(|i| [i as f32 / 5.0 - 1.0, (i % 3) as f32]).collect();
            let (shape, labels): (&[usize], Vec<f32>) = match self.values {
                true => (&[n, 2], x.chunks(2).flat_map(|x| [2.0 * x[0] - x[1] + 0.5, x[0]]).collect()),
                false => (&[n], points.map(|i| (i % 2) as f32).collect()),
            };
            Ok(Batch {
                images: Tensor::from_slice(&Reference, &[n, 1, 1, 2], &x)?,
                labels: Tensor::from_slice(&Reference, shape, &labels)?,
            })
        })))
    }
}

fn plain(epochs: usize, lr: f64) -> TrainSettings {
    let strategy =
        gradamp_core::amplify::Strategy::single(epochs, LearningRate::constant(lr), Default::default());
    TrainSettings::default().with_strategy(strategy)
}

/// The parameters after a run on these points, and the epochs' reports.
fn run_points(settings: TrainSettings, points: &Points) -> (Vec<f32>, Log<Reference>) {
    let mut parameters = Parameters::new(&Reference, 1);
    let model = Line::new(&mut parameters).unwrap();
    let mut log = Log::new(None);
    let mut trainer = Trainer::new(&model, parameters, [1, 1, 2], settings).unwrap();
    if points.values {
        trainer.set_objective(SquaredError);
    }
    trainer.observe(&mut log);
    trainer.run(points, &[("test", points)]).unwrap();
    let values = trainer.parameters().iter().flat_map(|(_, p)| p.value.to_vec().unwrap()).collect();
    drop(trainer);
    (values, log)
}

#[test]
fn a_step_of_several_batches_is_one_of_a_large_batch() {
    // Batches of 3, 3, 3 and 1 in two steps against batches of 6 and 4.
    let several = plain(3, 0.3).with_accumulate(2);
    let (several, log) = run_points(several, &Points { batch: 3, values: false });
    let (large, expected) = run_points(plain(3, 0.3), &Points { batch: 6, values: false });
    for (a, b) in several.iter().zip(&large) {
        assert!((a - b).abs() < 1e-6, "{several:?} {large:?}");
    }
    assert_eq!(log.steps.len(), 6);
    for (step, expected) in log.steps.iter().zip(&expected.steps) {
        assert!((step.loss - expected.loss).abs() < 1e-6);
        assert_eq!(
            (step.correct, step.examples, step.batches),
            (expected.correct, expected.examples, expected.batches)
        );
    }
    assert_eq!(log.epochs[2].examples, 10);
}

#[test]
fn runs_with_all_of_it_resume_bit_for_bit() {
    let mixing = Mixing::default().with_mixup(0.5).with_cutmix(1.0);
    let objective = CrossEntropy::default().with_label_smoothing(0.1).with_mixing(mixing);
    let settings = settings().with_accumulate(2).with_ema(Some(0.9)).with_objective(objective);
    assert_resumes(&Reference, &settings);
    assert_resumes(&Lagging::new(3), &settings);
}

#[test]
fn mixed_batches_change_the_run_and_not_its_evaluation() {
    let mixing = Mixing::default().with_mixup(1.0).with_cutmix(0.0);
    let mixed = settings().with_objective(CrossEntropy::default().with_mixing(mixing));
    let (plain, mixed) =
        (train(&Reference, settings(), None).unwrap(), train(&Reference, mixed, None).unwrap());
    assert_ne!(values(&plain.1), values(&mixed.1));
    assert_ne!(plain.0.steps[0].loss, mixed.0.steps[0].loss);
    let accuracy = |log: &Log<Reference>| log.epochs[3].evaluation("test").map(Evaluation::accuracy).unwrap();
    assert!(accuracy(&mixed.0) > 0.5, "{}", accuracy(&mixed.0));
}

#[test]
fn the_average_follows_its_formula_and_is_evaluated() {
    let decay = 0.3;
    let (model, parameters) = fresh(&Reference).unwrap();
    let initial: Vec<f32> = parameters.iter().flat_map(|(_, p)| p.value.to_vec().unwrap()).collect();
    let mut history = vec![initial];
    for steps in 1..=4 {
        let (_, parameters, _) = train(&Reference, settings().with_max_steps(Some(steps)), None).unwrap();
        history.push(parameters.iter().flat_map(|(_, p)| p.value.to_vec().unwrap()).collect());
    }
    let mut expected: Vec<f64> = history[0].iter().map(|x| f64::from(*x)).collect();
    for (t, weights) in history[1..].iter().enumerate() {
        let d = f64::min(decay, (1.0 + t as f64) / (10.0 + t as f64));
        for (average, w) in expected.iter_mut().zip(weights) {
            *average = d * *average + (1.0 - d) * f64::from(*w);
        }
    }
    let settings = settings().with_max_steps(Some(4)).with_ema(Some(decay)).with_evaluate_every(1);
    let mut log = Log::new(None);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.observe(&mut log);
    let source = Noise { poison: None };
    trainer.run(&source, &[("test", &source)]).unwrap();
    let average: Vec<f32> =
        trainer.snapshot().ema.unwrap().iter().flat_map(|(_, p)| p.value.to_vec().unwrap()).collect();
    drop(trainer);
    for (found, expected) in average.iter().zip(&expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
    let names: Vec<&str> = log.epochs[0].evaluations.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["test", "test_ema"]);
    let losses: Vec<f64> = log.epochs[0].evaluations.iter().map(|(_, evaluation)| evaluation.loss).collect();
    assert_ne!(losses[0], losses[1]);
}

/// A rate of 0, at which no epoch is better than the first.
fn stuck(patience: usize) -> TrainSettings {
    plain(9, 0.0).with_patience(Some(patience))
}

#[test]
fn a_run_without_improvement_runs_out_of_patience() {
    let points = Points { batch: 5, values: false };
    assert_eq!(run_points(stuck(3), &points).1.epochs.len(), 4);
    assert_eq!(run_points(stuck(100), &points).1.epochs.len(), 9);
}

#[test]
fn a_resumed_run_remembers_that_it_ran_out_of_patience() {
    let points = Points { batch: 5, values: false };
    let mut parameters = Parameters::new(&Reference, 1);
    let model = Line::new(&mut parameters).unwrap();
    let mut trainer = Trainer::new(&model, parameters, [1, 1, 2], stuck(2)).unwrap();
    assert_eq!(trainer.run(&points, &[("test", &points)]).unwrap(), Outcome::OutOfPatience);
    let (parameters, state) = (trainer.parameters().clone(), trainer.state().clone());
    assert_eq!(state.scores.len(), 3);
    let mut again = Trainer::resume(&model, parameters, state.clone(), [1, 1, 2], stuck(2)).unwrap();
    assert_eq!(again.run(&points, &[("test", &points)]).unwrap(), Outcome::OutOfPatience);
    assert_eq!(*again.state(), state, "no step was made");
}

#[test]
fn a_closure_gives_every_rate() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let mut log = Log::new(None);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    // By the step, and by the evaluation after the third epoch.
    trainer.set_schedule(|at: &Moment<'_>| 0.01 * (at.step + 1) as f64 + at.scores.len() as f64);
    trainer.observe(&mut log);
    let source = Noise { poison: None };
    trainer.run(&source, &[("test", &source)]).unwrap();
    drop(trainer);
    let expected: Vec<f64> = (0..12).map(|step| 0.01 * f64::from(step + 1) + f64::from(step / 9)).collect();
    assert_eq!(log.steps.iter().map(|step| step.lr).collect::<Vec<_>>(), expected);
}

#[test]
fn a_schedule_that_gives_no_rate_is_an_error() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    trainer.set_schedule(|at: &Moment<'_>| if at.step == 2 { f64::NAN } else { 0.1 });
    let error = trainer.run(&Noise { poison: None }, &[]).unwrap_err().to_string();
    assert!(error.starts_with("schedule: gave NaN for step 2"), "{error}");
}

#[test]
fn a_regression_finds_its_line() {
    let points = Points { batch: 5, values: true };
    let (parameters, log) = run_points(plain(400, 0.1), &points);
    // The weight is [c_in, c_out]: y = (2 x₀ − x₁ + 0.5, x₀).
    for (found, expected) in parameters.iter().zip([2.0, 1.0, -1.0, 0.0, 0.5, 0.0]) {
        assert!((found - expected).abs() < 5e-3, "{parameters:?}");
    }
    let (first, last) = (&log.epochs[0], &log.epochs[399]);
    let evaluation = last.evaluation("test").unwrap();
    assert!(!evaluation.has_classes() && evaluation.examples == 10 && evaluation.loss < 1e-4);
    assert!(first.best && evaluation.score() > first.evaluation("test").unwrap().score());
}

#[test]
fn numbers_without_sense_are_refused() {
    let refused = |settings: TrainSettings| {
        let (model, parameters) = fresh(&Reference).unwrap();
        Trainer::new(&model, parameters, IMAGE, settings).map(drop).unwrap_err().to_string()
    };
    assert_eq!(refused(settings().with_accumulate(0)), "accumulate: expected at least 1 batch, found 0");
    assert_eq!(refused(settings().with_patience(Some(0))), "patience: expected at least 1 epoch, found 0");
    for decay in [0.0, 1.0, f64::NAN] {
        let error = refused(settings().with_ema(Some(decay)));
        assert!(error.starts_with("ema: expected a number between 0 and 1"), "{error}");
    }
    let mixing = Mixing::default().with_mixup(-0.5).with_cutmix(0.0);
    let objective = CrossEntropy::default().with_label_smoothing(0.0).with_mixing(mixing);
    assert_eq!(
        refused(settings().with_objective(objective)),
        "mixup: expected a finite number of at least 0, found -0.5"
    );
}
