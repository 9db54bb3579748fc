//! A backend with one fault in one kernel.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gradamp_core::Result;
use gradamp_core::backend::{
    AdamWCorrections, AdamWSlot, BatchNormOperands, Device, GateInput, Layers, LinearAlgebra, Memory,
    OptimizerKernels, SgdSlot,
};
use gradamp_core::backend::{BatchNormRelu, FusedKernels, GradientShare};
use gradamp_core::conformance::HostImages;
use gradamp_core::geometry::{Conv2d, Dropout, Gemm, MeanPool, Mix, Pool2d, Rows};
use gradamp_core::keep_images::{ImageSet, KeptImages};
use gradamp_core::random::Stream;

use gradamp_core::Reference;

/// The fault of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// All results have the wrong sign.
    Sign,
    /// The last element is not written.
    Rest,
    /// One element more is written, after the last one.
    Overrun,
    /// Every other run differs in the last bit of its first element.
    Jitter,
}

/// The reference backend with a fault in one kernel.
#[derive(Clone, Debug)]
pub struct Faulty {
    kernel: &'static str,
    fault: Fault,
    count: Arc<AtomicU64>,
}

impl Faulty {
    pub fn new(kernel: &'static str, fault: Fault) -> Self {
        Self { kernel, fault, count: Arc::default() }
    }

    /// Runs `kernel`. If it is the faulty one, spoils the elements that it changed.
    fn spoil(
        &self,
        kernel: &str,
        out: &mut Vec<f32>,
        run: impl FnOnce(&mut Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let before = out.clone();
        run(out)?;
        let changed: Vec<usize> =
            (0..out.len()).filter(|&i| out[i].to_bits() != before[i].to_bits()).collect();
        let (Some(&first), Some(&last), true) = (changed.first(), changed.last(), kernel == self.kernel)
        else {
            return Ok(());
        };
        match self.fault {
            Fault::Sign => changed.iter().for_each(|&i| out[i] = -out[i]),
            Fault::Rest => out[last] = before[last],
            Fault::Overrun => out[last + 1] = 0.0,
            Fault::Jitter => {
                let odd = self.count.fetch_add(1, Ordering::Relaxed) % 2;
                out[first] = f32::from_bits(out[first].to_bits() ^ odd as u32);
            }
        }
        Ok(())
    }
}

fn operands<'a>(p: &BatchNormOperands<'a, Faulty>) -> BatchNormOperands<'a, Reference> {
    BatchNormOperands { mean: p.mean, variance: p.variance, gamma: p.gamma, beta: p.beta, epsilon: p.epsilon }
}

type Buffer = Vec<f32>;

#[rustfmt::skip] // one line a kernel
impl Memory for Faulty {
    type Buffer = Buffer;

    fn name(&self) -> String { format!("{:?} in {}", self.fault, self.kernel) }
    fn allocate(&self, len: usize) -> Result<Buffer> {
        if self.kernel == "allocate" { self.count.fetch_add(1, Ordering::Relaxed); }
        Reference.allocate(len)
    }
    fn write(&self, src: &[f32], dst: &mut Buffer) -> Result<()> { Reference.write(src, dst) }
    fn read(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> { Reference.read(src, dst) }
    fn read_all(&self, sources: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let mut all = Reference.read_all(sources)?;
        if self.kernel == "read_all" { all.iter_mut().for_each(|values| { values.pop(); }); }
        Ok(all)
    }
}

#[rustfmt::skip] // one line a kernel
impl LinearAlgebra for Faulty {
    fn gemm(&self, g: &Gemm, alpha: f32, a: &Buffer, b: &Buffer, beta: f32, c: &mut Buffer) -> Result<()> {
        self.spoil("gemm", c, |c| Reference.gemm(g, alpha, a, b, beta, c))
    }
    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &Buffer, columns: &mut Buffer) -> Result<()> {
        self.spoil("im2col", columns, |columns| Reference.im2col(g, images, x, columns))
    }
    fn col2im(&self, g: &Conv2d, images: Range<usize>, columns: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("col2im", dx, |dx| Reference.col2im(g, images, columns, dx))
    }
    fn axpby(&self, len: usize, alpha: f32, x: &Buffer, beta: f32, y: &mut Buffer) -> Result<()> {
        self.spoil("axpby", y, |y| Reference.axpby(len, alpha, x, beta, y))
    }
    fn add_bias(&self, g: &Rows, bias: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("add_bias", y, |y| Reference.add_bias(g, bias, y))
    }
    fn sum_rows(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        self.spoil("sum_rows", out, |out| Reference.sum_rows(g, x, out))
    }
    fn sum_squares(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        self.spoil("sum_squares", out, |out| Reference.sum_squares(g, x, out))
    }
    fn scale_channels(&self, g: &Rows, factors: &Buffer, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("scale_channels", y, |y| Reference.scale_channels(g, factors, x, y))
    }
}

#[rustfmt::skip] // one line a kernel
impl Layers for Faulty {
    fn relu(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("relu", y, |y| Reference.relu(len, x, y))
    }
    fn relu_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("relu_backward", dx, |dx| Reference.relu_backward(len, y, dy, dx))
    }
    fn tanh(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("tanh", y, |y| Reference.tanh(len, x, y))
    }
    fn tanh_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("tanh_backward", dx, |dx| Reference.tanh_backward(len, y, dy, dx))
    }
    fn sigmoid(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("sigmoid", y, |y| Reference.sigmoid(len, x, y))
    }
    fn sigmoid_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("sigmoid_backward", dx, |dx| Reference.sigmoid_backward(len, y, dy, dx))
    }
    fn dropout(&self, g: &Dropout, stream: Stream, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("dropout", y, |y| Reference.dropout(g, stream, x, y))
    }
    fn batch_norm_statistics(&self, g: &Rows, x: &Buffer, mean: &mut Buffer, variance: &mut Buffer) -> Result<()> {
        self.spoil("batch_norm_statistics", variance, |variance| Reference.batch_norm_statistics(g, x, mean, variance))
    }
    fn batch_norm(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("batch_norm", y, |y| Reference.batch_norm(g, &operands(p), x, y))
    }
    fn batch_norm_backward(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, dy: &Buffer, dx: &mut Buffer, dgamma: &mut Buffer, dbeta: &mut Buffer) -> Result<()> {
        self.spoil("batch_norm_backward", dx, |dx| Reference.batch_norm_backward(g, &operands(p), x, dy, dx, dgamma, dbeta))
    }
    fn max_pool2d(&self, g: &Pool2d, x: &Buffer, y: &mut Buffer, index: &mut Buffer) -> Result<()> {
        self.spoil("max_pool2d", index, |index| Reference.max_pool2d(g, x, y, index))
    }
    fn max_pool2d_backward(&self, g: &Pool2d, index: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("max_pool2d_backward", dx, |dx| Reference.max_pool2d_backward(g, index, dy, dx))
    }
    fn mean_pool(&self, g: &MeanPool, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("mean_pool", y, |y| Reference.mean_pool(g, x, y))
    }
    fn mean_pool_backward(&self, g: &MeanPool, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("mean_pool_backward", dx, |dx| Reference.mean_pool_backward(g, dy, dx))
    }
    fn softmax_cross_entropy(&self, g: &Rows, smoothing: f32, logits: &Buffer, labels: &Buffer, loss: &mut Buffer, correct: &mut Buffer, dlogits: &mut Buffer) -> Result<()> {
        self.spoil("softmax_cross_entropy", dlogits, |dlogits| Reference.softmax_cross_entropy(g, smoothing, logits, labels, loss, correct, dlogits))
    }
    fn soft_cross_entropy(&self, g: &Rows, smoothing: f32, logits: &Buffer, targets: &Buffer, loss: &mut Buffer, correct: &mut Buffer, dlogits: &mut Buffer) -> Result<()> {
        self.spoil("soft_cross_entropy", dlogits, |dlogits| Reference.soft_cross_entropy(g, smoothing, logits, targets, loss, correct, dlogits))
    }
    fn mix_images(&self, g: &Mix, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.spoil("mix_images", y, |y| Reference.mix_images(g, x, y))
    }
    fn mix_labels(&self, g: &Mix, classes: usize, labels: &Buffer, targets: &mut Buffer) -> Result<()> {
        self.spoil("mix_labels", targets, |targets| Reference.mix_labels(g, classes, labels, targets))
    }
    fn multiply(&self, len: usize, a: &Buffer, b: &Buffer, out: &mut Buffer) -> Result<()> {
        self.spoil("multiply", out, |out| Reference.multiply(len, a, b, out))
    }
    fn conv2d(&self, g: &Conv2d, x: &Buffer, w: &Buffer, bias: Option<&Buffer>, y: &mut Buffer) -> Result<()> {
        self.spoil("conv2d", y, |y| Reference.conv2d(g, x, w, bias, y))
    }
    fn conv2d_backward_input(&self, g: &Conv2d, w: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.spoil("conv2d_backward_input", dx, |dx| Reference.conv2d_backward_input(g, w, dy, dx))
    }
    fn conv2d_backward_weight(&self, g: &Conv2d, x: &Buffer, dy: &Buffer, dw: &mut Buffer) -> Result<()> {
        self.spoil("conv2d_backward_weight", dw, |dw| Reference.conv2d_backward_weight(g, x, dy, dw))
    }
    fn batch_norm_relu(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, residual: Option<&Buffer>, y: &mut Buffer) -> Result<()> {
        self.spoil("batch_norm_relu", y, |y| Reference.batch_norm_relu(g, &operands(p), x, residual, y))
    }
    fn batch_norm_relu_backward(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, y: &Buffer, dy: &Buffer, dz: Option<&mut Buffer>, dx: &mut Buffer, dgamma: &mut Buffer, dbeta: &mut Buffer) -> Result<()> {
        self.spoil("batch_norm_relu_backward", dgamma, |dgamma| Reference.batch_norm_relu_backward(g, &operands(p), x, y, dy, dz, dx, dgamma, dbeta))
    }
}

#[rustfmt::skip] // one line a kernel
impl OptimizerKernels for Faulty {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        let SgdSlot { step, len, gradient, gate, velocity, parameter } = slot;
        let gate = gate.filter(|_| self.kernel != "sgd_rests");
        self.spoil("sgd", parameter, |parameter| Reference.sgd(SgdSlot { step, len, gradient, gate, velocity, parameter }))
    }
    fn statistics(&self, len: usize, x: &Buffer, offset: usize, out: &mut Buffer) -> Result<()> {
        self.spoil("statistics", out, |out| Reference.statistics(len, x, offset, out))
    }

    fn step_gate(&self, gradients: &[GateInput<'_, Self>], limit: Option<f32>, skip_non_finite: bool, out: &mut Buffer) -> Result<()> {
        let parts = gradients.iter().map(|p| GateInput { gradient: p.gradient, len: p.len, scale: p.scale });
        let gradients: Vec<_> = parts.collect();
        self.spoil("step_gate", out, |out| Reference.step_gate(&gradients, limit, skip_non_finite, out))
    }
    fn add_noise(&self, len: usize, stream: Stream, deviation: f32, y: &mut Buffer) -> Result<()> {
        self.spoil("add_noise", y, |y| Reference.add_noise(len, stream, deviation, y))
    }
    fn adamw(&self, slot: AdamWSlot<'_, Self>) -> Result<()> {
        let AdamWSlot { step, len, gradient, gate, corrections, mean, square, parameter } = slot;
        self.spoil("adamw", parameter, |parameter| Reference.adamw(AdamWSlot { step, len, gradient, gate, corrections, mean, square, parameter }))
    }
    fn adamw_all(&self, mut slots: Vec<AdamWSlot<'_, Self>>) -> Result<()> {
        if self.kernel == "adamw_all" { slots.pop(); }
        slots.into_iter().try_for_each(|slot| self.adamw(slot))
    }
    fn adamw_corrections(&self, step: &AdamWCorrections, gate: Option<&Buffer>, corrections: &mut Buffer) -> Result<()> {
        self.spoil("adamw_corrections", corrections, |corrections| Reference.adamw_corrections(step, gate, corrections))
    }
    fn sgd_all(&self, mut slots: Vec<SgdSlot<'_, Self>>) -> Result<()> {
        if self.kernel == "sgd_all" { slots.pop(); }
        slots.into_iter().try_for_each(|slot| self.sgd(slot))
    }
}

#[rustfmt::skip] // one line a kernel
impl Device for Faulty {
    fn fresh_allocations(&self) -> Option<u64> { (self.kernel == "allocate").then(|| self.count.load(Ordering::Relaxed)) }
    fn conv2d_with_moments(&self, g: &Conv2d, x: &Buffer, w: &Buffer, bias: Option<&Buffer>, y: &mut Buffer, mean: &mut Buffer, variance: &mut Buffer) -> Result<()> {
        self.spoil("conv2d_with_moments", variance, |variance| Reference.conv2d_with_moments(g, x, w, bias, y, mean, variance))
    }
    fn fused_kernels(&self) -> Option<&dyn FusedKernels<Self>> { Some(self) }
    fn keep_images(&self, images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        if self.kernel != "keep_images" { return Ok(None); }
        let (mut bytes, mut table) = (images.bytes.to_vec(), images.table.to_vec());
        match self.fault {
            Fault::Sign => table.iter_mut().flatten().for_each(|value| *value = -*value),
            _ => bytes.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1),
        }
        Ok(Some(HostImages::keep(self, &ImageSet { bytes: &bytes, table: &table, ..*images })))
    }
}

/// A buffer with the values of z, and a buffer for results that are not needed.
fn written(g: &Rows, z: &BatchNormRelu<'_, Faulty>) -> Result<[Buffer; 2]> {
    let [mut written, room] = [Reference.allocate(g.len())?, Reference.allocate(g.len())?];
    match z.z {
        Some(z) => written.clone_from(z),
        None => Reference.batch_norm_relu(g, &operands(&z.p), z.x, None, &mut written)?,
    }
    Ok([written, room])
}

#[rustfmt::skip] // one line a kernel
impl FusedKernels<Faulty> for Faulty {
    fn fuses(&self, _g: &Conv2d) -> bool { true }
    fn conv2d(&self, g: &Conv2d, z: &BatchNormRelu<'_, Self>, w: &Buffer, bias: Option<&Buffer>, y: &mut Buffer, moments: Option<[&mut Buffer; 2]>) -> Result<()> {
        let [z, _] = written(&g.x_rows(), z)?;
        self.spoil("fused_forward", y, |y| match moments {
            Some([mean, variance]) => Reference.conv2d_with_moments(g, &z, w, bias, y, mean, variance),
            None => Reference.conv2d(g, &z, w, bias, y),
        })
    }
    fn conv2d_backward_input(&self, g: &Conv2d, z: &BatchNormRelu<'_, Self>, w: &Buffer, dy: &Buffer, others: Option<GradientShare<'_, Self>>, dz: &mut Buffer, dgamma: &mut Buffer, dbeta: &mut Buffer) -> Result<()> {
        let ([y, mut dx], rows) = (written(&g.x_rows(), z)?, g.x_rows());
        Reference.conv2d_backward_input(g, w, dy, dz)?;
        if let Some(GradientShare { values, scale, own }) = others {
            Reference.axpby(rows.len(), scale, values, own, dz)?;
        }
        self.spoil("fused_input_gradient", dgamma, |dgamma| Reference.batch_norm_relu_backward(&rows, &operands(&z.p), z.x, &y, dz, None, &mut dx, dgamma, dbeta))
    }
    fn fuses_weight_gradient(&self, _g: &Conv2d) -> bool { true }
    fn conv2d_backward_weight(&self, g: &Conv2d, z: &BatchNormRelu<'_, Self>, dy: &Buffer, dw: &mut Buffer) -> Result<()> {
        let [z, _] = written(&g.x_rows(), z)?;
        self.spoil("fused_weight_gradient", dw, |dw| Reference.conv2d_backward_weight(g, &z, dy, dw))
    }
    fn max_pool2d_backward(&self, g: &Pool2d, z: &BatchNormRelu<'_, Self>, index: &Buffer, dy: &Buffer, dz: &mut Buffer, dgamma: &mut Buffer, dbeta: &mut Buffer) -> Result<()> {
        let ([y, mut dx], rows) = (written(&g.x_rows(), z)?, g.x_rows());
        Layers::max_pool2d_backward(self, g, index, dy, dz)?;
        self.spoil("fused_pool", dgamma, |dgamma| Reference.batch_norm_relu_backward(&rows, &operands(&z.p), z.x, &y, dz, None, &mut dx, dgamma, dbeta))
    }
    fn batch_norm_relu_backward(&self, g: &Rows, z: &BatchNormRelu<'_, Self>, dgamma: &Buffer, dbeta: &Buffer, dz: &mut Buffer, dx: Option<&mut Buffer>) -> Result<()> {
        let (rows, [y, mut new], [mut dgamma, mut dbeta]) = (*g, written(g, z)?, [dgamma, dbeta].map(Clone::clone));
        Reference.batch_norm_relu_backward(&rows, &operands(&z.p), z.x, &y, dz, None, &mut new, &mut dgamma, &mut dbeta)?;
        if dx.is_some() {
            let dy = dz.clone();
            Reference.relu_backward(rows.len(), &y, &dy, dz)?;
        }
        self.spoil("fused_rest", dx.unwrap_or(dz), |dx| { dx[..rows.len()].copy_from_slice(&new[..rows.len()]); Ok(()) })
    }
}
