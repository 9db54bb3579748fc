//! A tiny network, random images, and an observer that records everything, for the tests of the trainer.

use gradamp_core::amplify::{
    AmplificationSettings, Amplify, DrawRecord, LearningRate, Phase, Placement, Redraw, Strategy,
};
use gradamp_core::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d};
use gradamp_core::optim::StateTensor;
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::train::{
    Control, EpochReport, Observer, Outcome, Snapshot, StepReport, TrainSettings, TrainState, Trainer,
};
use gradamp_core::{
    Backend, Batch, BatchSource, LayerKind, Module, ParameterId, Parameters, Result, Tape, Tensor, Var,
};

pub const IMAGE: [usize; 3] = [6, 6, 2];

/// conv, batch norm + ReLU, pool, linear.
pub struct Tiny {
    conv: Conv2d,
    bn: BatchNorm2d,
    relu: Activation,
    pool: MeanPool2d,
    linear: Linear,
}

impl Tiny {
    pub fn new<B: Backend>(parameters: &mut Parameters<B>) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::new(
                parameters,
                "conv",
                [2, 5],
                3,
                Conv2dOptions::default().with_padding(1).with_bias(false),
            )?,
            bn: BatchNorm2d::new(parameters, "bn", 5)?,
            relu: Activation::relu("relu"),
            pool: MeanPool2d::new("pool"),
            linear: Linear::new(parameters, "linear", [5, 3])?,
        })
    }
}

impl<B: Backend> Module<B> for Tiny {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let x = self.conv.forward(tape, x)?;
        let x = self.bn.forward(tape, x)?;
        let x = self.relu.forward(tape, x)?;
        let x = self.pool.forward(tape, x)?;
        self.linear.forward(tape, x)
    }
}

/// Noise whose mean depends on the class; the last batch of an epoch is smaller.
pub struct Noise {
    /// The first batch of epoch 1 with pixels that are NaN. Later batches of the epoch have such pixels too.
    pub poison: Option<usize>,
}

impl<B: Backend> BatchSource<B> for Noise {
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
        backend: &B,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>> {
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
            if epoch == 1 && self.poison.is_some_and(|first| batch >= first) {
                x[3] = f32::NAN;
            }
            Ok(Batch {
                images: Tensor::from_slice(&backend, &[n, 6, 6, 2], &x)?,
                labels: Tensor::from_slice(&backend, &[n], &labels)?,
            })
        })))
    }
}

pub fn settings() -> TrainSettings {
    let strategy = Strategy::default().with_lr(Some(LearningRate::constant(0.1))).with_phases(
        [(1, Amplify::Off), (2, Amplify::on()), (1, Amplify::Off)]
            .map(|(epochs, amplify)| Phase::new(epochs).with_amplify(amplify))
            .to_vec(),
    );
    let amplification = AmplificationSettings::default()
        .with_kinds(vec![LayerKind::BatchNorm, LayerKind::Relu, LayerKind::Linear])
        .with_count(Some(2))
        .with_redraw(Redraw::Step)
        .with_factor(2.0)
        .with_placement(Placement::Output);
    TrainSettings::new(3, strategy, amplification).with_evaluate_every(3).with_gradients_every(2)
}

pub fn fresh<B: Backend>(backend: &B) -> Result<(Tiny, Parameters<B>)> {
    let mut parameters = Parameters::new(backend, 1);
    let model = Tiny::new(&mut parameters)?;
    Ok((model, parameters))
}

/// Records everything that a run reports, and may stop the run after a step.
pub struct Log<B: Backend> {
    pub stop_after: Option<u64>,
    pub draws: Vec<DrawRecord>,
    pub steps: Vec<StepReport>,
    pub epochs: Vec<EpochReport>,
    pub saved: Option<Saved<B>>,
}

impl<B: Backend> Log<B> {
    pub fn new(stop_after: Option<u64>) -> Self {
        Self { stop_after, draws: Vec::new(), steps: Vec::new(), epochs: Vec::new(), saved: None }
    }
}

/// A tensor of the optimiser's state: name, parameter, shape and values.
pub type OptimizerTensor = (String, Option<ParameterId>, Vec<usize>, Vec<f32>);

/// Parameters and their average, the optimiser's state, sums of gradients, and the run's state.
pub type Saved<B> =
    (Parameters<B>, Option<Parameters<B>>, Vec<OptimizerTensor>, Vec<Option<Tensor<B>>>, TrainState);

/// Copies everything that a resumed run needs.
pub fn save<B: Backend>(snapshot: &Snapshot<'_, B>) -> Result<Saved<B>> {
    let copy = |StateTensor { name, parameter, tensor }: StateTensor<'_, B>| {
        Ok((name.to_owned(), parameter, tensor.shape().to_vec(), tensor.to_vec()?))
    };
    let optimizer: Result<Vec<_>> = snapshot.optimizer.state().into_iter().map(copy).collect();
    Ok((
        snapshot.parameters.clone(),
        snapshot.ema.cloned(),
        optimizer?,
        snapshot.gradient_sums.to_vec(),
        snapshot.state.clone(),
    ))
}

impl<B: Backend> Observer<B> for Log<B> {
    fn on_draw(&mut self, draw: &DrawRecord) -> Result<()> {
        self.draws.push(draw.clone());
        Ok(())
    }
    fn on_steps(&mut self, reports: &[StepReport], snapshot: &Snapshot<'_, B>) -> Result<Control> {
        self.steps.extend(reports.iter().map(|report| StepReport { seconds: 0.0, ..report.clone() }));
        assert_eq!(self.steps.last().map(|report| report.step + 1), Some(snapshot.state.step));
        if !reports.iter().any(|report| self.stop_after == Some(report.step)) {
            return Ok(Control::Continue);
        }
        self.saved = Some(save(snapshot)?);
        Ok(Control::Stop)
    }
    fn on_epoch(&mut self, report: &EpochReport, _: &Snapshot<'_, B>) -> Result<Control> {
        self.epochs.push(EpochReport { seconds: 0.0, ..report.clone() });
        Ok(Control::Continue)
    }
}

/// The bits of all parameters and running statistics.
pub fn values<B: Backend>(parameters: &Parameters<B>) -> Vec<Vec<u32>> {
    let bits = |t: &Tensor<B>| t.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
    parameters.iter().map(|(_, p)| bits(&p.value)).collect()
}

/// The records of a run, its parameters, and its outcome.
pub type Run<B> = (Log<B>, Parameters<B>, Outcome);

/// Trains from the beginning to the end of the run, or to the step `stop_after`.
pub fn train<B: Backend>(backend: &B, settings: TrainSettings, stop_after: Option<u64>) -> Result<Run<B>> {
    let (model, parameters) = fresh(backend)?;
    let mut log = Log::new(stop_after);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings)?;
    trainer.observe(&mut log);
    let source = Noise { poison: None };
    let outcome = trainer.run(&source, &[("test", &source)])?;
    let parameters = trainer.parameters().clone();
    drop(trainer);
    Ok((log, parameters, outcome))
}

/// Trains the rest of a run from a saved state.
pub fn resume<B: Backend>(
    settings: TrainSettings,
    (saved, average, optimizer, sums, state): Saved<B>,
) -> Result<Run<B>> {
    let model = Tiny::new(&mut Parameters::new(saved.backend(), 1))?;
    // The state is written as JSON and read again, as in a checkpoint.
    let json = serde_json::to_string(&state).map_err(gradamp_core::Error::external)?;
    let state: TrainState = serde_json::from_str(&json).map_err(gradamp_core::Error::external)?;
    let mut log = Log::new(None);
    let backend = saved.backend().clone();
    let mut trainer = Trainer::resume(&model, saved, state, IMAGE, settings)?;
    for (name, parameter, shape, values) in optimizer {
        trainer.restore_optimizer(&name, parameter, Tensor::from_slice(&backend, &shape, &values)?)?;
    }
    trainer.restore_gradient_sums(sums);
    if let Some(average) = average {
        trainer.restore_ema(average)?;
    }
    trainer.observe(&mut log);
    let source = Noise { poison: None };
    let outcome = trainer.run(&source, &[("test", &source)])?;
    let parameters = trainer.parameters().clone();
    drop(trainer);
    Ok((log, parameters, outcome))
}

/// Asserts that a run that is stopped after any step and resumed gives the bits and reports of an uninterrupted run.
pub fn assert_resumes<B: Backend>(backend: &B, settings: &TrainSettings) {
    let (whole, parameters, _) = train(backend, settings.clone(), None).unwrap();
    for stop_after in 0..whole.steps.len() as u64 {
        let (mut first, _, outcome) = train(backend, settings.clone(), Some(stop_after)).unwrap();
        assert_eq!(outcome, Outcome::Stopped);
        let (second, resumed, outcome) = resume(settings.clone(), first.saved.take().unwrap()).unwrap();
        assert_eq!(outcome, Outcome::Finished);
        assert_eq!(values(&resumed), values(&parameters), "stopped after step {stop_after}");
        assert_eq!([first.draws, second.draws].concat(), whole.draws, "stopped after step {stop_after}");
        assert_eq!([first.steps, second.steps].concat(), whole.steps, "stopped after step {stop_after}");
        assert_eq!([first.epochs, second.epochs].concat(), whole.epochs, "stopped after step {stop_after}");
    }
}
