use std::ops::Range;
use std::sync::Arc;

use gradamp_core::{Backend, BackwardRule, Gradient, LayerKind, Pass, Result, Tape, Tensor, Var};
use gradamp_cpu::Cpu;
use gradamp_wgpu::Wgpu;

/// The Gaussian error linear unit, by its tanh approximation: y = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³))).
///
/// It has a kernel of its own for the GPU and one for the CPU's threads. On any other backend the host computes it.
///
/// **Shapes:** x and y have the same shape, which may be any.
///
/// **Source:** D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016; PyTorch's `gelu(approximate="tanh")`.
pub fn gelu<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    let x_tensor = x.tensor()?;
    let y = apply(&x_tensor, None)?;
    let site = Some(tape.add_site(site, LayerKind::Other)?);
    tape.record("gelu", &[x], &[], site, y, Rule { x: x_tensor })
}

/// Keeps x: dx = gelu'(x) · dy.
struct Rule<B: Backend> {
    x: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dx = apply(&self.x, Some(&dy.into_unscaled()?))?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

/// gelu(x), or gelu'(x) · dy if there is a dy, on whatever device the tensors are.
fn apply<B: Backend>(x: &Tensor<B>, dy: Option<&Tensor<B>>) -> Result<Tensor<B>> {
    if let Some(x) = x.on::<Wgpu>() {
        let y = on_gpu(&x, dy.and_then(Tensor::on::<Wgpu>).as_ref())?;
        return y.on().ok_or_else(|| gradamp_core::Error::external("a tensor has left its backend"));
    }
    if let Some(x) = x.on::<Cpu>() {
        let y = on_cpu(&x, dy.and_then(Tensor::on::<Cpu>).as_ref())?;
        return y.on().ok_or_else(|| gradamp_core::Error::external("a tensor has left its backend"));
    }
    match dy {
        None => x.map(value),
        Some(dy) => x.zip(dy, |x, dy| slope(x) * dy),
    }
}

const ROOT: f32 = 0.797_884_6; // √(2/π)
const CUBIC: f32 = 0.044_715;

fn value(x: f32) -> f32 {
    0.5 * x * (1.0 + (ROOT * (x + CUBIC * x * x * x)).tanh())
}

fn slope(x: f32) -> f32 {
    let tanh = (ROOT * (x + CUBIC * x * x * x)).tanh();
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * ROOT * (1.0 + 3.0 * CUBIC * x * x)
}

/// Each thread computes some thousands of elements at a time.
fn on_cpu(x: &Tensor<Cpu>, dy: Option<&Tensor<Cpu>>) -> Result<Tensor<Cpu>> {
    const CHUNK: usize = 4096;
    let (cpu, len) = (x.backend(), x.elements());
    Tensor::build(cpu, x.shape(), |y| {
        let parts = x.buffer()[..len].chunks(CHUNK).zip(y[..len].chunks_mut(CHUNK)).enumerate();
        cpu.each(parts, |(i, (x, y))| {
            let part: Range<usize> = i * CHUNK..i * CHUNK + x.len();
            match dy {
                None => y.iter_mut().zip(x).for_each(|(y, x)| *y = value(*x)),
                Some(dy) => {
                    let dy = &dy.buffer()[part];
                    y.iter_mut().zip(x).zip(dy).for_each(|((y, x), dy)| *y = slope(*x) * dy);
                }
            }
        });
        Ok(())
    })
}

/// Elements of a workgroup.
const GROUP: usize = 256;

const SHADER: &str = "
    var<immediate> len: u32;
    @group(0) @binding(0) var<storage, read> x: array<f32>;

    fn curve(x: f32) -> f32 {
        // Beyond 10, tanh rounds to ±1; WGSL's own may overflow.
        return tanh(clamp(0.7978846 * (x + 0.044715 * x * x * x), -10.0, 10.0));
    }

    fn place(group: vec3<u32>, local: u32) -> u32 {
        return (group.y * 32768u + group.x) * 256u + local;
    }

    @group(0) @binding(1) var<storage, read_write> y: array<f32>;

    @compute @workgroup_size(256)
    fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
        let i = place(group, local);
        if i < len { y[i] = 0.5 * x[i] * (1.0 + curve(x[i])); }
    }

    @group(0) @binding(1) var<storage, read> dy: array<f32>;
    @group(0) @binding(2) var<storage, read_write> dx: array<f32>;

    @compute @workgroup_size(256)
    fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
        let i = place(group, local);
        if i >= len { return; }
        let t = curve(x[i]);
        let slope = 0.5 * (1.0 + t) + 0.5 * x[i] * (1.0 - t * t) * 0.7978846 * (1.0 + 0.134145 * x[i] * x[i]);
        dx[i] = slope * dy[i];
    }
";

fn on_gpu(x: &Tensor<Wgpu>, dy: Option<&Tensor<Wgpu>>) -> Result<Tensor<Wgpu>> {
    let (gpu, len) = (x.backend(), x.elements());
    let kernel = gpu.kernel(SHADER, if dy.is_some() { "backward" } else { "forward" })?;
    Tensor::build(gpu, x.shape(), |y| {
        let buffers: Vec<_> = [Some(x), dy].into_iter().flatten().map(Tensor::buffer).chain([&*y]).collect();
        kernel.run(&buffers, &(len as u32).to_le_bytes(), len.div_ceil(GROUP))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradamp_core::{Hooks, Parameters, Reference};

    // PyTorch 2.15's `gelu(x, approximate="tanh")` at these values, and its gradient.
    const X: [f32; 7] = [-100.0, -3.0, -1.0, 0.0, 0.5, 2.0, 100.0];
    const Y: [f32; 7] = [-0.0, -0.003637392, -0.158_808, 0.0, 0.345_714, 1.954_597_7, 100.0];
    const DX: [f32; 7] = [0.0, -0.011584167, -0.082964084, 0.5, 0.867_369_9, 1.086_099_3, 1.0];

    fn follows_pytorchs<B: Backend>(backend: &B) -> Result<()> {
        let mut parameters = Parameters::new(backend, 0);
        let mut tape = Tape::train(&mut parameters);
        let x = tape.leaf(Tensor::from_slice(backend, &[7], &X)?);
        let y = gelu(&mut tape, &x, &"gelu".into())?;
        let found = y.tensor()?.to_vec()?;
        let gradients = tape.backward(&y, &Hooks::new())?; // of the sum of y
        let slopes = gradients.leaf(&x).unwrap().values()?.to_vec()?;
        for (found, expected) in found.iter().chain(&slopes).zip(Y.iter().chain(&DX)) {
            assert!((found - expected).abs() < 2e-6, "{}: {found} {expected}", backend.name());
        }
        Ok(())
    }

    #[test]
    fn each_backend_follows_pytorchs() -> Result<()> {
        follows_pytorchs(&Reference)?;
        follows_pytorchs(&Cpu::with_threads(2)?)?;
        match gradamp_wgpu::adapters().first().map(|adapter| Wgpu::open(adapter, &Default::default())) {
            Some(gpu) => follows_pytorchs(&gpu.map_err(gradamp_core::Error::external)?),
            None => {
                eprintln!("skipped on the GPU: this machine has no adapter");
                Ok(())
            }
        }
    }
}
