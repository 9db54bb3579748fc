//! The device of a run. This module is the only place where the program chooses a backend.

use gradamp_core::{Backend, Error};
use gradamp_cpu::{Cpu, Isa};
use gradamp_wgpu::{Adapter, Choice, NoAdapter, OpenError, Options, Wgpu};

use crate::args::bench::DeviceArgs;
use crate::failure::{Failure, Result};
use crate::{output, stderr, tunings};
use gradamp_study::config::{Device, Gpu, LoopSettings, Memory, Precision};
use gradamp_study::shell;

/// The work of a command, on whichever backend was chosen.
pub trait Task {
    /// The result of the work.
    type Output;

    /// Does the work.
    fn run<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

/// A device that was found but is not opened yet.
#[derive(Debug)]
pub enum Chosen {
    /// The CPU.
    Cpu,
    /// An adapter.
    Gpu {
        /// The adapter.
        adapter: Box<Adapter>,
        /// Whether the CPU is used instead if the adapter cannot be opened.
        or_cpu: bool,
    },
}

/// The options with which a device is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// Threads of the CPU; 0 for one per core.
    pub threads: usize,
    /// The most memory to use on a GPU.
    pub gpu_memory: Option<Memory>,
    /// The precision in which convolutions multiply.
    pub precision: Precision,
    /// Whether a GPU uses the kernels that `gradamp tune` found to be the fastest.
    pub tuned: bool,
    /// Whether the self-test is skipped, so that a GPU that computes wrongly can be examined.
    pub trusted: bool,
}

impl From<&LoopSettings> for Opening {
    /// The options with which a run opens its device.
    fn from(run: &LoopSettings) -> Self {
        let LoopSettings { threads, gpu_memory, precision, tuned, .. } = *run;
        Self { threads, gpu_memory, precision, tuned, trusted: false }
    }
}

impl DeviceArgs {
    /// The options with which the device is opened.
    pub fn opening(&self) -> Opening {
        let Self { threads, gpu_memory, precision, tuned, .. } = *self;
        Opening { threads, gpu_memory, precision, tuned, trusted: false }
    }
}

/// Finds the device that `device` names.
///
/// **Errors:** no adapter matches. The message lists the adapters of this machine.
pub fn choose(device: &Device) -> Result<Chosen, Error> {
    let gpu = |adapter, or_cpu| Chosen::Gpu { adapter: Box::new(adapter), or_cpu };
    match device {
        Device::Cpu => Ok(Chosen::Cpu),
        Device::Auto => Ok(Choice::Best.find(adapters()).map_or(Chosen::Cpu, |adapter| gpu(adapter, true))),
        Device::Gpu(wanted) => {
            let choice = match wanted.clone() {
                Gpu::Best => Choice::Best,
                Gpu::Number(number) => Choice::Number(number),
                Gpu::Name(name) => Choice::Name(name),
            };
            Ok(gpu(choice.find(adapters()).map_err(no_adapter)?, false))
        }
    }
}

/// The error for a device that does not exist. The message lists the devices that exist.
fn no_adapter(error: NoAdapter) -> Error {
    let NoAdapter { choice, adapters, .. } = error;
    let names: Vec<String> =
        adapters.iter().map(|adapter| format!("gpu:{} {adapter}", adapter.number)).collect();
    let found = match (names.is_empty(), &choice) {
        (true, _) => "found no adapter that can compute; `cpu` and `auto` need none".to_owned(),
        // `Best` finds every adapter that is not a software rasteriser.
        (_, Choice::Best) => format!(
            "found only software rasterisers: {}; `cpu` is faster, and `gpu:0` selects one anyway",
            names.join(", ")
        ),
        _ => format!("found {}", names.join(", ")),
    };
    Error::setting("train.device", format!("expected {choice}, {found}"))
}

/// Does `task` on the device that the command line names.
///
/// **Errors:** no adapter matches; the device cannot be opened; those of the task.
pub fn run<T: Task>(args: &DeviceArgs, task: T) -> Result<T::Output> {
    choose_by_flag("--device", &args.device)?.run(&args.opening(), task)
}

/// Finds the device that the flag called `flag` names.
///
/// **Errors:** no adapter matches.
pub fn choose_by_flag(flag: &str, device: &Device) -> Result<Chosen> {
    choose(device).map_err(|error| match error {
        Error::Setting { message, .. } => Failure::usage(format!("{flag}: {message}")),
        other => other.into(),
    })
}

impl Chosen {
    /// The precision in which the device would multiply if the setting is `wanted`.
    pub fn precision(&self, wanted: Precision) -> Precision {
        match self {
            Chosen::Gpu { adapter, .. } if adapter.fast_paths.f16 => wanted,
            Chosen::Cpu if Isa::chosen().is_ok_and(Isa::has_mixed) => wanted,
            _ => Precision::F32,
        }
    }

    /// Opens the device and does `task` on it.
    ///
    /// **Errors:** the device cannot be opened; those of the task.
    pub fn run<T: Task>(self, opening: &Opening, task: T) -> Result<T::Output> {
        if self.precision(opening.precision) != opening.precision {
            output::message("this device has no mixed precision; it multiplies in f32");
        } else if opening.precision == Precision::Mixed && matches!(self, Chosen::Cpu) {
            output::message(
                "mixed precision on the CPU: factors are rounded to bf16, which has the range of f32 and needs no loss scaling",
            );
        }
        if let Chosen::Gpu { adapter, or_cpu } = self {
            let options = options(&adapter, opening)?;
            match open(&adapter, &options) {
                Ok(gpu) => return task.run(gpu),
                Err(error) if or_cpu => output::message(format_args!("{error}; the CPU is used instead")),
                Err(error) => return Err(error.into()),
            }
        }
        task.run(cpu(opening.threads, Chosen::Cpu.precision(opening.precision))?)
    }
}

/// The graphics adapters of this machine.
pub fn adapters() -> Vec<Adapter> {
    stderr::without_drivers(gradamp_wgpu::adapters)
}

/// Opens an adapter.
///
/// **Errors:** the adapter cannot be opened, or computes wrongly.
pub fn open(adapter: &Adapter, options: &Options) -> Result<Wgpu, Error> {
    stderr::without_drivers(|| Wgpu::open(adapter, options)).map_err(|error| match error {
        OpenError::Driver(error) => error,
        OpenError::WrongResults { .. } => {
            Error::external(format!("{error}; `{} devices --check` reports details", shell::program()))
        }
        OpenError::OtherTuning { .. } => {
            Error::external(format!("{error}; `{} tune` measures the kernels again", shell::program()))
        }
        _ => error.into(),
    })
}

/// The backend's options for `adapter`.
///
/// **Errors:** `tuned` is set, but no measurements exist for the adapter.
pub fn options(adapter: &Adapter, opening: &Opening) -> Result<Options> {
    let Opening { gpu_memory, precision, tuned, trusted, .. } = *opening;
    let precision = if adapter.fast_paths.f16 { precision } else { Precision::F32 };
    Ok(Options::default()
        .with_memory(gpu_memory.map(|Memory(bytes)| bytes))
        .with_precision(precision)
        .with_tuning(tuned.then(|| tunings::load(adapter, precision)).transpose()?)
        .with_trusted(trusted))
}

/// Opens the CPU with `threads` threads; 0 means one per core.
///
/// Prints a warning if the system starts fewer threads. The results are the same.
///
/// **Errors:** the machine lacks instructions that the backend, or this precision, needs.
pub fn cpu(threads: usize, precision: Precision) -> Result<Cpu> {
    let threads = if threads == 0 { cores() } else { threads };
    let cpu = Cpu::with_precision(threads, Isa::chosen()?, precision)?;
    let found = cpu.thread_count();
    if found < threads {
        output::message(format_args!(
            "warning: the system started only {found} of {threads} threads; the program continues with these"
        ));
    }
    Ok(cpu)
}

/// Whether `backend` is the CPU.
pub fn is_cpu<B: Backend>(backend: &B) -> bool {
    cpu_precision(backend).is_some()
}

/// The precision in which `backend` multiplies if it is the CPU.
pub fn cpu_precision<B: Backend>(backend: &B) -> Option<Precision> {
    (backend as &dyn std::any::Any).downcast_ref().map(Cpu::precision)
}

/// The number of threads that the machine runs at the same time, or fewer if this process is a job of Slurm that got fewer cores:
/// not every cluster confines its jobs to them.
pub fn cores() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let allotted = std::env::var("SLURM_CPUS_ON_NODE").ok().and_then(|cores| cores.parse().ok());
    allotted.map_or(all, |cores: usize| all.min(cores.max(1)))
}
