//! The training step that benchmarks time.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use gradamp_core::amplify::{AmplificationSettings, Amplifier, Amplify, History, LearningRate, Strategy};
use gradamp_core::optim::{Optimizer, Sgd, SgdSettings};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Hooks, LayerKind, Module, Parameters, Tape, Tensor, nn, ops};
use gradamp_models::ModelSettings;

use crate::args::WorkloadArgs;
use crate::failure::{Failure, Result};

const CLASSES: usize = 10;
/// The factor of amplified steps. It is close to 1, so that amplified steps compute almost the same numbers as plain
/// steps, including subnormal numbers, whose arithmetic is slow.
const FACTOR: f32 = 1.0001;

/// A model, its optimiser and one batch.
pub struct Workload<B: Backend> {
    /// The device.
    pub backend: B,
    model: Box<dyn Module<B>>,
    parameters: Parameters<B>,
    sgd: Sgd<B>,
    images: Tensor<B>,
    labels: Tensor<B>,
    plain: Hooks<B>,
    amplified: Hooks<B>,
    /// The sites at which gradients are amplified in amplified steps.
    pub amplified_sites: usize,
}

impl<B: Backend> Workload<B> {
    /// Creates the workload that the command line describes.
    ///
    /// **Errors:** the model is unknown; the width or batch is out of range; those of the device.
    pub fn new(workload: &WorkloadArgs, backend: B) -> Result<Self> {
        let WorkloadArgs { ref model, width, batch } = *workload;
        if batch == 0 {
            return Err(Failure::usage("--batch: expected at least 1, found 0"));
        }
        let architecture = model.parse().map_err(Failure::usage)?;
        let settings = ModelSettings::new(architecture).with_width(width).with_classes(CLASSES);
        Self::with_model(&settings, batch, backend)
    }

    /// Creates a workload from a model's settings.
    ///
    /// **Errors:** the model does not have a setting; those of the device.
    pub fn with_model(settings: &ModelSettings, batch: usize, backend: B) -> Result<Self> {
        let classes = settings.classes;
        let mut parameters = Parameters::new(&backend, 0);
        let model = gradamp_models::build(settings, &mut parameters).map_err(|error| match error {
            gradamp_models::Error::Core(error) => error.into(),
            other => Failure::usage(other),
        })?;
        let trace = nn::trace(&model, &mut parameters, settings.image)?;

        let mut kinds = vec![LayerKind::BatchNorm, LayerKind::Activation];
        kinds.retain(|kind| trace.sites.iter().any(|site| kind.includes(site.kind)));
        let everything = AmplificationSettings::default().with_kinds(kinds).with_factor(FACTOR);
        let strategy = Strategy::single(1, LearningRate::constant(1e-3), Amplify::on());
        let mut amplifier = Amplifier::new(&strategy, &everything, &trace, 0)?;
        amplifier.begin_step(0, 0, &History::default())?;
        let amplified_sites = amplifier.draw().map_or(0, |draw| draw.sites.len());
        let amplified = Hooks::new();
        amplified.add_shared(Arc::new(Mutex::new(amplifier))).forget();

        let [h, w, c] = settings.image;
        let stream = Stream::new(0, Purpose::Test);
        let pixels = (batch * h * w * c) as u64;
        // Uniform values with the variance of a normalised image.
        let images: Vec<f32> = (0..pixels).map(|i| (stream.uniform(i) - 0.5) * 12.0_f32.sqrt()).collect();
        let labels: Vec<f32> = (0..batch).map(|i| stream.at(1).below(i as u64, classes) as f32).collect();
        let sgd = Sgd::new(SgdSettings::default(), &parameters)?;
        Ok(Self {
            images: Tensor::from_slice(&backend, &[batch, h, w, c], &images)?,
            labels: Tensor::from_slice(&backend, &[batch], &labels)?,
            plain: Hooks::new(),
            amplified,
            amplified_sites,
            backend,
            model,
            parameters,
            sgd,
        })
    }

    /// Runs `steps_ahead() + 1` steps and waits for them, as in training. Returns the seconds per step and the last
    /// loss.
    pub fn steps(&mut self, amplified: bool) -> Result<(f64, f32)> {
        let steps = self.backend.steps_ahead() + 1;
        let start = Instant::now();
        for _ in 1..steps {
            self.step(amplified)?;
        }
        let (loss, _) = self.step(amplified)?.read()?;
        Ok((start.elapsed().as_secs_f64() / steps as f64, loss))
    }

    /// Computes the logits of the batch in evaluation mode and reads them, as an evaluation does. Returns the seconds and the first
    /// logit.
    pub fn evaluate(&mut self) -> Result<(f64, f32)> {
        let start = Instant::now();
        let mut tape = Tape::evaluate(&mut self.parameters);
        let x = tape.constant(self.images.clone());
        let logits = self.model.forward(&mut tape, x)?.tensor()?.to_vec()?;
        Ok((start.elapsed().as_secs_f64(), logits[0]))
    }

    /// Submits one step to the device without waiting.
    pub fn step(&mut self, amplified: bool) -> Result<ops::Loss<B>> {
        let mut tape = Tape::train(&mut self.parameters);
        let x = tape.constant(self.images.clone());
        let logits = self.model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &self.labels, 0.0)?;
        drop(logits);
        let hooks = if amplified { &self.amplified } else { &self.plain };
        let gradients = tape.backward(&loss.mean, hooks)?;
        self.sgd.step(&mut self.parameters, &gradients, 1e-3)?;
        self.backend.submit()?;
        Ok(loss)
    }
}
