//! The graphics adapters of this machine, and how one of them is chosen.

use std::fmt;
use std::str::FromStr;

use gradamp_core::Error;
use wgpu::{Backends, CooperativeScalarType, DeviceType, Features};

/// The sides of the cooperative matrices that the kernels are written for.
pub(crate) const MATRIX_SIDES: [usize; 2] = [8, 16];

/// A graphics adapter: a GPU, or a software rasteriser, as one graphics API offers it. A card that two APIs offer appears twice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adapter {
    pub(crate) raw: wgpu::Adapter,
    /// The adapter's index in the list that [`adapters`] returns.
    pub number: usize,
    /// The card's name, as its driver reports it.
    pub name: String,
    /// The manufacturer's name, or the PCI number of an unknown manufacturer.
    pub vendor: String,
    /// The graphics API.
    pub api: Api,
    /// The driver's name and version.
    pub driver: String,
    /// The kind of device.
    pub kind: Kind,
    /// The limits that decide which tensors and kernels fit.
    pub limits: Limits,
    /// What the adapter supports beyond plain f32 arithmetic.
    pub fast_paths: FastPaths,
}

/// The graphics API behind an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Api {
    /// Vulkan: Linux, Windows, Android.
    Vulkan,
    /// Metal: Apple's systems.
    Metal,
    /// Direct3D 12: Windows.
    Dx12,
}

/// The kind of device that an adapter is, from the least to the most preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A rasteriser on the CPU: for tests, slower than the CPU backend.
    Software,
    /// Unknown.
    Other,
    /// A GPU of a virtual machine.
    Virtual,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU with memory of its own.
    Discrete,
}

/// The limits that decide which tensors and kernels fit, in bytes unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The device's memory; `None` if the API does not report it.
    pub memory: Option<u64>,
    /// The largest tensor: the smaller of the limits of a buffer and of a binding.
    pub tensor: u64,
    /// The memory that one workgroup shares.
    pub workgroup_memory: u32,
    /// The largest number of invocations of one workgroup.
    pub invocations: u32,
    /// The sizes of the smallest and the largest subgroup, in invocations.
    pub subgroup: [u32; 2],
}

/// What an adapter supports beyond plain f32 arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastPaths {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// The side of the largest supported cooperative matrices that multiply f16 and add f32; `None` without them.
    pub cooperative: Option<u32>,
    /// Timestamps, which measure single kernels.
    pub timestamps: bool,
}

/// All adapters that can run the kernels, in the order of their numbers. The order stays the same for as long as the
/// machine's drivers do.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    let raw = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    let able = raw.into_iter().filter(|raw| raw.features().contains(Features::IMMEDIATES));
    able.enumerate().filter_map(|(number, raw)| Adapter::new(number, raw)).collect()
}

impl Adapter {
    fn new(number: usize, raw: wgpu::Adapter) -> Option<Self> {
        let (info, limits, features) = (raw.get_info(), raw.limits(), raw.features());
        let api = match info.backend {
            wgpu::Backend::Vulkan => Api::Vulkan,
            wgpu::Backend::Metal => Api::Metal,
            wgpu::Backend::Dx12 => Api::Dx12,
            _ => return None,
        };
        let kind = match info.device_type {
            DeviceType::Cpu => Kind::Software,
            DeviceType::Other => Kind::Other,
            DeviceType::VirtualGpu => Kind::Virtual,
            DeviceType::IntegratedGpu => Kind::Integrated,
            DeviceType::DiscreteGpu => Kind::Discrete,
        };
        let f16_to_f32 = |m: &wgpu::CooperativeMatrixProperties| {
            let square = m.m_size == m.n_size && m.n_size == m.k_size;
            let square = square && MATRIX_SIDES.contains(&(m.m_size as usize));
            square && m.ab_type == CooperativeScalarType::F16 && m.cr_type == CooperativeScalarType::F32
        };
        let cooperative = raw.cooperative_matrix_properties().into_iter().filter(f16_to_f32);
        Some(Self {
            number,
            name: info.name,
            vendor: vendor(info.vendor),
            api,
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            kind,
            limits: Limits {
                memory: device_memory(&raw),
                tensor: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
                workgroup_memory: limits.max_compute_workgroup_storage_size,
                invocations: limits.max_compute_invocations_per_workgroup,
                subgroup: [info.subgroup_min_size, info.subgroup_max_size],
            },
            fast_paths: FastPaths {
                f16: features.contains(Features::SHADER_F16),
                subgroups: features.contains(Features::SUBGROUP),
                cooperative: cooperative.map(|m| m.m_size).max(),
                timestamps: features.contains(Features::TIMESTAMP_QUERY),
            },
            raw,
        })
    }

    /// The number of dispatches after which recorded work is submitted within a step. Limited on integrated and virtual
    /// GPUs, since a desktop's watchdog resets a GPU that works for seconds on one submission.
    pub fn most_dispatches(&self) -> usize {
        match self.kind {
            Kind::Discrete | Kind::Software => usize::MAX,
            _ => 32,
        }
    }

    /// The number of multiplications in convolutions after which recorded work is submitted, however few dispatches they
    /// are: about a second of work on the slowest devices of a kind, and milliseconds on the fastest.
    pub(crate) fn most_multiplications(&self) -> u64 {
        match self.kind {
            Kind::Software => u64::MAX,
            Kind::Discrete => 1 << 37,
            _ => 1 << 34,
        }
    }

    /// Whether the adapter is a rasteriser on the CPU.
    pub fn is_software(&self) -> bool {
        self.kind == Kind::Software
    }

    /// An error that happened on this adapter.
    pub(crate) fn error(&self, message: String) -> Error {
        Error::Backend { backend: self.to_string(), message }
    }
}

/// Which adapter to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best real GPU: discrete before integrated, and the first among equals. Never a software rasteriser.
    #[default]
    Best,
    /// The adapter with this number.
    Number(usize),
    /// The first adapter whose name contains this text, in upper or lower case. It may be a software rasteriser.
    Name(String),
}

impl FromStr for Choice {
    type Err = std::convert::Infallible;

    /// An empty text means the best adapter, a number the adapter with this number, any other text a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(number) => Choice::Number(number),
            Err(_) if text.is_empty() => Choice::Best,
            Err(_) => Choice::Name(text.to_owned()),
        })
    }
}

impl Choice {
    /// The chosen one of `adapters`, which is usually the list that [`adapters`] returns.
    ///
    /// **Errors:** no adapter matches; the error holds the choice and the adapters.
    pub fn find(&self, adapters: Vec<Adapter>) -> Result<Adapter, NoAdapter> {
        let found = match self {
            Choice::Best => {
                let real = adapters.iter().filter(|adapter| !adapter.is_software());
                real.reduce(|best, next| if next.kind > best.kind { next } else { best })
            }
            Choice::Number(number) => adapters.iter().find(|adapter| adapter.number == *number),
            Choice::Name(name) => {
                let wanted = name.to_lowercase();
                adapters.iter().find(|adapter| adapter.name.to_lowercase().contains(&wanted))
            }
        };
        match found {
            Some(adapter) => Ok(adapter.clone()),
            None => Err(NoAdapter { choice: self.clone(), adapters }),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Best => f.write_str("a GPU"),
            Choice::Number(number) => write!(f, "an adapter of number {number}"),
            Choice::Name(name) => write!(f, "an adapter whose name contains {name:?}"),
        }
    }
}

/// The error of [`Choice::find`]: no adapter of the machine matches the choice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NoAdapter {
    /// The adapter that was asked for.
    pub choice: Choice,
    /// The machine's adapters.
    pub adapters: Vec<Adapter>,
}

impl fmt::Display for NoAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { choice, adapters } = self;
        write!(f, "expected {choice}, found ")?;
        match (&adapters[..], choice) {
            ([], _) => return f.write_str("no adapter that can compute"),
            // `Choice::Best` fails only if all adapters are software rasterisers.
            (_, Choice::Best) => f.write_str("software rasterisers only: ")?,
            _ => {}
        }
        for (i, adapter) in adapters.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}adapter {}: {adapter}", adapter.number)?;
        }
        Ok(())
    }
}

impl std::error::Error for NoAdapter {}

impl From<NoAdapter> for Error {
    fn from(error: NoAdapter) -> Self {
        Error::external(error)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.api, self.kind)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::Vulkan => "Vulkan",
            Api::Metal => "Metal",
            Api::Dx12 => "DX12",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Software => "software",
            Kind::Other => "of unknown kind",
            Kind::Virtual => "virtual",
            Kind::Integrated => "integrated",
            Kind::Discrete => "discrete",
        })
    }
}

fn vendor(number: u32) -> String {
    match number {
        0x1002 => "AMD".into(),
        0x106b => "Apple".into(),
        0x10005 => "Mesa".into(),
        0x10de => "NVIDIA".into(),
        0x13b5 => "ARM".into(),
        0x1414 => "Microsoft".into(),
        0x5143 => "Qualcomm".into(),
        0x8086 => "Intel".into(),
        other => format!("{other:#06x}"),
    }
}

/// Bytes of the memory that holds a device's tensors; `None` if the API does not report them.
fn device_memory(raw: &wgpu::Adapter) -> Option<u64> {
    match raw.get_info().backend {
        #[cfg(not(target_vendor = "apple"))]
        wgpu::Backend::Vulkan => vulkan(raw),
        #[cfg(target_vendor = "apple")]
        wgpu::Backend::Metal => metal(raw),
        #[cfg(windows)]
        wgpu::Backend::Dx12 => dx12(raw),
        _ => None,
    }
}

/// The size of the largest heap that is local to the device.
#[cfg(not(target_vendor = "apple"))]
#[allow(unsafe_code, reason = "handles of the graphics API")]
fn vulkan(raw: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    // SAFETY: the raw handles are only queried, and are dropped before the adapter.
    let heaps = unsafe {
        let adapter = raw.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = heaps.memory_heaps.iter().take(heaps.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// The working set that Metal recommends not to exceed.
#[cfg(target_vendor = "apple")]
#[allow(unsafe_code, reason = "handles of the graphics API")]
fn metal(raw: &wgpu::Adapter) -> Option<u64> {
    use objc2_metal::MTLDevice;
    // SAFETY: as above.
    let adapter = unsafe { raw.as_hal::<wgpu::hal::api::Metal>()? };
    Some(adapter.raw_device().recommendedMaxWorkingSetSize())
}

/// The memory of a discrete card. For any other device, the larger of its own memory and its share of the host's memory.
#[cfg(windows)]
#[allow(unsafe_code, reason = "handles of the graphics API")]
fn dx12(raw: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: as above.
    let description = unsafe {
        let adapter = raw.as_hal::<wgpu::hal::api::Dx12>()?;
        adapter.as_raw().GetDesc().ok()?
    };
    let bytes = match raw.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => description.DedicatedVideoMemory,
        _ => description.DedicatedVideoMemory.max(description.SharedSystemMemory),
    };
    Some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_choice_names_what_was_expected_and_what_was_found() {
        for (text, wanted) in [
            ("", "expected a GPU"),
            ("3", "expected an adapter of number 3"),
            ("RTX", "expected an adapter whose name contains \"RTX\""),
        ] {
            let Ok(choice) = text.parse::<Choice>();
            let message = choice.find(Vec::new()).unwrap_err().to_string();
            assert_eq!(message, format!("{wanted}, found no adapter that can compute"));
        }
    }

    #[test]
    fn the_best_adapter_is_the_first_of_the_best_kind_and_never_a_rasteriser() {
        use Kind::{Discrete, Integrated, Other, Software, Virtual};
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        for (kinds, best) in [
            (&[Software, Integrated, Discrete, Discrete][..], Some(2)),
            (&[Discrete, Integrated], Some(0)),
            (&[Other, Software, Virtual], Some(2)),
            (&[Software, Other], Some(1)),
            (&[Software, Software], None),
        ] {
            let all =
                kinds.iter().zip(0..).map(|(&kind, number)| Adapter { number, kind, ..adapter.clone() });
            let found = Choice::Best.find(all.collect()).ok();
            assert_eq!(found.map(|adapter| adapter.number), best, "{kinds:?}");
        }
    }

    #[test]
    fn an_adapter_is_found_by_a_part_of_its_name_in_upper_or_lower_case() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let names = ["NVIDIA GeForce RTX 3080", "llvmpipe (LLVM 15.0.6)"].into_iter().zip(0..);
        let all: Vec<_> =
            names.map(|(name, number)| Adapter { number, name: name.into(), ..adapter.clone() }).collect();
        for (text, number) in [("rtx 3080", 0), ("LLVMpipe", 1), ("l", 1), ("0", 0), ("1", 1)] {
            let Ok(choice) = text.parse::<Choice>();
            assert_eq!(choice.find(all.clone()).unwrap().number, number, "{text}");
        }
        let Ok(choice) = "radeon".parse::<Choice>();
        let error = choice.find(all).unwrap_err().to_string();
        let expected = "found adapter 0: NVIDIA GeForce RTX 3080 (";
        assert!(error.contains(expected) && error.contains(", adapter 1: llvmpipe"), "{error}");
    }
}
