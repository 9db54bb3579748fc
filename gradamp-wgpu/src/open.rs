//! How a GPU is opened.

use gradamp_core::Result;
use wgpu::Features;

use crate::device::adapter::Adapter;
use crate::device::faults::fault;
use crate::tune::{Tuning, Ways};

/// How exactly convolutions multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// All in f32.
    #[default]
    F32,
    /// Factors are rounded to f16, products and sums are f32; so are all tensors.
    Mixed,
}

/// How a GPU is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Most bytes that tensors may take; what the device has where it is `None`.
    pub memory: Option<u64>,
    /// How exactly convolutions multiply; f32 where the adapter has no f16.
    pub precision: Precision,
    /// What was measured on this adapter, to be used in place of the fixed choices.
    pub tuning: Option<Tuning>,
    /// Whether every access in a shader is checked against its buffer: slower, for tests.
    pub checked: bool,
    /// Whether a software adapter, too, runs the kernels that are made for GPUs: slower, for tests.
    pub tiled: bool,
    /// Whether the device is trusted without the small questions that find a driver which computes wrongly: to find out
    /// more about one.
    pub trusted: bool,
}

impl Options {
    /// What was measured on this adapter.
    ///
    /// **Errors:** it was measured on another, or for something else.
    pub(crate) fn ways(&self, adapter: &Adapter, precision: Precision) -> Result<Ways> {
        match &self.tuning {
            Some(tuning) if tuning.key == Tuning::key(adapter, precision) => tuning.ways(),
            Some(tuning) => Err(fault(
                adapter,
                format!(
                    "cannot use what was measured on {}: expected this adapter, driver, precision and version; \
                     `gradamp tune` measures anew",
                    tuning.adapter
                ),
            )),
            None => Ok(Ways::new()),
        }
    }
}

/// The device, with all that the kernels can use of it.
///
/// **Errors:** the driver's word.
#[allow(unsafe_code, reason = "an experimental feature")]
pub(crate) fn request(adapter: &Adapter, precision: Precision) -> Result<(wgpu::Device, wgpu::Queue)> {
    let mut wanted = Features::IMMEDIATES | Features::SHADER_F16 | Features::SUBGROUP;
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if precision == Precision::Mixed && adapter.matrices().is_some() {
        wanted |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: the only experimental feature asked for is that of cooperative matrices, and their kernels run only
        // where they pass a test against plain ones.
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
    opened.map_err(|error| fault(adapter, format!("cannot be opened: {error}")))
}
