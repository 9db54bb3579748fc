//! Kernels of other crates.

use std::sync::Arc;

use gradamp_core::{Error, Result};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ShaderStage};

use crate::device::memory::Buffer;
use crate::device::pipeline::{Interface, Pipeline};
use crate::device::stream::MAX_BINDINGS;
use crate::gpu::Wgpu;

/// A compute kernel in WGSL, compiled for one device: how an operation of another crate runs on the GPU.
///
/// A kernel's buffers are at group 0, in bindings numbered from 0 without gaps. Small parameters are an immediate:
/// `var<immediate> p: Params`. The workgroups of a dispatch lie in rows of 32,768, so that the number of a workgroup is
/// `id.y * 32768u + id.x`.
///
/// ```no_run
/// use gradamp_core::Tensor;
/// use gradamp_wgpu::{Buffer, Wgpu};
///
/// const SQUARE: &str = "
///     var<immediate> len: u32;
///     @group(0) @binding(0) var<storage, read> x: array<f32>;
///     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
///
///     @compute @workgroup_size(256)
///     fn square(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
///         let i = (group.y * 32768u + group.x) * 256u + local;
///         if i < len { y[i] = x[i] * x[i]; }
///     }
/// ";
///
/// /// y = x², element by element.
/// fn square(x: &Tensor<Wgpu>) -> gradamp_core::Result<Tensor<Wgpu>> {
///     let (gpu, len) = (x.backend(), x.elements());
///     let kernel = gpu.kernel(SQUARE, "square")?; // compiled at the first call
///     Tensor::build(gpu, x.shape(), |y| {
///         kernel.run(&[x.buffer(), y], &(len as u32).to_le_bytes(), len.div_ceil(256))
///     })
/// }
/// ```
///
/// Indices beyond a buffer are checked on the device: a faulty kernel computes wrong values, and harms no other memory. A buffer may
/// be longer than its tensor, so that `arrayLength` is not the tensor's length.
#[derive(Clone)]
pub struct CustomKernel {
    gpu: Wgpu,
    pipeline: Arc<Pipeline>,
    interface: Interface,
    name: String,
}

impl Wgpu {
    /// The kernel whose entry point in the shader `wgsl` is `entry`. It is compiled once for each device; later calls find it again.
    ///
    /// **Errors:** a shader that is not valid, with the place and the reason; no such entry point; bindings with gaps, or more than
    /// eight; a shader that the device refuses.
    pub fn kernel(&self, wgsl: &str, entry: &str) -> Result<CustomKernel> {
        let (interface, pipeline) = self.custom_pipeline(wgsl, entry, || {
            interface_of(wgsl, entry).map_err(|message| Error::setting(format!("kernel {entry}"), message))
        })?;
        Ok(CustomKernel { gpu: self.clone(), pipeline, interface, name: entry.to_owned() })
    }
}

impl CustomKernel {
    /// Records `workgroups` workgroups. `buffers` are in the order of the bindings; `immediates` are the bytes of the immediate,
    /// empty without one. The work is done once the device is [submitted](gradamp_core::backend::Device::submit) to or read.
    ///
    /// **Errors:** another number of buffers or bytes than the shader's; a buffer of another device; a fault of the device.
    pub fn run(&self, buffers: &[&Buffer], immediates: &[u8], workgroups: usize) -> Result<()> {
        let Interface { buffers: bound, immediates: bytes } = self.interface;
        if buffers.len() != bound || immediates.len() != bytes {
            let message = format!(
                "expects {bound} buffers and {bytes} bytes of immediates, got {} and {}",
                buffers.len(),
                immediates.len()
            );
            return Err(Error::shape("kernel", format!("{} {message}", self.name)));
        }
        self.gpu.dispatch(&self.pipeline, buffers, immediates, workgroups)
    }
}

impl std::fmt::Debug for CustomKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CustomKernel {} on {:?}: {:?}", self.name, self.gpu, self.interface)
    }
}

/// Checks a shader and finds what its entry point uses.
fn interface_of(wgsl: &str, entry: &str) -> Result<Interface, String> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES)
        .validate(&module)
        .map_err(|error| error.emit_to_string(wgsl))?;
    let is_it = |point: &naga::EntryPoint| point.name == entry && point.stage == ShaderStage::Compute;
    let Some(number) = module.entry_points.iter().position(is_it) else {
        let names: Vec<&str> = module.entry_points.iter().map(|point| point.name.as_str()).collect();
        return Err(format!("no such compute entry point; the shader has {}", names.join(", ")));
    };
    let used = info.get_entry_point(number);
    let globals = || module.global_variables.iter().filter(|&(handle, _)| !used[handle].is_empty());
    let mut bindings: Vec<_> = globals().filter_map(|(_, global)| global.binding).collect();
    bindings.sort_unstable_by_key(|binding| (binding.group, binding.binding));
    let is_plain = |(i, binding): (u32, &naga::ResourceBinding)| binding.group == 0 && binding.binding == i;
    if !(0..).zip(&bindings).all(is_plain) || bindings.len() > MAX_BINDINGS {
        let found: Vec<String> =
            bindings.iter().map(|binding| format!("({}, {})", binding.group, binding.binding)).collect();
        return Err(format!(
            "uses bindings (group, number) {}; expected group 0 and numbers from 0 without gaps, at most {MAX_BINDINGS}",
            found.join(", ")
        ));
    }
    let immediate = globals().find(|(_, global)| global.space == AddressSpace::Immediate);
    let size = |global: &naga::GlobalVariable| module.types[global.ty].inner.size(module.to_ctx()) as usize;
    Ok(Interface { buffers: bindings.len(), immediates: immediate.map_or(0, |(_, global)| size(global)) })
}

#[cfg(test)]
mod tests {
    use super::{Interface, interface_of};

    const SHADER: &str = "
        struct Params { len: u32, factor: f32 }
        var<immediate> p: Params;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @group(0) @binding(2) var<storage, read_write> z: array<f32>;

        @compute @workgroup_size(64)
        fn scale(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x < p.len { y[id.x] = p.factor * x[id.x]; }
        }

        @compute @workgroup_size(64)
        fn gap(@builtin(global_invocation_id) id: vec3<u32>) { z[id.x] = x[id.x]; }
    ";

    #[test]
    fn an_interface_is_what_the_entry_point_uses() {
        assert_eq!(interface_of(SHADER, "scale"), Ok(Interface { buffers: 2, immediates: 8 }));
    }

    #[test]
    fn shaders_that_cannot_run_say_why() {
        let gap = interface_of(SHADER, "gap").unwrap_err();
        assert!(gap.contains("uses bindings (group, number) (0, 0), (0, 2)"), "{gap}");
        let unknown = interface_of(SHADER, "shift").unwrap_err();
        assert_eq!(unknown, "no such compute entry point; the shader has scale, gap");
        let wrong = interface_of("fn broken( {", "broken").unwrap_err();
        assert!(wrong.contains("expected"), "{wrong}");
        let type_error = interface_of(&SHADER.replace("p.factor * x[id.x]", "p.len"), "scale").unwrap_err();
        assert!(type_error.contains("y[id.x]"), "{type_error}");
    }
}
