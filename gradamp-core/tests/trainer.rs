//! The trainer on a tiny network: what it reports, where it stops, and that a resumed run repeats bit for bit.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

use gradamp_core::amplify::{AmplificationSettings, Amplify, Placement, Redraw, Schedule, Strategy};
use gradamp_core::nn::{self, BatchNorm2d, Conv2d, Linear, MeanPool2d, Relu};
use gradamp_core::optim::Sgd;
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::train::{
    Control, EpochReport, Observer, OnDivergence, Outcome, Snapshot, StepReport, TrainSettings, TrainState,
    Trainer,
};
use gradamp_core::{
    Backend, BackwardHook, Batch, BatchSource, Cpu, Error, Gradient, GradientAction, LayerKind, Module,
    Parameters, Result, Site, Tape, Tensor, Var,
};

const IMAGE: [usize; 3] = [6, 6, 2];

/// conv, batch norm + ReLU, pool, linear.
struct Tiny {
    conv: Conv2d,
    bn: BatchNorm2d,
    relu: Relu,
    pool: MeanPool2d,
    linear: Linear,
}

impl Tiny {
    fn new(parameters: &mut Parameters<Cpu>) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::new(parameters, "conv", [2, 5], 3, 1, 1, false)?,
            bn: BatchNorm2d::new(parameters, "bn", 5)?,
            relu: Relu::new("relu"),
            pool: MeanPool2d::new("pool"),
            linear: Linear::new(parameters, "linear", [5, 3])?,
        })
    }
}

impl Module<Cpu> for Tiny {
    fn forward(&self, tape: &mut Tape<'_, Cpu>, x: Var<Cpu>) -> Result<Var<Cpu>> {
        let x = self.conv.forward(tape, x)?;
        let x = self.bn.forward_relu(tape, &x, None, &self.relu)?;
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

/// Noise whose mean depends on the class; the last batch of an epoch is smaller.
struct Noise {
    poison: bool,
}

impl BatchSource<Cpu> for Noise {
    fn examples(&self) -> usize {
        22
    }
    fn batches(&self) -> usize {
        3
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
        backend: &Cpu,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<Cpu>>> + 'a>> {
        let backend = backend.clone();
        Ok(Box::new((first..3).map(move |batch| {
            let n = if batch == 2 { 6 } else { 8 };
            let stream = Stream::new(5, Purpose::Test).at(epoch as u64).at(batch as u64);
            let labels: Vec<f32> = (0..n).map(|i| (i % 3) as f32).collect();
            let mut x: Vec<f32> = (0..n as u64 * 72)
                .map(|i| {
                    stream.uniform(i) - 0.5
                        + if (i % 2) as f32 == labels[(i / 72) as usize] { 0.6 } else { 0.0 }
                })
                .collect();
            if self.poison && epoch == 1 {
                x[3] = f32::NAN;
            }
            Ok(Batch {
                images: Tensor::from_slice(&backend, &[n, 6, 6, 2], &x)?,
                labels: Tensor::from_slice(&backend, &[n], &labels)?,
            })
        })))
    }
}

fn settings() -> TrainSettings {
    let strategy = Strategy {
        lr: Some(Schedule::constant(0.1)),
        phases: [(1, Amplify::Off), (2, Amplify::on()), (1, Amplify::Off)]
            .map(|(epochs, amplify)| gradamp_core::amplify::Phase { epochs, lr: None, amplify })
            .to_vec(),
    };
    let amplification = AmplificationSettings {
        kinds: vec![LayerKind::BatchNorm, LayerKind::Relu, LayerKind::Linear],
        count: Some(2),
        redraw: Redraw::Step,
        factor: 2.0,
        placement: Placement::Output,
        ..AmplificationSettings::default()
    };
    TrainSettings { evaluate_every: 3, gradients_every: 2, ..TrainSettings::new(3, strategy, amplification) }
}

fn fresh() -> Result<(Tiny, Parameters<Cpu>)> {
    let mut parameters = Parameters::new(&Cpu::default(), 1);
    let model = Tiny::new(&mut parameters)?;
    Ok((model, parameters))
}

/// Everything a run says, and optionally a stop after some step.
#[derive(Default)]
struct Log {
    stop_after: Option<u64>,
    draws: Vec<gradamp_core::amplify::DrawRecord>,
    steps: Vec<StepReport>,
    epochs: Vec<EpochReport>,
    saved: Option<Saved>,
}

/// Parameters, velocities, state.
type Saved = (Parameters<Cpu>, Vec<Option<Vec<f32>>>, TrainState);

impl Observer<Cpu> for Log {
    fn on_draw(&mut self, draw: &gradamp_core::amplify::DrawRecord) -> Result<()> {
        self.draws.push(draw.clone());
        Ok(())
    }
    fn on_step(&mut self, report: &StepReport, snapshot: &Snapshot<'_, Cpu>) -> Result<Control> {
        self.steps.push(StepReport { seconds: 0.0, ..report.clone() });
        if self.stop_after != Some(report.step) {
            return Ok(Control::Continue);
        }
        let velocities: Result<Vec<_>> = snapshot
            .parameters
            .iter()
            .map(|(id, _)| snapshot.sgd.velocity(id).map(Tensor::to_vec).transpose())
            .collect();
        self.saved = Some((snapshot.parameters.clone(), velocities?, snapshot.state.clone()));
        Ok(Control::Stop)
    }
    fn on_epoch(&mut self, report: &EpochReport, _: &Snapshot<'_, Cpu>) -> Result<Control> {
        self.epochs.push(EpochReport { seconds: 0.0, ..report.clone() });
        Ok(Control::Continue)
    }
}

fn values(parameters: &Parameters<Cpu>) -> Vec<Vec<u32>> {
    let bits = |t: &Tensor<Cpu>| t.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
    parameters.iter().map(|(_, p)| bits(&p.value)).collect()
}

fn train(settings: TrainSettings) -> Result<(Log, Parameters<Cpu>, Outcome)> {
    let (model, parameters) = fresh()?;
    let mut log = Log::default();
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings)?;
    trainer.observe(&mut log);
    let source = Noise { poison: false };
    let outcome = trainer.run(&source, &[("test", &source)])?;
    let parameters = trainer.parameters().clone();
    drop(trainer);
    Ok((log, parameters, outcome))
}

#[test]
fn a_run_reports_every_step_epoch_and_draw() {
    let (log, _, outcome) = train(settings()).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(log.steps.len(), 12);
    assert_eq!(log.epochs.len(), 4);
    // Redrawn at every step of the two amplified epochs.
    assert_eq!(log.draws.iter().map(|d| d.step).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    assert!(log.draws.iter().all(|d| d.sites.len() == 2 && d.factor == 2.0));
    let amplified: Vec<usize> = log.steps.iter().map(|s| s.amplified_sites).collect();
    assert_eq!(amplified, [0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0]);
    // Every third epoch, and the last.
    let evaluated: Vec<bool> = log.epochs.iter().map(|e| e.evaluation("test").is_some()).collect();
    assert_eq!(evaluated, [false, false, true, true]);
    assert!(log.epochs.iter().all(|e| e.examples == 22));
    let last = log.epochs[3].evaluation("test").unwrap();
    assert_eq!(last.examples(), 22);
    assert!(last.loss < f64::from(log.steps[0].loss), "training did not lower the loss");
}

#[test]
fn gradients_are_measured_before_and_after_amplification() {
    let mut settings = settings();
    settings.amplification.count = None; // all eligible sites, so that every factor is known
    let (log, ..) = train(settings).unwrap();
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

#[test]
fn measuring_gradients_changes_no_bit_of_the_training() {
    let (_, measured, _) = train(settings()).unwrap();
    let (_, plain, _) = train(TrainSettings { gradients_every: 0, ..settings() }).unwrap();
    assert_eq!(values(&measured), values(&plain));
}

#[test]
fn a_run_resumed_after_any_step_ends_in_the_same_bits() {
    let (whole, parameters, _) = train(settings()).unwrap();
    let source = Noise { poison: false };
    for stop_after in 0..12 {
        let (model, fresh) = fresh().unwrap();
        let mut first = Log { stop_after: Some(stop_after), ..Log::default() };
        let mut trainer = Trainer::new(&model, fresh, IMAGE, settings()).unwrap();
        trainer.observe(&mut first);
        assert_eq!(trainer.run(&source, &[("test", &source)]).unwrap(), Outcome::Stopped);
        drop(trainer);

        let (saved, velocities, state) = first.saved.take().unwrap();
        // Through JSON, as a checkpoint goes.
        let state: TrainState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        let mut sgd = Sgd::new(settings().sgd, &saved).unwrap();
        for ((id, p), velocity) in saved.iter().zip(velocities) {
            if let Some(velocity) = velocity {
                let velocity = Tensor::from_slice(saved.backend(), p.value.shape(), &velocity).unwrap();
                sgd.set_velocity(&saved, id, velocity).unwrap();
            }
        }
        let mut second = Log::default();
        let mut trainer = Trainer::resume(&model, saved, sgd, state, IMAGE, settings()).unwrap();
        trainer.observe(&mut second);
        assert_eq!(trainer.run(&source, &[("test", &source)]).unwrap(), Outcome::Finished);
        assert_eq!(values(trainer.parameters()), values(&parameters), "stopped after step {stop_after}");
        drop(trainer);
        assert_eq!([first.draws, second.draws].concat(), whole.draws, "stopped after step {stop_after}");
        assert_eq!([first.steps, second.steps].concat(), whole.steps, "stopped after step {stop_after}");
        assert_eq!([first.epochs, second.epochs].concat(), whole.epochs, "stopped after step {stop_after}");
    }
}

#[test]
fn a_run_stops_at_its_step_limit() {
    let (log, _, outcome) = train(TrainSettings { max_steps: Some(5), ..settings() }).unwrap();
    assert_eq!((log.steps.len(), outcome), (5, Outcome::StepLimit));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_first_bad_site() {
    let (model, parameters) = fresh().unwrap();
    let source = Noise { poison: true };
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    let error = trainer.run(&source, &[]).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 1, step: 3, .. }), "{error}");
    assert!(error.to_string().contains("the first site that is not finite is conv"), "{error}");
}

#[test]
fn a_study_of_instability_goes_on() {
    let (model, parameters) = fresh().unwrap();
    let source = Noise { poison: true };
    let settings = TrainSettings { on_divergence: OnDivergence::Continue, ..settings() };
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    assert_eq!(trainer.run(&source, &[]).unwrap(), Outcome::Finished);
}

#[test]
fn settings_out_of_range_name_their_key() {
    let (model, parameters) = fresh().unwrap();
    let error = Trainer::new(&model, parameters, IMAGE, TrainSettings { evaluate_every: 0, ..settings() });
    assert!(error.err().unwrap().to_string().starts_with("train.evaluate_every"));
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
fn a_failing_hook_of_the_users_stops_the_run_with_the_sites_name() {
    let (model, parameters) = fresh().unwrap();
    let source = Noise { poison: false };
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings()).unwrap();
    let _guard = trainer.hooks().add(Refuse);
    assert_eq!(trainer.run(&source, &[]).unwrap_err().to_string(), "hook at site bn: enough");
}

#[test]
fn a_trace_lists_sites_in_forward_order_and_changes_nothing() {
    let (model, mut parameters) = fresh().unwrap();
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
