//! Compiled kernels.

use std::collections::HashMap;
use std::sync::Arc;

use crate::shaders::kernel::{Kernel, Variant};

/// A compiled kernel.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// The pipeline's number, a part of the key of cached bind groups.
    pub(crate) number: u32,
}

/// What a kernel of another crate must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The number of buffers.
    pub(crate) buffers: usize,
    /// The bytes of the immediate.
    pub(crate) immediates: usize,
}

/// The kernels that were compiled so far. A kernel is compiled when it is first used.
#[derive(Debug)]
pub(crate) struct Pipelines {
    by_kernel: HashMap<Variant, Arc<Pipeline>>,
    /// The kernels of other crates, by shader and entry point.
    custom: HashMap<(String, String), (Interface, Arc<Pipeline>)>,
    /// The kernels that may run; their accesses are then checked at run time. `None`: all kernels may run, without checks.
    allowed: Option<Vec<Variant>>,
}

impl Pipelines {
    pub(crate) fn new(allowed: Option<Vec<Variant>>) -> Self {
        Self { by_kernel: HashMap::new(), custom: HashMap::new(), allowed }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_kernel.len() + self.custom.len()
    }

    /// A kernel of another crate that was compiled before.
    pub(crate) fn custom(&self, wgsl: &str, entry: &str) -> Option<(Interface, Arc<Pipeline>)> {
        self.custom.get(&(wgsl.to_owned(), entry.to_owned())).cloned()
    }

    /// Compiles a kernel of another crate, with checks at run time.
    ///
    /// **Errors:** the device refuses the shader, with the device's message.
    pub(crate) fn add_custom(
        &mut self,
        device: &wgpu::Device,
        wgsl: &str,
        entry: &str,
        interface: Interface,
    ) -> Result<Arc<Pipeline>, String> {
        let number = self.len() as u32;
        let pipeline = Arc::new(compile(device, true, entry, entry, wgsl, number)?);
        self.custom.insert((wgsl.to_owned(), entry.to_owned()), (interface, pipeline.clone()));
        Ok(pipeline)
    }

    /// The pipeline of `kernel`, which is compiled now if it is new.
    ///
    /// **Errors:** the kernel is not allowed; the device refuses the shader, with the device's message.
    pub(crate) fn get(&mut self, device: &wgpu::Device, kernel: Kernel<'_>) -> Result<Arc<Pipeline>, String> {
        let key = Variant::from(kernel);
        if let Some(pipeline) = self.by_kernel.get(&key) {
            return Ok(pipeline.clone());
        }
        let checked = self.allowed.is_some();
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&key)) {
            return Err(format!(
                "kernel {key:?} is missing from the list of kernels that the tests validate"
            ));
        }
        let source = kernel.source().map_err(|error| error.to_string())?;
        let (number, label) = (self.len() as u32, format!("{}.{}", kernel.shader.name(), kernel.entry));
        let pipeline = Arc::new(compile(device, checked, &label, kernel.entry, &source, number)?);
        self.by_kernel.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

#[allow(unsafe_code, reason = "shaders without checks at run time")]
fn compile(
    device: &wgpu::Device,
    checked: bool,
    label: &str,
    entry: &str,
    source: &str,
    number: u32,
) -> Result<Pipeline, String> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = match checked {
        true => device.create_shader_module(descriptor),
        // SAFETY: all shaders that come here belong to this crate. They check every index against a geometry that the host has checked against
        // its buffers; every loop ends; no divisor is 0. The tests run the same shaders with checks.
        false => unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        },
    };
    let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(format!("the device refuses kernel {label}: {error}")),
        None => Ok(Pipeline { layout: raw.get_bind_group_layout(0), raw, number }),
    }
}
