//! The command lines of `gradamp bench` and `gradamp tune`, and the options that describe a device.

use std::fmt;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gradamp_study::config::number::{LARGEST, whole};
use gradamp_study::config::{Device, Memory, Precision};

/// The device options of a command that takes no settings.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// The device: auto (the best GPU, or the CPU if there is none), cpu, gpu, gpu:NUMBER or gpu:NAME.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// The number of CPU threads; 0 means all cores.
    #[arg(long, default_value_t = 0, value_parser = whole::<usize>(0..=1024))]
    pub threads: usize,
    /// The most memory that tensors may occupy on a GPU, such as 4GiB.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub gpu_memory: Option<Memory>,
    /// The precision of products: f32, or mixed (factors in f16 on a GPU, in bf16 on a CPU; sums in f32).
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub precision: Precision,
    /// Use the kernels that the command `tune` found to be the fastest on this GPU.
    #[arg(long)]
    pub tuned: bool,
}

/// The step that a benchmark times.
#[derive(Args, Clone, Debug)]
pub struct WorkloadArgs {
    /// The network.
    #[arg(long, default_value = "resnet18")]
    pub model: String,
    /// The number of channels of the first stage.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>(0..=LARGEST))]
    pub width: usize,
    /// The number of images per step.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>(0..=LARGEST))]
    pub batch: usize,
}

impl fmt::Display for WorkloadArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of width {}, batch {}", self.model, self.width, self.batch)
    }
}

/// `gradamp bench step` and `gradamp bench amplify`
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// The model and the batch.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// The number of timed steps.
    #[arg(long, default_value_t = 5, value_parser = whole::<usize>(1..=1_000_000))]
    pub steps: usize,
    /// The number of steps before the timed ones.
    #[arg(long, default_value_t = 2, value_parser = whole::<usize>(0..=1_000_000))]
    pub warmup: usize,
    /// Amplify every batch-norm and ReLU site by 1.0001.
    #[arg(long)]
    pub amplify: bool,
    /// Time evaluations of the batch (a forward pass in evaluation mode) in place of training steps.
    #[arg(long, conflicts_with = "amplify")]
    pub evaluate: bool,
    /// Print the results as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp bench ops`
#[derive(Args, Clone, Debug)]
pub struct OpsArgs {
    /// The model whose training step is timed.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// The number of measurements of each operation; their median is reported.
    #[arg(long, default_value_t = 5, value_parser = whole::<usize>(1..=1_000_000))]
    pub rounds: usize,
    /// Time only operations whose name contains this text, such as convolution.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Print the results as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp tune`
#[derive(Args, Debug)]
pub struct TuneArgs {
    /// The model whose convolutions are measured.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A parser for the name of a precision. Its help explains each precision.
fn precision() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: Precision| {
        PossibleValue::new(precision.name()).help(match precision {
            Precision::F32 => "Everything is computed in f32",
            Precision::Mixed => {
                "Factors are rounded to f16 on a GPU, to bf16 on a CPU; sums and tensors are f32"
            }
        })
    };
    let named = |name: String| Precision::ALL.into_iter().find(|precision| precision.name() == name);
    PossibleValuesParser::new(Precision::ALL.map(value)).map(move |name| named(name).unwrap_or_default())
}
