use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::average::WeightAverage;
use super::measured::GradientSums;
use super::meter::Meter;
use super::pending::Pending;
use super::{Observer, Snapshot, TrainSettings, TrainState};
use crate::amplify::{AmplificationPolicy, Amplifier, Moment, ParameterGain, Schedule, gain};
use crate::objective::Objective;
use crate::optim::Optimizer;
use crate::{
    Backend, BatchSource, Error, HookGuard, Hooks, Module, ParameterId, Parameters, Result, Tensor, Trace, nn,
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// An observer stopped the run.
    Stopped,
    /// The run reached `max_steps` before the end of its last epoch.
    StepLimit,
    /// The first evaluation did not improve for as many epochs as the run's patience lasts.
    OutOfPatience,
}

/// Trains a model: a loop over the epochs of a [`Strategy`](crate::amplify::Strategy).
///
/// ```
/// use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Strategy};
/// use gradamp_core::nn::{Linear, Module};
/// use gradamp_core::train::{Outcome, TrainSettings, Trainer};
/// use gradamp_core::{Batch, BatchSource, LayerKind, Parameters, Reference, Result, Tape, Tensor, Var};
///
/// /// Two linear layers, on images of one pixel with two channels.
/// struct Model(Linear, Linear);
///
/// impl Module<Reference> for Model {
///     fn forward(&self, tape: &mut Tape<'_, Reference>, x: Var<Reference>) -> Result<Var<Reference>> {
///         let hidden = self.0.forward(tape, x)?;
///         self.1.forward(tape, hidden)
///     }
/// }
///
/// /// Two points, each a class of its own.
/// struct Points;
///
/// impl BatchSource<Reference> for Points {
///     fn examples(&self) -> usize { 2 }
///     fn batches(&self) -> usize { 1 }
///     fn batch_size(&self) -> usize { 2 }
///     fn image_shape(&self) -> [usize; 3] { [1, 1, 2] }
///     fn classes(&self) -> usize { 2 }
///
///     fn epoch<'a>(
///         &'a self,
///         backend: &Reference,
///         _epoch: usize,
///         first: usize,
///     ) -> Result<Box<dyn Iterator<Item = Result<Batch<Reference>>> + 'a>> {
///         let backend = backend.clone();
///         Ok(Box::new((first..1).map(move |_| {
///             Ok(Batch {
///                 images: Tensor::from_slice(&backend, &[2, 1, 1, 2], &[1.0, -1.0, -1.0, 1.0])?,
///                 labels: Tensor::from_slice(&backend, &[2], &[0.0, 1.0])?,
///             })
///         })))
///     }
/// }
///
/// let mut parameters = Parameters::new(&Reference, 7);
/// let model = Model(
///     Linear::new(&mut parameters, "hidden", [2, 4])?,
///     Linear::new(&mut parameters, "classifier", [4, 2])?,
/// );
/// let strategy = Strategy::single(50, LearningRate::constant(0.2), Amplify::on());
/// let amplification = AmplificationSettings::default().with_kinds(vec![LayerKind::Linear]);
/// let settings = TrainSettings::new(7, strategy, amplification);
/// let mut trainer = Trainer::new(&model, parameters, [1, 1, 2], settings)?;
/// let outcome = trainer.run(&Points, &[("test", &Points)])?;
/// assert_eq!(outcome, Outcome::Finished);
/// assert_eq!(trainer.state().best.map(|(accuracy, _)| accuracy), Some(1.0));
/// # Ok::<(), gradamp_core::Error>(())
/// ```
pub struct Trainer<'a, B: Backend, M: Module<B>> {
    pub(super) model: &'a M,
    pub(super) parameters: Parameters<B>,
    pub(super) optimizer: Box<dyn Optimizer<B>>,
    pub(super) objective: Rc<dyn Objective<B>>,
    /// The schedule, if it is not the strategy's.
    pub(super) schedule: Option<Box<dyn Schedule>>,
    /// The moving average of the weights, in a run that has one.
    pub(super) average: Option<WeightAverage<B>>,
    pub(super) settings: TrainSettings,
    pub(super) state: TrainState,
    pub(super) trace: Arc<Trace>,
    pub(super) amplifier: Arc<Mutex<Amplifier>>,
    pub(super) meter: Meter<B>,
    /// The sums of this epoch's measured gradients; empty if no policy needs them.
    pub(super) gradient_sums: GradientSums<B>,
    pub(super) hooks: Hooks<B>,
    pub(super) observers: Vec<&'a mut dyn Observer<B>>,
    /// Steps of this epoch that the state does not include yet.
    pub(super) pending: Vec<Pending<B>>,
    /// The time at which the pending steps began.
    pub(super) clock: Instant,
    /// Seconds per step in the results that were read last; `None` before, and for the first steps, which prepare the device.
    pub(super) pace: Option<f64>,
    /// Whether results were read before.
    pub(super) is_warm: bool,
    _guards: [HookGuard<B>; 3],
}

impl<'a, B: Backend, M: Module<B>> Trainer<'a, B, M> {
    /// Begins a run on images of shape `image` (`[h, w, c]`).
    ///
    /// **Errors:** settings out of their range; a selection that matches no site of the model. A setting is named by its field in
    /// [`TrainSettings`].
    pub fn new(
        model: &'a M,
        parameters: Parameters<B>,
        image: [usize; 3],
        settings: TrainSettings,
    ) -> Result<Self> {
        Self::resume(model, parameters, TrainState::default(), image, settings)
    }

    /// Resumes a run from `state`, with the parameters of the same moment. The optimiser's state follows by
    /// [`restore_optimizer`](Self::restore_optimizer). The run then goes on bit for bit as if it had never stopped.
    ///
    /// **Errors:** those of [`Trainer::new`].
    pub fn resume(
        model: &'a M,
        mut parameters: Parameters<B>,
        mut state: TrainState,
        image: [usize; 3],
        settings: TrainSettings,
    ) -> Result<Self> {
        settings.check()?;
        let optimizer = settings.optimizer.build(&parameters).map_err(|error| error.within("optimizer"))?;
        state.loss_scale = match &settings.loss_scaling {
            Some(scaling) => {
                scaling.check().map_err(|error| error.within("loss_scaling"))?;
                state.loss_scale.or_else(|| Some(scaling.begin()))
            }
            None => None,
        };
        let trace = Arc::new(nn::trace(model, &mut parameters, image)?);
        let amplifier = Amplifier::new(&settings.strategy, &settings.amplification, &trace, settings.seed)?;
        let amplifier = Arc::new(Mutex::new(amplifier_at(amplifier, &settings, &state)?));
        let meter = Meter::new(trace.clone());
        let hooks = Hooks::new();
        let (before, after) = meter.hooks();
        let guards = [hooks.add(before), hooks.add_shared(amplifier.clone()), hooks.add(after)];
        let average = settings.ema.map(|decay| WeightAverage::new(decay, parameters.clone()));
        let mut trainer = Self {
            model,
            parameters,
            optimizer,
            objective: Rc::new(settings.objective),
            schedule: None,
            average,
            settings,
            state,
            trace,
            amplifier,
            meter,
            gradient_sums: Vec::new(),
            hooks,
            observers: Vec::new(),
            pending: Vec::new(),
            clock: Instant::now(),
            pace: None,
            is_warm: false,
            _guards: guards,
        };
        trainer.prepare_optimizer()?;
        Ok(trainer)
    }

    /// Tells the optimiser what it must know of the run.
    fn prepare_optimizer(&mut self) -> Result<()> {
        self.optimizer.skip_non_finite(self.settings.loss_scaling.is_some())?;
        self.optimizer.count_from(self.settings.seed, self.state.step);
        Ok(())
    }

    /// Lets `optimizer` make the steps, in place of that of the settings. A resumed run needs the same optimiser before it goes on.
    ///
    /// **Errors:** an optimiser that cannot skip steps, in a run with loss scaling.
    pub fn set_optimizer(&mut self, optimizer: Box<dyn Optimizer<B>>) -> Result<()> {
        self.optimizer = optimizer;
        self.prepare_optimizer()
    }

    /// Gives the optimiser of a resumed run a tensor of its [state](Optimizer::state), by its name and the parameter that it
    /// belongs to.
    ///
    /// **Errors:** a tensor that this optimiser does not have.
    pub fn restore_optimizer(
        &mut self,
        name: &str,
        parameter: Option<ParameterId>,
        tensor: Tensor<B>,
    ) -> Result<()> {
        self.optimizer.restore(&self.parameters, name, parameter, tensor)
    }

    /// Lets the run minimise `objective` in place of that of the settings. A resumed run needs the same objective before it goes on.
    pub fn set_objective(&mut self, objective: impl Objective<B> + 'static) {
        self.objective = Rc::new(objective);
    }

    /// Takes the learning rate of every step from `schedule` in place of the strategy. A resumed run needs the same schedule before it
    /// goes on.
    pub fn set_schedule(&mut self, schedule: impl Schedule + 'static) {
        self.schedule = Some(Box::new(schedule));
    }

    /// Gives a resumed run the average of [`Snapshot::ema`]. Without it the average begins at the current parameters.
    ///
    /// **Errors:** a run without an average.
    pub fn restore_ema(&mut self, average: Parameters<B>) -> Result<()> {
        match &mut self.average {
            Some(own) => own.parameters = average,
            None => return Err(Error::setting("ema", "is not set, but there is an average to restore")),
        }
        Ok(())
    }

    /// Lets `policy` decide in all phases that amplify. The settings still give the eligible layers, the placement and the bound
    /// on the gain. A resumed run needs the same policy before it goes on.
    ///
    /// **Errors:** a policy that needs statistics in a run that measures no gradients; those of
    /// [`Amplifier::with_policy`](crate::amplify::Amplifier::with_policy).
    pub fn set_policy(&mut self, policy: Box<dyn AmplificationPolicy>) -> Result<()> {
        let TrainSettings { strategy, amplification, seed, .. } = &self.settings;
        let amplifier = Amplifier::with_policy(strategy, amplification, &self.trace, *seed, policy)?;
        let amplifier = amplifier_at(amplifier, &self.settings, &self.state)?;
        *self.amplifier() = amplifier;
        Ok(())
    }

    /// Gives a resumed run the sums of [`Snapshot::gradient_sums`], by the parameters' numbers. A run that continues within an epoch
    /// needs them if its policy looks back at gradients; otherwise they are not used.
    pub fn restore_gradient_sums(&mut self, sums: Vec<Option<Tensor<B>>>) {
        self.gradient_sums = sums;
    }

    /// Adds an observer after the present ones.
    pub fn observe(&mut self, observer: &'a mut dyn Observer<B>) {
        self.observers.push(observer);
    }

    /// The hooks of the run. A gradient passes a first measurement, the amplifier, a second measurement, and then the hooks that
    /// are added here.
    pub fn hooks(&self) -> &Hooks<B> {
        &self.hooks
    }

    /// The current parameters.
    pub fn parameters(&self) -> &Parameters<B> {
        &self.parameters
    }

    /// The current state of the run.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// The content of a checkpoint of this moment.
    pub fn snapshot(&self) -> Snapshot<'_, B> {
        Snapshot {
            parameters: &self.parameters,
            ema: self.average.as_ref().map(|average| &average.parameters),
            optimizer: &*self.optimizer,
            gradient_sums: &self.gradient_sums,
            state: &self.state,
        }
    }

    /// The number of each phase that amplifies, and the mean gain of every parameter in it; `None` if the policy's decisions are
    /// not known in advance.
    ///
    /// **Errors:** those of the policy.
    pub fn expected_gains(&self) -> Result<Vec<(usize, Option<Vec<ParameterGain>>)>> {
        let amplifier = self.amplifier();
        let selections = amplifier.selections().enumerate();
        let amplified = selections.filter_map(|(i, selection)| Some((i, selection?)));
        amplified.map(|(i, selection)| Ok((i, gain::expected(&self.trace, selection)?))).collect()
    }

    pub(super) fn amplifier(&self) -> MutexGuard<'_, Amplifier> {
        self.amplifier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of steps in an epoch of `train`.
    pub(super) fn steps_of(&self, train: &dyn BatchSource<B>) -> usize {
        train.batches().div_ceil(self.settings.accumulate)
    }

    /// The learning rate of `step`, of epochs of `steps_per_epoch` steps.
    pub(super) fn lr_at(&self, step: u64, steps_per_epoch: usize) -> Result<f64> {
        let (strategy, scores, per_epoch) =
            (&self.settings.strategy, &self.state.scores, steps_per_epoch as u64);
        let Some(schedule) = &self.schedule else {
            return strategy.lr_at(step, per_epoch, scores).map_err(|error| error.within("strategy"));
        };
        let steps = strategy.epochs() as u64 * per_epoch;
        match schedule.lr(&Moment { step, steps, steps_per_epoch: per_epoch, scores }) {
            lr if lr.is_finite() && lr >= 0.0 => Ok(lr),
            lr => {
                let message =
                    format!("gave {lr} for step {step}, expected a finite learning rate of at least 0");
                Err(Error::setting("schedule", message))
            }
        }
    }
}

/// Brings an amplifier to the last step that `state` includes.
///
/// **Errors:** a policy that needs statistics in a run that measures no gradients.
fn amplifier_at(mut amplifier: Amplifier, settings: &TrainSettings, state: &TrainState) -> Result<Amplifier> {
    if settings.gradients_every == 0 && amplifier.epochs_kept() > 0 {
        let message =
            "is 0, but the policy of amplification decides by measured gradients: expected at least 1";
        return Err(Error::setting("gradients_every", message));
    }
    if let Some(last) = state.step.checked_sub(1) {
        let epoch = if state.batch == 0 { state.epoch.saturating_sub(1) } else { state.epoch };
        amplifier.resume_after(epoch, last, &state.history)?;
    }
    Ok(amplifier)
}
