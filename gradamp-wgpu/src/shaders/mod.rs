//! The shaders' texts: one file a family.

use crate::ops::conv2d::{im2col_gemm, implicit_gemm, winograd};
use crate::ops::{
    batch_norm, conv2d, elementwise, gemm, im2col, keep_images, loss, pool, rows, sgd, statistics,
};
use crate::shaders::kernel::Variant;

pub(crate) mod kernel;
pub(crate) mod template;

macro_rules! shaders {
    ($($variant:ident $name:literal $(+ $more:literal)* : $immediates:ty,)*) => {
        /// A family of kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Shader {
            $($variant,)*
        }

        impl Shader {
            pub(crate) const ALL: &'static [Shader] = &[$(Shader::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Shader::$variant => $name,)*
                }
            }

            /// The template, with what it shares with others; see [`template`](crate::shaders::template).
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Shader::$variant => concat!(
                        include_str!(concat!($name, ".wgsl")),
                        $(include_str!(concat!($more, ".wgsl")),)*
                    ),)*
                }
            }

            /// Bytes of its immediates.
            #[cfg(test)]
            pub(crate) fn immediates(self) -> usize {
                match self {
                    $(Shader::$variant => size_of::<$immediates>(),)*
                }
            }
        }
    };
}

shaders! {
    Augment "augment" + "split": keep_images::Params,
    BatchNorm "batch_norm": batch_norm::Params,
    Columns "columns": im2col_gemm::Params,
    Conv2d "conv2d" + "split": implicit_gemm::Params,
    Conv2dTiledForward "conv2d_tiled_forward" + "conv2d_tiled" + "split": implicit_gemm::Params,
    Conv2dTiledInput "conv2d_tiled_backward_input" + "conv2d_tiled" + "split": implicit_gemm::Params,
    Conv2dTiledWeight "conv2d_tiled_backward_weight" + "conv2d_tiled" + "split": implicit_gemm::Params,
    Elementwise "elementwise": elementwise::Params,
    Gemm "gemm": gemm::Params,
    Im2col "im2col" + "split": im2col::Params,
    Loss "loss": loss::Params,
    Pool "pool" + "split": pool::Params,
    Rows "rows": rows::Params,
    Sgd "sgd": sgd::Params,
    Statistics "statistics": statistics::Params,
    SumParts "sum_parts": conv2d::SumParams,
    Winograd "winograd" + "split": winograd::Params,
}

/// Every kernel that any family asks for: what the tests validate and translate.
pub(crate) fn kernels() -> Vec<Variant> {
    let fixed = [
        batch_norm::KERNELS,
        im2col_gemm::KERNELS,
        conv2d::KERNELS,
        elementwise::KERNELS,
        gemm::KERNELS,
        im2col::KERNELS,
        keep_images::KERNELS,
        loss::KERNELS,
        pool::KERNELS,
        rows::KERNELS,
        sgd::KERNELS,
        statistics::KERNELS,
        winograd::KERNELS,
    ];
    let fixed = fixed.into_iter().flatten().map(|&kernel| Variant::from(kernel));
    fixed.chain(implicit_gemm::variants()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::process::Command;

    use naga::back::{hlsl, msl, spv};
    use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
    use naga::{AddressSpace, Module, ShaderStage};

    use super::*;
    use crate::algorithm::{Matrices, Tile};
    use crate::device::stream::MOST_BINDINGS;
    use crate::ops::conv2d::implicit_gemm::Pass;

    /// Bytes of immediates that Vulkan, Metal and DX12 all have.
    const LEAST_IMMEDIATES: u32 = 128;

    /// A kernel after naga took it in.
    struct Taken {
        kernel: Variant,
        name: String,
        module: Module,
        info: ModuleInfo,
        /// The place of the kernel's entry among the module's.
        entry: usize,
    }

    fn taken() -> Vec<Taken> {
        kernels().into_iter().map(take).collect()
    }

    /// Only what every one of the three languages has, or a shader might pass that one cannot say. Cooperative matrices
    /// are beyond HLSL, and run on Vulkan and Metal only.
    fn take(kernel: Variant) -> Taken {
        let name = format!("{}.{} {:?}", kernel.shader.name(), kernel.entry, kernel.parameters);
        let source = kernel.kernel().source().unwrap();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        let mut common: Capabilities = spv::supported_capabilities() & msl::supported_capabilities();
        if !is_cooperative(&kernel) {
            common &= hlsl::supported_capabilities();
        }
        let info = Validator::new(ValidationFlags::all(), common)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        let entry = module.entry_points.iter().position(|entry| entry.name == kernel.entry);
        let entry = entry.unwrap_or_else(|| panic!("{name}: no such entry"));
        Taken { kernel, name, module, info, entry }
    }

    fn is_cooperative(kernel: &Variant) -> bool {
        kernel.parameters.iter().any(|&(name, side)| name == "COOPERATIVE" && side > 0)
    }

    impl Taken {
        /// The variables that the entry uses.
        fn globals(&self) -> impl Iterator<Item = &naga::GlobalVariable> {
            let used = self.info.get_entry_point(self.entry);
            self.module
                .global_variables
                .iter()
                .filter(|&(handle, _)| !used[handle].is_empty())
                .map(|(_, variable)| variable)
        }
    }

    #[test]
    fn nothing_is_left_of_the_template() {
        for kernel in kernels() {
            for line in kernel.kernel().source().unwrap().lines() {
                let name = |text: &str| {
                    let inner = text.split_once('}').map_or("", |(inner, _)| inner);
                    !inner.is_empty() && inner.chars().all(|c| c.is_alphanumeric() || "_+*".contains(c))
                };
                let left = line.contains("//@") || line.split('{').skip(1).any(name);
                assert!(!left, "{kernel:?}: {line}");
            }
        }
    }

    #[test]
    fn every_entry_is_listed() {
        let (mut listed, mut written) = (BTreeSet::new(), BTreeSet::new());
        for taken in taken() {
            let shader = taken.kernel.shader.name();
            listed.insert((shader, taken.kernel.entry.to_owned()));
            written.extend(taken.module.entry_points.into_iter().map(|entry| (shader, entry.name)));
        }
        assert_eq!(written, listed);
    }

    #[test]
    fn bindings_are_numbered_without_gaps() {
        for taken in taken() {
            let mut bindings: Vec<(u32, u32)> = taken
                .globals()
                .filter_map(|variable| variable.binding)
                .map(|binding| (binding.group, binding.binding))
                .collect();
            bindings.sort_unstable();
            let count = bindings.len() as u32;
            assert!(bindings.into_iter().eq((0..count).map(|i| (0, i))), "{}", taken.name);
            assert!((1..=MOST_BINDINGS as u32).contains(&count), "{} binds {count} buffers", taken.name);
        }
    }

    #[test]
    fn immediates_have_the_size_of_their_struct() {
        for taken in taken() {
            let immediates = taken.globals().find(|variable| variable.space == AddressSpace::Immediate);
            let bytes = immediates
                .map(|variable| taken.module.types[variable.ty].inner.size(taken.module.to_ctx()))
                .unwrap_or_else(|| panic!("{} has no immediates", taken.name));
            assert_eq!(bytes as usize, taken.kernel.shader.immediates(), "{}", taken.name);
        }
    }

    /// The tile and the pass of a product whose operands travel through workgroup memory.
    fn tiled(kernel: &Variant) -> Option<(Tile, Pass)> {
        let number = |name| Some(kernel.parameters.iter().find(|(known, _)| *known == name)?.1 as usize);
        let (rows, columns, side) = (number("TM")?, number("TN")?, number("COOPERATIVE")?);
        let tile = match side {
            0 => Tile::Shared(rows, columns),
            _ => Tile::Cooperative(rows, columns, Matrices { side, lanes: 32 }),
        };
        let pass = match kernel.shader {
            Shader::Conv2dTiledForward => Pass::Forward,
            Shader::Conv2dTiledInput => Pass::Input,
            _ => Pass::Weight,
        };
        Some((tile, pass))
    }

    /// WebGPU's limits, which every adapter keeps: no kernel is too large for any.
    #[test]
    fn every_kernel_fits_the_smallest_adapter() {
        let limits = wgpu::Limits::default();
        for taken in taken() {
            let bytes = |space: AddressSpace| {
                let variables = taken.globals().filter(move |variable| variable.space == space);
                let size = |variable: &naga::GlobalVariable| {
                    taken.module.types[variable.ty].inner.size(taken.module.to_ctx())
                };
                variables.map(size).sum::<u32>()
            };
            let (shared, immediates) = (bytes(AddressSpace::WorkGroup), bytes(AddressSpace::Immediate));
            match tiled(&taken.kernel) {
                // Its tile is chosen by what it says to take.
                Some((tile, pass)) => assert!(!tile.fits(pass, shared - 1), "{}: {shared}", taken.name),
                None => {
                    assert!(shared <= limits.max_compute_workgroup_storage_size, "{}: {shared}", taken.name)
                }
            }
            assert!(immediates <= LEAST_IMMEDIATES, "{}: {immediates}", taken.name);
            let size = taken.module.entry_points[taken.entry].workgroup_size;
            let invocations = size.into_iter().product::<u32>();
            assert!(invocations <= limits.max_compute_invocations_per_workgroup, "{}: {size:?}", taken.name);
        }
    }

    #[test]
    fn every_kernel_becomes_metal() {
        for taken in taken() {
            let options = msl::Options {
                lang_version: (2, 4),
                fake_missing_bindings: true,
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            };
            let entry = Some((ShaderStage::Compute, taken.kernel.entry.to_owned()));
            let pipeline = msl::PipelineOptions { entry_point: entry, ..Default::default() };
            let (text, _) = msl::write_string(&taken.module, &taken.info, &options, &pipeline)
                .unwrap_or_else(|error| panic!("{}: {error}", taken.name));
            assert!(text.contains("kernel void"), "{}", taken.name);
        }
    }

    #[test]
    fn every_kernel_becomes_hlsl() {
        for taken in taken().into_iter().filter(|taken| !is_cooperative(&taken.kernel)) {
            let options = hlsl::Options {
                immediates_target: Some(hlsl::BindTarget::default()),
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            };
            let entry = Some((ShaderStage::Compute, taken.kernel.entry.to_owned()));
            let pipeline = hlsl::PipelineOptions { entry_point: entry };
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(&taken.module, &taken.info, None)
                .unwrap_or_else(|error| panic!("{}: {error}", taken.name));
            assert!(text.contains("[numthreads("), "{}", taken.name);
        }
    }

    #[test]
    fn every_kernel_becomes_valid_spirv() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.spv");
        let has_validator = Command::new("spirv-val").arg("--version").output().is_ok();
        if !has_validator {
            let _ = writeln!(std::io::stderr(), "skipped: spirv-val is not installed; naga alone has a look");
        }
        for taken in taken() {
            let options = spv::Options { lang_version: (1, 3), ..Default::default() };
            let pipeline = spv::PipelineOptions {
                shader_stage: ShaderStage::Compute,
                entry_point: taken.kernel.entry.to_owned(),
            };
            let words = spv::write_vec(&taken.module, &taken.info, &options, Some(&pipeline))
                .unwrap_or_else(|error| panic!("{}: {error}", taken.name));
            // Debian's validator is older than cooperative matrices.
            if has_validator && !is_cooperative(&taken.kernel) {
                std::fs::write(&path, bytemuck::cast_slice(&words)).unwrap();
                let validator =
                    Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(&path).output();
                let said = validator.unwrap();
                assert!(said.status.success(), "{}: {}", taken.name, String::from_utf8_lossy(&said.stderr));
            }
        }
    }
}
