//! A backend whose results are read late, and which counts how often the host waits for it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradamp_core::backend::{
    BatchNormOperands, Device, Layers, LinearAlgebra, Memory, OptimizerKernels, SgdSlot,
};
use gradamp_core::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use gradamp_core::{Reference, Result};

/// The kernels of the reference backend, on a device that may be `ahead` steps behind the host.
#[derive(Clone, Debug)]
pub struct Lagging {
    reference: Reference,
    ahead: usize,
    waits: Arc<AtomicUsize>,
    submits: Arc<AtomicUsize>,
}

impl Lagging {
    pub fn new(ahead: usize) -> Self {
        Self { reference: Reference, ahead, waits: Arc::default(), submits: Arc::default() }
    }

    /// How often the host has waited, and how often it has submitted work.
    pub fn counts(&self) -> (usize, usize) {
        (self.waits.load(Ordering::Relaxed), self.submits.load(Ordering::Relaxed))
    }
}

fn operands<'a>(p: &BatchNormOperands<'a, Lagging>) -> BatchNormOperands<'a, Reference> {
    BatchNormOperands { mean: p.mean, variance: p.variance, gamma: p.gamma, beta: p.beta, epsilon: p.epsilon }
}

type Buffer = Vec<f32>;

#[rustfmt::skip] // one line a kernel
impl Memory for Lagging {
    type Buffer = Buffer;

    fn read(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.reference.read(src, dst)
    }
    fn read_all(&self, sources: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.reference.read_all(sources)
    }

    fn name(&self) -> String { format!("{} ({} steps behind)", self.reference.name(), self.ahead) }
    fn allocate(&self, len: usize) -> Result<Buffer> { self.reference.allocate(len) }
    fn write(&self, src: &[f32], dst: &mut Buffer) -> Result<()> { self.reference.write(src, dst) }
}

#[rustfmt::skip] // one line a kernel
impl LinearAlgebra for Lagging {
    fn gemm(&self, g: &Gemm, alpha: f32, a: &Buffer, b: &Buffer, beta: f32, c: &mut Buffer) -> Result<()> { self.reference.gemm(g, alpha, a, b, beta, c) }
    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &Buffer, columns: &mut Buffer) -> Result<()> { self.reference.im2col(g, images, x, columns) }
    fn col2im(&self, g: &Conv2d, images: Range<usize>, columns: &Buffer, dx: &mut Buffer) -> Result<()> { self.reference.col2im(g, images, columns, dx) }
    fn axpby(&self, len: usize, alpha: f32, x: &Buffer, beta: f32, y: &mut Buffer) -> Result<()> { self.reference.axpby(len, alpha, x, beta, y) }
    fn add_bias(&self, g: &Rows, bias: &Buffer, y: &mut Buffer) -> Result<()> { self.reference.add_bias(g, bias, y) }
    fn sum_rows(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> { self.reference.sum_rows(g, x, out) }
}

#[rustfmt::skip] // one line a kernel
impl Layers for Lagging {
    fn relu(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> { self.reference.relu(len, x, y) }
    fn relu_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> { self.reference.relu_backward(len, y, dy, dx) }
    fn batch_norm_statistics(&self, g: &Rows, x: &Buffer, mean: &mut Buffer, variance: &mut Buffer) -> Result<()> { self.reference.batch_norm_statistics(g, x, mean, variance) }
    fn batch_norm(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, y: &mut Buffer) -> Result<()> { self.reference.batch_norm(g, &operands(p), x, y) }
    fn batch_norm_backward(&self, g: &Rows, p: &BatchNormOperands<'_, Self>, x: &Buffer, dy: &Buffer, dx: &mut Buffer, dgamma: &mut Buffer, dbeta: &mut Buffer) -> Result<()> { self.reference.batch_norm_backward(g, &operands(p), x, dy, dx, dgamma, dbeta) }
    fn max_pool2d(&self, g: &Pool2d, x: &Buffer, y: &mut Buffer, index: &mut Buffer) -> Result<()> { self.reference.max_pool2d(g, x, y, index) }
    fn max_pool2d_backward(&self, g: &Pool2d, index: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> { self.reference.max_pool2d_backward(g, index, dy, dx) }
    fn mean_pool(&self, g: &MeanPool, x: &Buffer, y: &mut Buffer) -> Result<()> { self.reference.mean_pool(g, x, y) }
    fn mean_pool_backward(&self, g: &MeanPool, dy: &Buffer, dx: &mut Buffer) -> Result<()> { self.reference.mean_pool_backward(g, dy, dx) }
    fn softmax_cross_entropy(&self, g: &Rows, smoothing: f32, logits: &Buffer, labels: &Buffer, loss: &mut Buffer, correct: &mut Buffer, dlogits: &mut Buffer) -> Result<()> { self.reference.softmax_cross_entropy(g, smoothing, logits, labels, loss, correct, dlogits) }
}

#[rustfmt::skip] // one line a kernel
impl OptimizerKernels for Lagging {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        let SgdSlot { step, len, gradient, gate, velocity, parameter } = slot;
        self.reference.sgd(SgdSlot { step, len, gradient, gate, velocity, parameter })
    }
    fn statistics(&self, len: usize, x: &Buffer, offset: usize, out: &mut Buffer) -> Result<()> { self.reference.statistics(len, x, offset, out) }
}

#[rustfmt::skip] // one line a kernel
impl Device for Lagging {
    fn submit(&self) -> Result<()> {
        self.submits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn steps_ahead(&self) -> usize { self.ahead }
}
