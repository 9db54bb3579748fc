//! The options that set settings.

use std::path::PathBuf;

use clap::Args;
use gradamp_core::train::OnDivergence;
use gradamp_data::Choice;
use gradamp_study::config::Layers;
use gradamp_study::config::number::{LARGEST, real, whole};
use gradamp_study::config::tree::{Node, Origin, Value};

/// The options that set settings. A later source overrides an earlier one: defaults, --preset, --config, --set, other
/// options.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// A configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A configuration that ships with the program: tour, baseline, middle-phase, two-rate-150 or vanishing.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Set one value by its path, such as amplification.factor=3 or strategy.phase.1.lr=0.01 (phases from 0).
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
    /// The network: vgg11, vgg13, vgg16, vgg19, resnet18, resnet34 or mlp.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The number of channels of the first stage; 64 is the full size.
    #[arg(long, value_parser = whole::<u64>(0..=LARGEST))]
    pub width: Option<u64>,
    /// The data: auto, cifar10, cifar100, mnist, fashion-mnist, shapes, or the path of a data set: CIFAR's files, .tar or
    /// parquet files, IDX files, or a folder of images (train/CLASS/*.png and test/CLASS/*.png).
    #[arg(long, value_name = "NAME|PATH")]
    pub data: Option<PathBuf>,
    /// The device: auto (the best GPU, or the CPU if there is none), cpu, gpu, gpu:NUMBER or gpu:NAME.
    #[arg(long)]
    pub device: Option<String>,
    /// The most memory that tensors may occupy on a GPU, such as 4GiB.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub gpu_memory: Option<String>,
    /// The precision of products: f32, or mixed (factors in f16 on a GPU, in bf16 on a CPU; sums in f32).
    #[arg(long)]
    pub precision: Option<String>,
    /// Use the kernels that the command `tune` found to be the fastest on this GPU.
    #[arg(long)]
    pub tuned: bool,
    /// Write event files for TensorBoard into the run folder.
    #[arg(long)]
    pub tensorboard: bool,
    /// The total number of epochs; each phase of the strategy keeps its share of them.
    #[arg(long, value_parser = whole::<usize>(0..=LARGEST))]
    pub epochs: Option<usize>,
    /// The number of images per step.
    #[arg(long, value_parser = whole::<u64>(0..=LARGEST))]
    pub batch_size: Option<u64>,
    /// The highest learning rate of the first phase; all other rates are scaled in proportion.
    #[arg(long, value_parser = real)]
    pub lr: Option<f64>,
    /// The seed of all random numbers: initial parameters, order of images, augmentation, draws of amplified layers.
    #[arg(long, value_parser = whole::<u64>(0..=LARGEST))]
    pub seed: Option<u64>,
    /// The number of CPU threads; 0 means all cores. Results do not depend on this number.
    #[arg(long, value_parser = whole::<u64>(0..=LARGEST))]
    pub threads: Option<u64>,
    /// Start from the parameters in this safetensors file (with PyTorch's names and layouts).
    #[arg(long, value_name = "FILE.safetensors")]
    pub init: Option<PathBuf>,
    /// With --init: whose names the tensors of the file have: gradamp, timm or torchvision.
    #[arg(long, value_name = "NAMES")]
    pub init_names: Option<String>,
    /// With --init: do not read the parameters that this pattern matches, such as 'linear.*' for another number of
    /// classes. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    pub init_skip: Vec<String>,
    /// Stop after this many steps. The run is saved and can be resumed.
    #[arg(long, value_parser = whole::<u64>(0..=LARGEST))]
    pub max_steps: Option<u64>,
    /// What to do when the loss is not finite: stop or continue.
    #[arg(long, value_parser = parse_on_divergence, value_name = "stop|continue")]
    pub on_divergence: Option<OnDivergence>,
}

fn parse_on_divergence(text: &str) -> Result<OnDivergence, String> {
    match text {
        "stop" => Ok(OnDivergence::Stop),
        "continue" => Ok(OnDivergence::Continue),
        _ => Err("expected stop or continue".into()),
    }
}

impl SettingsArgs {
    /// Returns the arguments as layers of settings.
    pub fn layers(&self) -> Layers {
        Layers {
            is_stored: false,
            preset: self.preset.clone(),
            file: self.config.clone(),
            sets: self.set.clone(),
            flags: self.flags(),
            data: self.data.as_deref().map(Choice::from),
            epochs: self.epochs,
            lr: self.lr,
        }
    }

    fn flags(&self) -> Vec<(&'static str, &'static str, Option<Value>)> {
        let text = |text: &String| Some(Value::String(text.clone()));
        let number = |n: &u64| Some(Value::Integer(n.cast_signed())); // the parser refuses numbers above LARGEST
        let path = |path: &PathBuf| Some(Value::path(path, &Origin::Flag("--init")));
        let mut flags = Vec::new();
        let mut add = |flag, key, value: Option<Option<Value>>| {
            if let Some(value) = value {
                flags.push((flag, key, value));
            }
        };
        add("--model", "model.name", self.model.as_ref().map(text));
        add("--width", "model.width", self.width.as_ref().map(number));
        add("--init", "model.init", self.init.as_ref().map(path));
        add("--init-names", "model.init_names", self.init_names.as_ref().map(text));
        let patterns = || {
            let items = self.init_skip.iter().map(|pattern| Node {
                origin: Origin::Flag("--init-skip"),
                value: Value::String(pattern.clone()),
            });
            Some(Value::Array(items.collect()))
        };
        add("--init-skip", "model.init_skip", (!self.init_skip.is_empty()).then(patterns));
        add("--batch-size", "train.batch_size", self.batch_size.as_ref().map(number));
        add("--seed", "train.seed", self.seed.as_ref().map(number));
        add("--threads", "train.threads", self.threads.as_ref().map(number));
        add("--max-steps", "train.max_steps", self.max_steps.as_ref().map(number));
        add("--device", "train.device", self.device.as_ref().map(text));
        add("--gpu-memory", "train.gpu_memory", self.gpu_memory.as_ref().map(text));
        add("--precision", "train.precision", self.precision.as_ref().map(text));
        add("--tuned", "train.tuned", self.tuned.then_some(Some(Value::Boolean(true))));
        add("--tensorboard", "train.tensorboard", self.tensorboard.then_some(Some(Value::Boolean(true))));
        let on_divergence = self.on_divergence.map(|choice| match choice {
            OnDivergence::Stop => "stop".to_owned(),
            OnDivergence::Continue => "continue".to_owned(),
        });
        add("--on-divergence", "train.on_divergence", on_divergence.as_ref().map(text));
        flags
    }
}
