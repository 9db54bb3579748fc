//! Checks that every kernel is valid WGSL, fits the smallest adapter, and can be translated to the language of each graphics API.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};

use super::conv2d::{im2col_gemm, implicit_gemm, winograd};
use super::*;
use crate::algorithm::{ConvOp, Matrices, Tile};
use crate::device::stream::MAX_BINDINGS;
use crate::shaders::Shader;

/// The number of bytes of immediates that each of Vulkan, Metal and DX12 provides at least.
const LEAST_IMMEDIATES: u32 = 128;

/// A kernel, parsed and validated by naga.
struct Parsed {
    kernel: Variant,
    name: String,
    module: Module,
    info: ModuleInfo,
    /// The index of the kernel's entry point in the module.
    entry: usize,
}

fn parsed() -> Vec<Parsed> {
    kernels().into_iter().map(parse).collect()
}

/// Allows a kernel only the features that SPIR-V, Metal and HLSL have in common, so that every kernel can be translated to all three.
/// Cooperative matrices are the exception: HLSL has none, so that their kernels run on Vulkan and Metal only.
fn parse(kernel: Variant) -> Parsed {
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
    Parsed { kernel, name, module, info, entry }
}

fn is_cooperative(kernel: &Variant) -> bool {
    kernel.parameters.iter().any(|&(name, side)| name == "COOPERATIVE" && side > 0)
}

impl Parsed {
    /// The global variables that the entry point uses.
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
fn no_template_syntax_is_left() {
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
fn every_entry_point_is_in_the_list_of_kernels() {
    let (mut listed, mut written) = (BTreeSet::new(), BTreeSet::new());
    for parsed in parsed() {
        let shader = parsed.kernel.shader.name();
        listed.insert((shader, parsed.kernel.entry.to_owned()));
        written.extend(parsed.module.entry_points.into_iter().map(|entry| (shader, entry.name)));
    }
    assert_eq!(written, listed);
}

#[test]
fn bindings_are_numbered_without_gaps() {
    for parsed in parsed() {
        let mut bindings: Vec<(u32, u32)> = parsed
            .globals()
            .filter_map(|variable| variable.binding)
            .map(|binding| (binding.group, binding.binding))
            .collect();
        bindings.sort_unstable();
        let count = bindings.len() as u32;
        assert!(bindings.into_iter().eq((0..count).map(|i| (0, i))), "{}", parsed.name);
        assert!((1..=MAX_BINDINGS as u32).contains(&count), "{} binds {count} buffers", parsed.name);
    }
}

#[test]
fn immediates_have_the_size_of_their_struct() {
    for parsed in parsed() {
        let immediates = parsed.globals().find(|variable| variable.space == AddressSpace::Immediate);
        let bytes = immediates
            .map(|variable| parsed.module.types[variable.ty].inner.size(parsed.module.to_ctx()))
            .unwrap_or_else(|| panic!("{} has no immediates", parsed.name));
        assert_eq!(bytes as usize, bytes_on_host(parsed.kernel.shader), "{}", parsed.name);
    }
}

/// The bytes of a shader's immediates on the host.
fn bytes_on_host(shader: Shader) -> usize {
    match shader {
        Shader::AdamW => size_of::<adamw::Params>(),
        Shader::AdamWCorrections => size_of::<adamw::CorrectionParams>(),
        Shader::Augment => size_of::<keep_images::Params>(),
        Shader::BatchNorm => size_of::<batch_norm::Params>(),
        Shader::Conv2d
        | Shader::Conv2dTiledForward
        | Shader::Conv2dTiledInput
        | Shader::Conv2dTiledWeight => size_of::<implicit_gemm::Params>(),
        Shader::Dropout => size_of::<dropout::Params>(),
        Shader::Elementwise => size_of::<elementwise::Params>(),
        Shader::Gemm => size_of::<gemm::Params>(),
        Shader::Im2col => size_of::<im2col::Params>(),
        Shader::Im2colGemm => size_of::<im2col_gemm::Params>(),
        Shader::Loss => size_of::<loss::Params>(),
        Shader::Mix => size_of::<mix::Params>(),
        Shader::Pool => size_of::<pool::Params>(),
        Shader::Rows => size_of::<rows::Params>(),
        Shader::Sgd => size_of::<sgd::Params>(),
        Shader::Statistics => size_of::<statistics::Params>(),
        Shader::SumParts => size_of::<implicit_gemm::SumParams>(),
        Shader::Winograd => size_of::<winograd::Params>(),
    }
}

/// The tile and the operation of a product whose operands go through workgroup memory.
fn tiled(kernel: &Variant) -> Option<(Tile, ConvOp)> {
    let number = |name| Some(kernel.parameters.iter().find(|(known, _)| *known == name)?.1 as usize);
    let (rows, columns, side) = (number("TM")?, number("TN")?, number("COOPERATIVE")?);
    let tile = match side {
        0 => Tile::Shared(rows, columns),
        _ => Tile::Cooperative(rows, columns, Matrices { side, lanes: 32 }),
    };
    let op = match kernel.shader {
        Shader::Conv2dTiledForward => ConvOp::Forward,
        Shader::Conv2dTiledInput => ConvOp::InputGradient,
        _ => ConvOp::WeightGradient,
    };
    Some((tile, op))
}

/// Compares every kernel with WebGPU's default limits, which every adapter provides.
#[test]
fn every_kernel_fits_the_smallest_adapter() {
    let limits = wgpu::Limits::default();
    for parsed in parsed() {
        let bytes = |space: AddressSpace| {
            let variables = parsed.globals().filter(move |variable| variable.space == space);
            let size = |variable: &naga::GlobalVariable| {
                parsed.module.types[variable.ty].inner.size(parsed.module.to_ctx())
            };
            variables.map(size).sum::<u32>()
        };
        let (shared, immediates) = (bytes(AddressSpace::WorkGroup), bytes(AddressSpace::Immediate));
        match tiled(&parsed.kernel) {
            // The host chooses a tile by the memory that `fits` counts. It must be exactly the memory that the kernel uses.
            Some((tile, op)) => assert!(!tile.fits(op, shared - 1), "{}: {shared}", parsed.name),
            None => {
                assert!(shared <= limits.max_compute_workgroup_storage_size, "{}: {shared}", parsed.name)
            }
        }
        assert!(immediates <= LEAST_IMMEDIATES, "{}: {immediates}", parsed.name);
        let size = parsed.module.entry_points[parsed.entry].workgroup_size;
        let invocations = size.into_iter().product::<u32>();
        assert!(invocations <= limits.max_compute_invocations_per_workgroup, "{}: {size:?}", parsed.name);
    }
}

#[test]
fn every_kernel_is_translated_to_metal() {
    for parsed in parsed() {
        let options = msl::Options {
            lang_version: (2, 4),
            fake_missing_bindings: true,
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        };
        let entry = Some((ShaderStage::Compute, parsed.kernel.entry.to_owned()));
        let pipeline = msl::PipelineOptions { entry_point: entry, ..Default::default() };
        let (text, _) = msl::write_string(&parsed.module, &parsed.info, &options, &pipeline)
            .unwrap_or_else(|error| panic!("{}: {error}", parsed.name));
        assert!(text.contains("kernel void"), "{}", parsed.name);
    }
}

#[test]
fn every_kernel_is_translated_to_hlsl() {
    for parsed in parsed().into_iter().filter(|parsed| !is_cooperative(&parsed.kernel)) {
        let options = hlsl::Options {
            immediates_target: Some(hlsl::BindTarget::default()),
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        };
        let entry = Some((ShaderStage::Compute, parsed.kernel.entry.to_owned()));
        let pipeline = hlsl::PipelineOptions { entry_point: entry };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&parsed.module, &parsed.info, None)
            .unwrap_or_else(|error| panic!("{}: {error}", parsed.name));
        assert!(text.contains("[numthreads("), "{}", parsed.name);
    }
}

#[test]
fn every_kernel_is_translated_to_valid_spirv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel.spv");
    let has_validator = Command::new("spirv-val").arg("--version").output().is_ok();
    if !has_validator {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: spirv-val is not installed; only naga validates the kernels"
        );
    }
    for parsed in parsed() {
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        let pipeline = spv::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: parsed.kernel.entry.to_owned(),
        };
        let words = spv::write_vec(&parsed.module, &parsed.info, &options, Some(&pipeline))
            .unwrap_or_else(|error| panic!("{}: {error}", parsed.name));
        // Debian's spirv-val does not support cooperative matrices.
        if has_validator && !is_cooperative(&parsed.kernel) {
            std::fs::write(&path, bytemuck::cast_slice(&words)).unwrap();
            let validator = Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(&path).output();
            let output = validator.unwrap();
            assert!(output.status.success(), "{}: {}", parsed.name, String::from_utf8_lossy(&output.stderr));
        }
    }
}
