//! Kernels: one entry point of one variant of one shader, compiled when it is first used.

use std::collections::HashMap;
use std::sync::Arc;

use gradamp_core::Result;

use crate::shaders::template::{self, Parameters};
use crate::shaders::{self, Shader};

/// Which kernel to run: a shader, one of its entry points, and the numbers of its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel<'a> {
    pub(crate) shader: Shader,
    pub(crate) entry: &'static str,
    pub(crate) parameters: &'a [(&'static str, i64)],
}

impl Kernel<'_> {
    /// The WGSL of this variant.
    pub(crate) fn source(&self) -> Result<String> {
        let parameters: Parameters = self.parameters.iter().copied().collect();
        template::expand(self.shader.name(), self.shader.text(), &parameters)
    }
}

/// A [`Kernel`] that holds its own numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) shader: Shader,
    pub(crate) entry: &'static str,
    pub(crate) parameters: Vec<(&'static str, i64)>,
}

impl Variant {
    pub(crate) fn kernel(&self) -> Kernel<'_> {
        Kernel { shader: self.shader, entry: self.entry, parameters: &self.parameters }
    }
}

impl From<Kernel<'_>> for Variant {
    fn from(kernel: Kernel<'_>) -> Self {
        Self { shader: kernel.shader, entry: kernel.entry, parameters: kernel.parameters.to_vec() }
    }
}

/// A family's variants: each option is 0 or 1.
pub(crate) type Combinations<const N: usize, const M: usize> = [[(&'static str, i64); N]; M];

/// All combinations of some options; in the i-th, an option is 1 where its bit of i is.
pub(crate) const fn combinations<const N: usize, const M: usize>(
    names: [&'static str; N],
) -> Combinations<N, M> {
    let mut all = [[("", 0); N]; M];
    let mut i = 0;
    while i < M {
        let mut bit = 0;
        while bit < N {
            all[i][bit] = (names[bit], (i >> bit & 1) as i64);
            bit += 1;
        }
        i += 1;
    }
    all
}

/// A compiled kernel.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// Its number, by which bind groups are found.
    pub(crate) number: u32,
}

/// All kernels that were used so far.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    by_kernel: HashMap<Variant, Arc<Pipeline>>,
}

impl Pipelines {
    pub(crate) fn len(&self) -> usize {
        self.by_kernel.len()
    }

    /// The pipeline of `kernel`, compiled now if it is new.
    ///
    /// **Errors:** the device's word where it does not take the shader.
    pub(crate) fn get(
        &mut self,
        device: &wgpu::Device,
        checked: bool,
        kernel: Kernel<'_>,
    ) -> Result<Arc<Pipeline>, String> {
        let key = Variant::from(kernel);
        if let Some(pipeline) = self.by_kernel.get(&key) {
            return Ok(pipeline.clone());
        }
        if checked && !shaders::kernels().contains(&key) {
            return Err(format!("{key:?} is not among the kernels that the tests validate"));
        }
        let source = kernel.source().map_err(|error| error.to_string())?;
        let number = self.by_kernel.len() as u32;
        let pipeline = Arc::new(compile(device, checked, kernel, &source, number)?);
        self.by_kernel.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

#[allow(unsafe_code, reason = "shaders without checks at run time")]
fn compile(
    device: &wgpu::Device,
    checked: bool,
    kernel: Kernel<'_>,
    source: &str,
    number: u32,
) -> Result<Pipeline, String> {
    let label = format!("{}.{}", kernel.shader.name(), kernel.entry);
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = match checked {
        true => device.create_shader_module(descriptor),
        // SAFETY: the shaders are the crate's own; every index is checked against the geometry that the host has
        // checked against its buffers, every loop ends, and no divisor is 0. The tests run them checked.
        false => unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        },
    };
    let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&label),
        layout: None,
        module: &module,
        entry_point: Some(kernel.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(format!("the device does not take kernel {label}: {error}")),
        None => Ok(Pipeline { layout: raw.get_bind_group_layout(0), raw, number }),
    }
}
