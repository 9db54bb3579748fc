//! The command lines of `gradamp bench` and `gradamp tune`, and the options of every command that names a device.

use std::fmt;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gradamp_study::config::number::{LARGEST, whole};
use gradamp_study::config::{Device, Memory, Precision};

/// The device of a command without settings.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Where to compute: auto (the best GPU, else the CPU), cpu, gpu, gpu:NUMBER or gpu:NAME.
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Threads of the CPU; 0 for all cores.
    #[arg(long, default_value_t = 0, value_parser = whole::<usize>(0..=1024))]
    pub threads: usize,
    /// Most memory that tensors may take on a GPU, such as 4GiB.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub gpu_memory: Option<Memory>,
    /// How exactly a GPU multiplies: mixed has f16 factors and f32 sums.
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub precision: Precision,
    /// Use the kernels that `gradamp tune` found to be the fastest on this GPU.
    #[arg(long)]
    pub tuned: bool,
}

/// What a benchmark computes.
#[derive(Args, Clone, Debug)]
pub struct WorkloadArgs {
    /// The network.
    #[arg(long, default_value = "resnet18")]
    pub model: String,
    /// Channels of the first stage.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>(0..=LARGEST))]
    pub width: usize,
    /// Images per step.
    #[arg(long, default_value_t = 64, value_parser = whole::<usize>(0..=LARGEST))]
    pub batch: usize,
}

impl fmt::Display for WorkloadArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of width {}, batch {}", self.model, self.width, self.batch)
    }
}

/// Settings of a benchmark of steps.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What is computed.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Steps that are timed.
    #[arg(long, default_value_t = 5, value_parser = whole::<usize>(1..=1_000_000))]
    pub steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2, value_parser = whole::<usize>(0..=1_000_000))]
    pub warmup: usize,
    /// Amplify every batch-norm and ReLU site by 1.0001.
    #[arg(long)]
    pub amplify: bool,
    /// Print one JSON line.
    #[arg(long)]
    pub json: bool,
}

/// Settings of `gradamp bench ops`.
#[derive(Args, Clone, Debug)]
pub struct OpsArgs {
    /// The model whose training step is looked at.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Measurements of each operation; the median counts.
    #[arg(long, default_value_t = 5, value_parser = whole::<usize>(1..=1_000_000))]
    pub rounds: usize,
    /// Only operations whose name holds this, such as convolution.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Print one JSON line.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp tune`
#[derive(Args, Debug)]
pub struct TuneArgs {
    /// What is trained.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Where.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Reads a precision by its name; the help says what each is.
fn precision() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: Precision| {
        PossibleValue::new(precision.name()).help(match precision {
            Precision::F32 => "All in f32",
            Precision::Mixed => {
                "Factors of convolutions are rounded to f16; products, sums and tensors are f32"
            }
        })
    };
    let named = |name: String| Precision::ALL.into_iter().find(|precision| precision.name() == name);
    PossibleValuesParser::new(Precision::ALL.map(value)).map(move |name| named(name).unwrap_or_default())
}
