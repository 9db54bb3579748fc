//! The graphics adapters of this machine, and the choice of one.

use std::fmt;
use std::str::FromStr;

use gradamp_core::{Error, Result};
use wgpu::{Backends, CooperativeScalarType, DeviceType, Features};

use crate::algorithm::Matrices;
use crate::device::device_memory::device_memory;

/// One way to reach one GPU: the same card appears once for each graphics API that drives it.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(crate) raw: wgpu::Adapter,
    /// Its place in the list of [`adapters`].
    pub number: usize,
    /// The card's name, as its driver gives it.
    pub name: String,
    /// Who made it, by name where the PCI number is known.
    pub vendor: String,
    /// The graphics API.
    pub api: Api,
    /// The driver's name and version.
    pub driver: String,
    /// What sort of device it is.
    pub kind: Kind,
    /// The limits that decide what fits.
    pub limits: Limits,
    /// What the adapter can do beyond plain f32.
    pub fast_paths: FastPaths,
}

/// The graphics API behind an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Linux, Windows, Android.
    Vulkan,
    /// Apple.
    Metal,
    /// Windows.
    Dx12,
}

/// What sort of device an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// The limits that decide what fits, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The device's memory, where its API tells.
    pub memory: Option<u64>,
    /// The largest tensor: the smaller of a buffer's and a binding's limit.
    pub tensor: u64,
    /// Workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations of one workgroup.
    pub invocations: u32,
    /// Smallest and largest subgroup, in invocations.
    pub subgroup: [u32; 2],
}

/// What an adapter can do beyond plain f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastPaths {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Side of the cooperative matrices that multiply f16 and add f32, if there are any.
    pub cooperative: Option<u32>,
    /// Timestamps, for measuring single kernels.
    pub timestamps: bool,
}

/// All adapters that can run the kernels, in the order of their numbers; the same call gives the same order as long
/// as the machine's drivers stay.
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
            let square = square && Matrices::SIDES.contains(&(m.m_size as usize));
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

    /// Its cooperative matrices, where all subgroups are of one size. Metal does not tell; there it is 32.
    pub(crate) fn matrices(&self) -> Option<Matrices> {
        let [least, most] = if self.api == Api::Metal { [32; 2] } else { self.limits.subgroup };
        let matrices = Matrices { side: self.fast_paths.cooperative? as usize, lanes: least as usize };
        let is_known =
            self.fast_paths.subgroups && least == most && Matrices::LANES.contains(&matrices.lanes);
        is_known.then_some(matrices)
    }

    /// Dispatches after which work is handed over within a step: a desktop's watchdog resets a GPU that works for seconds
    /// on one submission.
    pub fn most_dispatches(&self) -> usize {
        match self.kind {
            Kind::Discrete | Kind::Software => usize::MAX,
            _ => 32,
        }
    }

    /// Multiplications of convolutions after which the same is done, however few dispatches they are: about a second on
    /// the slowest devices of a kind, and milliseconds on the fastest.
    pub(crate) fn most_multiplications(&self) -> u64 {
        match self.kind {
            Kind::Software => u64::MAX,
            Kind::Discrete => 1 << 37,
            _ => 1 << 34,
        }
    }

    /// Whether it is a rasteriser on the CPU.
    pub fn is_software(&self) -> bool {
        self.kind == Kind::Software
    }
}

/// Which adapter is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best real GPU: discrete before integrated, the first of equals. Never a software rasteriser.
    #[default]
    Best,
    /// By its number in the list.
    Number(usize),
    /// By a part of its name, whatever the case; a software rasteriser can be named.
    Name(String),
}

impl FromStr for Choice {
    type Err = std::convert::Infallible;

    /// Nothing for the best, a number, or a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(number) => Choice::Number(number),
            Err(_) if text.is_empty() => Choice::Best,
            Err(_) => Choice::Name(text.to_owned()),
        })
    }
}

impl Choice {
    /// The adapter that is meant, out of [`adapters`].
    ///
    /// **Errors:** none fits; the message lists those there are.
    pub fn find(&self, adapters: Vec<Adapter>) -> Result<Adapter> {
        let names: Vec<String> = adapters.iter().map(|a| format!("gpu:{} {a}", a.number)).collect();
        let found = match self {
            Choice::Best => {
                let real = adapters.into_iter().filter(|adapter| !adapter.is_software());
                real.reduce(|best, next| if next.kind > best.kind { next } else { best })
            }
            Choice::Number(number) => adapters.into_iter().find(|adapter| adapter.number == *number),
            Choice::Name(name) => {
                let wanted = name.to_lowercase();
                adapters.into_iter().find(|adapter| adapter.name.to_lowercase().contains(&wanted))
            }
        };
        found.ok_or_else(|| {
            let there = match (names.is_empty(), self) {
                (true, _) => "this machine has none that can compute; `cpu` and `auto` need none".to_owned(),
                // Any other adapter would have been found.
                (_, Choice::Best) => format!(
                    "this machine has software rasterisers only: {}; `cpu` is faster, `gpu:0` takes one all the same",
                    names.join(", ")
                ),
                _ => format!("this machine has {}", names.join(", ")),
            };
            let wanted = match self {
                Choice::Best => "expected a GPU".to_owned(),
                Choice::Number(number) => format!("expected an adapter of number {number}"),
                Choice::Name(name) => format!("expected an adapter whose name holds {name:?}"),
            };
            Error::setting("train.device", format!("{wanted}, {there}"))
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_that_cannot_be_met_says_what_was_wanted_and_what_there_is() {
        for (text, wanted) in [
            ("", "expected a GPU"),
            ("3", "expected an adapter of number 3"),
            ("RTX", "expected an adapter whose name holds \"RTX\""),
        ] {
            let Ok(choice) = text.parse::<Choice>();
            let message = choice.find(Vec::new()).unwrap_err().to_string();
            let expected = format!(
                "train.device: {wanted}, this machine has none that can compute; `cpu` and `auto` need none"
            );
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn the_best_is_the_first_of_the_best_kind_and_never_a_rasteriser() {
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
    fn an_adapter_is_found_by_a_part_of_its_name_whatever_the_case() {
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
        assert!(error.contains("gpu:0 NVIDIA GeForce RTX 3080 ") && error.contains("gpu:1 llvm"), "{error}");
    }
}
