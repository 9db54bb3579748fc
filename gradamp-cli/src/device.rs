//! The device of a run: the one place where the program chooses a backend.

use gradamp_core::{Backend, Error};
use gradamp_cpu::Cpu;
use gradamp_wgpu::{Adapter, Choice, NoAdapter, OpenError, Options, Wgpu};

use crate::args::DeviceArgs;
use crate::failure::{Failure, Result};
use crate::{output, stderr, tunings};
use gradamp_study::config::{Device, Gpu, Memory, Precision};

/// What a command does with the backend that was chosen.
pub trait Task {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

/// A device that is there, not yet opened.
#[derive(Debug)]
pub enum Chosen {
    /// The CPU.
    Cpu,
    /// An adapter.
    Gpu {
        /// Which one.
        adapter: Box<Adapter>,
        /// Whether the CPU takes its place where it cannot be opened.
        or_cpu: bool,
    },
}

/// How a device is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// Threads of the CPU; 0 for one per core.
    pub threads: usize,
    /// Most memory of a GPU.
    pub gpu_memory: Option<Memory>,
    /// How exactly a GPU multiplies.
    pub precision: Precision,
    /// Whether a GPU uses what `gradamp tune` measured on it.
    pub tuned: bool,
    /// Whether a GPU is trusted without a question, to find out more about one that computes wrongly.
    pub trusted: bool,
}

impl DeviceArgs {
    /// How the device is opened.
    pub fn opening(&self) -> Opening {
        let Self { threads, gpu_memory, precision, tuned, .. } = *self;
        Opening { threads, gpu_memory, precision, tuned, trusted: false }
    }
}

/// The device that is meant.
///
/// **Errors:** no adapter fits; the message lists those there are.
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

/// The error of a device that is not there, with the devices that are.
fn no_adapter(error: NoAdapter) -> Error {
    let NoAdapter { choice, adapters, .. } = error;
    let names: Vec<String> =
        adapters.iter().map(|adapter| format!("gpu:{} {adapter}", adapter.number)).collect();
    let found = match (names.is_empty(), &choice) {
        (true, _) => "this machine has none that can compute; `cpu` and `auto` need none".to_owned(),
        // Any other adapter would have been found.
        (_, Choice::Best) => format!(
            "this machine has software rasterisers only: {}; `cpu` is faster, `gpu:0` takes one all the same",
            names.join(", ")
        ),
        _ => format!("this machine has {}", names.join(", ")),
    };
    Error::setting("train.device", format!("expected {choice}, {found}"))
}

/// Does `task` on the device that the command line names.
///
/// **Errors:** no adapter fits; a device that cannot be opened; those of the task.
pub fn run<T: Task>(args: &DeviceArgs, task: T) -> Result<T::Output> {
    choose_by_flag("--device", &args.device)?.run(&args.opening(), task)
}

/// The device that the flag called `flag` names.
///
/// **Errors:** no adapter fits.
pub fn choose_by_flag(flag: &str, device: &Device) -> Result<Chosen> {
    choose(device).map_err(|error| match error {
        Error::Setting { message, .. } => Failure::usage(format!("{flag}: {message}")),
        other => other.into(),
    })
}

impl Chosen {
    /// How exactly the device multiplies where `wanted` is asked for.
    pub fn precision(&self, wanted: Precision) -> Precision {
        match self {
            Chosen::Gpu { adapter, .. } if adapter.fast_paths.f16 => wanted,
            _ => Precision::F32,
        }
    }

    /// Opens the device and does `task` on it.
    ///
    /// **Errors:** a device that cannot be opened; those of the task.
    pub fn run<T: Task>(self, opening: &Opening, task: T) -> Result<T::Output> {
        if let Chosen::Gpu { adapter, or_cpu } = self {
            let options = options(&adapter, opening)?;
            match open(&adapter, &options) {
                Ok(gpu) => return task.run(gpu),
                Err(error) if or_cpu => output::message(format_args!("{error}; the CPU takes its place")),
                Err(error) => return Err(error.into()),
            }
        }
        task.run(cpu(opening.threads)?)
    }
}

/// The graphics adapters of this machine.
pub fn adapters() -> Vec<Adapter> {
    stderr::without_drivers(gradamp_wgpu::adapters)
}

/// Opens an adapter.
///
/// **Errors:** an adapter that cannot be opened, or that computes wrongly.
pub fn open(adapter: &Adapter, options: &Options) -> Result<Wgpu, Error> {
    stderr::without_drivers(|| Wgpu::open(adapter, options)).map_err(|error| match error {
        OpenError::Driver(error) => error,
        OpenError::WrongResults { .. } => {
            Error::external(format!("{error}; `gradamp devices --check` says more"))
        }
        OpenError::OtherTuning { .. } => Error::external(format!("{error}; `gradamp tune` measures anew")),
        _ => error.into(),
    })
}

/// How `adapter` is opened.
///
/// **Errors:** nothing was measured on it, where that is to be used.
pub fn options(adapter: &Adapter, opening: &Opening) -> Result<Options> {
    let Opening { gpu_memory, precision, tuned, trusted, .. } = *opening;
    let precision = if adapter.fast_paths.f16 { precision } else { Precision::F32 };
    Ok(Options {
        memory: gpu_memory.map(|Memory(bytes)| bytes),
        precision,
        tuning: tuned.then(|| tunings::load(adapter, precision)).transpose()?,
        trusted,
        ..Options::default()
    })
}

/// The CPU with `threads` threads, 0 for one per core.
///
/// Where the system starts fewer, it is said and the work goes on: the results are the same.
///
/// **Errors:** instructions that the machine does not have.
pub fn cpu(threads: usize) -> Result<Cpu> {
    let threads = if threads == 0 { cores() } else { threads };
    let cpu = Cpu::with_threads(threads)?;
    let found = cpu.thread_count();
    if found < threads {
        output::message(format_args!(
            "warning: the system started {found} of {threads} threads; it goes on with those"
        ));
    }
    Ok(cpu)
}

/// Whether `backend` is the CPU.
pub fn is_cpu<B: Backend>(backend: &B) -> bool {
    (backend as &dyn std::any::Any).is::<Cpu>()
}

/// How many threads the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
