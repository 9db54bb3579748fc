//! Opening an adapter: its options, the device behind it, and the self-tests.

use std::fmt;

use derive_setters::Setters;
use gradamp_core::backend::Memory;
use gradamp_core::{Error, Result};
use wgpu::Features;

use crate::algorithm::{ConvOp, Matrices};
use crate::device::adapter::Adapter;
use crate::gpu::{Setup, Wgpu};
use crate::ops::kernels;
use crate::self_test::{self, Wrong};
use crate::tune::Tuning;
use gradamp_core::backend::Precision;

/// How an adapter is opened.
#[derive(Clone, Debug, Default, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Options {
    /// The largest number of bytes of device memory for tensors; `None` for as many as the device has.
    pub memory: Option<u64>,
    /// How precisely convolutions multiply. An adapter without f16 uses f32.
    pub precision: Precision,
    /// Measurements made on this adapter, whose algorithms replace the default ones.
    pub tuning: Option<Tuning>,
    /// Whether shaders check every access against its buffer. This is slower; tests use it.
    pub checked: bool,
    /// Whether a software adapter also runs the kernels that are made for GPUs. This is slower; tests use it.
    pub tiled: bool,
    /// Whether the self-test is skipped. The self-test refuses a driver that computes wrongly; skip it to examine such a driver.
    pub trusted: bool,
}

/// Why an adapter was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The driver refused or failed.
    Driver(Error),
    /// The self-test found that the driver computes wrongly.
    WrongResults {
        /// The adapter, in words.
        adapter: String,
        /// The operation whose result is wrong.
        op: ConvOp,
        /// The largest error, relative to the largest value.
        error: f64,
        /// The limit of that error.
        limit: f64,
    },
    /// The tuning was measured on another adapter, driver, precision or set of kernels.
    OtherTuning {
        /// The adapter, in words.
        adapter: String,
        /// The adapter and driver on which the tuning was measured.
        measured_on: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Driver(error) => error.fmt(f),
            OpenError::WrongResults { adapter, op, error, limit } => write!(
                f,
                "backend {adapter}: computes wrongly: a small convolution ({op}) is off by {error:.1e} of its largest \
                 value, expected less than {limit:.0e}; a newer driver may help"
            ),
            OpenError::OtherTuning { adapter, measured_on } => write!(
                f,
                "backend {adapter}: cannot use what was measured on {measured_on}: expected this adapter, driver, \
                 precision and version"
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        OpenError::Driver(error)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Driver(error) => error,
            other => Error::external(other),
        }
    }
}

impl Wgpu {
    /// Opens `adapter`.
    ///
    /// **Errors:** the driver refuses, with its message; the driver fails the self-test; the tuning was measured on another adapter.
    pub fn open(adapter: &Adapter, options: &Options) -> Result<Self, OpenError> {
        let precision = if adapter.fast_paths.f16 { options.precision } else { Precision::F32 };
        let tuned = match &options.tuning {
            Some(tuning) if tuning.key != Tuning::key(adapter, precision) => {
                let measured_on = tuning.adapter.clone();
                return Err(OpenError::OtherTuning { adapter: adapter.to_string(), measured_on });
            }
            Some(tuning) => tuning.algorithms()?,
            None => Default::default(),
        };
        let (device, queue) = request(adapter, precision)?;
        let allowed = options.checked.then(kernels);
        let setup = Setup { precision, tuned, memory: options.memory, tiled: options.tiled, allowed };
        let gpu = Self::new(adapter, device, queue, setup);
        if !options.trusted
            && let Err(Wrong { op, error, limit }) = self_test::arithmetic(&gpu)?
        {
            return Err(OpenError::WrongResults { adapter: gpu.name(), op, error, limit });
        }
        if precision == Precision::Mixed
            && let Some(matrices) = Matrices::supported(adapter)
            && self_test::cooperative(&gpu, matrices)
        {
            gpu.use_matrices(matrices);
        }
        Ok(gpu)
    }
}

/// The device and queue of `adapter`, with all features that the kernels can use.
///
/// **Errors:** the driver's message.
#[allow(unsafe_code, reason = "an experimental feature")]
fn request(adapter: &Adapter, precision: Precision) -> Result<(wgpu::Device, wgpu::Queue)> {
    let mut wanted = Features::IMMEDIATES | Features::SHADER_F16 | Features::SUBGROUP;
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if precision == Precision::Mixed && Matrices::supported(adapter).is_some() {
        wanted |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: cooperative matrices are the only experimental feature that is requested. Training uses their kernels only after
        // they have passed a self-test.
        experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let descriptor = wgpu::DeviceDescriptor {
        label: None,
        required_features: wanted & adapter.raw.features(),
        required_limits: adapter.raw.limits(),
        experimental_features,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    let opened = pollster::block_on(adapter.raw.request_device(&descriptor));
    opened.map_err(|error| adapter.error(format!("cannot be opened: {error}")))
}
