//! The configuration of a run: typed settings, each with its origin.

mod device;
mod error;
mod extend;
pub mod keys;
mod layers;
mod model;
pub mod number;
mod optimizer;
mod origin;
mod phases;
pub mod presets;
mod read;
mod show;
mod template;
mod text;
pub mod tree;

use gradamp_core::amplify::{AmplificationSettings, Phase, Strategy};
use gradamp_core::objective::{CrossEntropy, Mixing};
use gradamp_core::train::{LossScaling, OnDivergence, TrainSettings};
use gradamp_data::DataSettings;
use serde::{Deserialize, Serialize};

pub use device::{Device, Gpu, Memory};
pub use error::KeyError;
pub use gradamp_core::backend::Precision;
pub(crate) use layers::{DRAWS, file_tree, preset_tree};
pub use layers::{Difference, Layers, Resolved};
pub use model::ModelOptions;
pub use optimizer::{OptimizerName, OptimizerOptions};
pub(crate) use read::read;
pub use template::template;
pub(crate) use text::read_file;

/// All settings of a run. Every key except the strategy's phases has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The network.
    pub model: ModelOptions,
    /// The data set.
    pub data: DataSettings,
    /// The training loop.
    pub train: LoopSettings,
    /// SGD, and the changes of gradients before SGD's step.
    pub optimizer: OptimizerOptions,
    /// Which gradients are amplified and by how much, in the phases in which the strategy switches amplification on.
    pub amplification: AmplificationSettings,
    /// Phases of learning rate and amplification.
    pub strategy: Strategy,
}

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LoopSettings {
    /// Images per batch: per step, unless a step has several batches.
    pub batch_size: usize,
    /// Batches whose gradients make one step. The gradient is that of one large batch, but a batch norm has the statistics of each
    /// batch. Needs less memory than a large batch.
    pub accumulate: usize,
    /// α of mixup, which mixes the images and labels of each batch; 0 for none.
    pub mixup: f32,
    /// α of CutMix, which pastes a window of another image; 0 for none. With mixup, each batch gets one of the two.
    pub cutmix: f32,
    /// The decay of an exponential moving average of the weights, which is evaluated beside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// The epochs without a better evaluation after which the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// The seed of all random numbers: initial parameters, order of images, augmentation, draws of amplified layers.
    pub seed: u64,
    /// The device.
    pub device: Device,
    /// The number of CPU threads; 0 means all cores. Results do not depend on this number.
    pub threads: usize,
    /// The most memory that tensors may occupy on a GPU; without this setting, all memory that the GPU has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<Memory>,
    /// The precision of products. A GPU without 16-bit floats and a CPU without instructions for bf16 multiply in f32.
    pub precision: Precision,
    /// Whether a GPU uses the kernels that `gradamp tune` found to be the fastest.
    pub tuned: bool,
    /// The number of epochs between evaluations. The last epoch is always evaluated.
    pub evaluate_every: usize,
    /// The number of steps between lines of `metrics.jsonl` within an epoch; 0 means no such lines.
    pub log_interval: usize,
    /// The number of steps between measurements of all sites' gradients within an epoch; 0 means no measurements.
    pub gradients_every: usize,
    /// Whether those measurements include forward signals, gradient noise and angular updates; `docs/recording.md` describes them.
    pub signals: bool,
    /// The seconds between checkpoints within an epoch. A checkpoint is also saved after every epoch.
    pub checkpoint_seconds: f64,
    /// Whether event files for TensorBoard are written.
    pub tensorboard: bool,
    /// The number of steps after which the run stops as if interrupted. It can be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Whether a finished run is followed by its baseline, the same run without amplification, in a folder of its own, and
    /// both are printed side by side. The runs of a sweep ignore it, because a sweep has baselines of its own.
    pub baseline: bool,
    /// What to do when the loss is not finite.
    pub on_divergence: OnDivergence,
    /// Loss scaling, which keeps gradients from vanishing in half precision. `precision = "mixed"` uses its defaults on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scaling: Option<LossScaling>,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            batch_size: 128,
            accumulate: 1,
            mixup: 0.0,
            cutmix: 0.0,
            ema: None,
            patience: None,
            seed: 0,
            device: Device::Auto,
            threads: 0,
            gpu_memory: None,
            precision: Precision::F32,
            tuned: false,
            evaluate_every: 1,
            log_interval: 10,
            gradients_every: 50,
            signals: false,
            checkpoint_seconds: 60.0,
            tensorboard: false,
            max_steps: None,
            baseline: false,
            on_divergence: OnDivergence::Stop,
            loss_scaling: None,
        }
    }
}

impl LoopSettings {
    /// The number of steps in an epoch of `batches` batches.
    pub fn steps_per_epoch(&self, batches: usize) -> usize {
        batches.div_ceil(self.accumulate)
    }
}

impl Config {
    /// Checks every value against its range.
    ///
    /// **Errors:** the first value that is out of its range, with its key.
    pub fn check(&self) -> Result<(), KeyError> {
        let fail = |key: &str, found: &dyn std::fmt::Display, expected: &str| {
            Err(KeyError::new(format!("found {found}, expected {expected}")).about(key))
        };
        let LoopSettings { batch_size, evaluate_every, checkpoint_seconds, .. } = &self.train;
        self.model.check()?;
        if !(1..=65536).contains(batch_size) {
            return fail("train.batch_size", batch_size, "1 to 65536");
        }
        if *evaluate_every == 0 {
            return fail("train.evaluate_every", evaluate_every, "at least 1 epoch");
        }
        if checkpoint_seconds.is_nan() || *checkpoint_seconds < 0.0 {
            return fail("train.checkpoint_seconds", checkpoint_seconds, "0 or more seconds");
        }
        if self.train.threads > 1024 {
            return fail("train.threads", &self.train.threads, "0 (all cores) to 1024");
        }
        if self.train.max_steps == Some(0) {
            return fail("train.max_steps", &0, "at least 1 step");
        }
        if !(1..=65536).contains(&self.train.accumulate) {
            return fail("train.accumulate", &self.train.accumulate, "1 to 65536 batches");
        }
        if let Some(decay) = self.train.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            return fail("train.ema", &decay, "a number between 0 and 1");
        }
        if self.train.patience == Some(0) {
            return fail("train.patience", &0, "at least 1 epoch");
        }
        self.optimizer.check()?;
        let mixing = Mixing::default().with_mixup(self.train.mixup).with_cutmix(self.train.cutmix);
        mixing.check().map_err(|error| error.within("train"))?;
        let loss_scaling = self.train.loss_scaling.as_ref().map_or(Ok(()), LossScaling::check);
        loss_scaling.map_err(|error| error.within("loss_scaling"))?;
        self.data.check().map_err(|error| gradamp_core::Error::from(error.within("data")))?;
        self.strategy.check().map_err(|error| error.within("strategy"))?;
        self.amplification.check().map_err(|error| error.within("amplification"))?;
        let looks_back = |phase: &Phase| {
            phase.amplify.settings(&self.amplification).is_some_and(|settings| settings.policy.looks_back())
        };
        if self.train.gradients_every == 0 && self.strategy.phases.iter().any(looks_back) {
            let expected = "at least 1, for the policy of amplification decides by measured gradients";
            return fail("train.gradients_every", &0, expected);
        }
        if self.train.signals && self.train.gradients_every == 0 {
            let expected = "at least 1, for `signals` measures where gradients are measured";
            return fail("train.gradients_every", &0, expected);
        }
        Ok(())
    }

    /// A note if AdamW hides what amplification does.
    fn note_on_adamw(&self) -> Option<String> {
        let is_amplified = self.strategy.phases.iter().any(|phase| phase.amplify.is_on());
        (self.optimizer.name == OptimizerName::AdamW && is_amplified).then(|| {
            "AdamW divides each gradient by its own size: amplification acts by `optimizer.epsilon`, by `clip_norm`, and for a while \
             after it is switched, and is invisible otherwise"
                .into()
        })
    }

    /// The trainer's settings.
    pub fn train_settings(&self) -> TrainSettings {
        let mixing = Mixing::default().with_mixup(self.train.mixup).with_cutmix(self.train.cutmix);
        let objective =
            CrossEntropy::default().with_label_smoothing(self.optimizer.label_smoothing).with_mixing(mixing);
        let loss_scaling = match (&self.train.loss_scaling, self.train.precision) {
            (None, Precision::Mixed) => Some(LossScaling::default()),
            (set, _) => set.clone(),
        };
        TrainSettings::default()
            .with_seed(self.train.seed)
            .with_strategy(self.strategy.clone())
            .with_amplification(self.amplification.clone())
            .with_optimizer(self.optimizer.settings())
            .with_objective(objective)
            .with_accumulate(self.train.accumulate)
            .with_ema(self.train.ema)
            .with_patience(self.train.patience)
            .with_evaluate_every(self.train.evaluate_every)
            .with_gradients_every(self.train.gradients_every)
            .with_signals(self.train.signals)
            .with_max_steps(self.train.max_steps)
            .with_on_divergence(self.train.on_divergence)
            .with_loss_scaling(loss_scaling)
    }
}

impl From<gradamp_core::Error> for KeyError {
    /// Replaces the name of a library's field by the key of the configuration.
    fn from(error: gradamp_core::Error) -> Self {
        match error {
            gradamp_core::Error::Setting { field, message } => KeyError::new(message).about(&key_of(&field)),
            other => KeyError::new(other.to_string()),
        }
    }
}

/// The key of a field of [`TrainSettings`]; other fields are keys already. Numbers in lists become parts of the path.
fn key_of(field: &str) -> String {
    let field = field.replace('[', ".").replace(']', "");
    let below =
        |parent: &str| field.strip_prefix(parent).filter(|rest| rest.is_empty() || rest.starts_with('.'));
    if let Some(rest) = below("strategy.phases") {
        return format!("strategy.phase{rest}");
    }
    let of_the_loop = [
        "evaluate_every",
        "gradients_every",
        "signals",
        "max_steps",
        "loss_scaling",
        "accumulate",
        "ema",
        "patience",
        "mixup",
        "cutmix",
    ];
    if of_the_loop.iter().any(|name| below(name).is_some()) {
        return format!("train.{field}");
    }
    if field == "label_smoothing" { format!("optimizer.{field}") } else { field }
}

#[cfg(test)]
mod tests;
