//! The implementation of the backend's traits. Each method calls the kernel of the same name.

use std::ops::Range;
use std::sync::Arc;

use gradamp_core::Result;
use gradamp_core::backend::{
    AdamWCorrections, AdamWSlot, BatchNormOperands, Device, GateInput, Layers, LinearAlgebra, Memory,
    OptimizerKernels, SgdSlot,
};
use gradamp_core::geometry::{Conv2d, Dropout, Gemm, MeanPool, Mix, Pool2d, Rows};
use gradamp_core::keep_images::{ImageSet, KeptImages};
use gradamp_core::random::Stream;

use crate::device::memory::Buffer;
use crate::gpu::{Counters, Wgpu};
use gradamp_core::backend::Precision;

impl Memory for Wgpu {
    type Buffer = Buffer;

    fn name(&self) -> String {
        match self.precision() {
            Precision::F32 => self.adapter().to_string(),
            Precision::Mixed => format!("{}, mixed precision", self.adapter()),
        }
    }

    fn allocate(&self, len: usize) -> Result<Buffer> {
        self.new_buffer(len)
    }

    fn write(&self, src: &[f32], dst: &mut Buffer) -> Result<()> {
        self.upload(bytemuck::cast_slice(src), dst)
    }

    fn read(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        self.download(&mut [(src, bytemuck::cast_slice_mut(dst))])
    }

    fn read_all(&self, sources: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let mut all: Vec<Vec<f32>> = sources.iter().map(|&(_, len)| vec![0.0; len]).collect();
        let parts = sources.iter().zip(&mut all);
        let mut parts: Vec<_> =
            parts.map(|(&(source, _), values)| (source, bytemuck::cast_slice_mut(values))).collect();
        self.download(&mut parts)?;
        Ok(all)
    }
}

impl LinearAlgebra for Wgpu {
    fn gemm(&self, g: &Gemm, alpha: f32, a: &Buffer, b: &Buffer, beta: f32, c: &mut Buffer) -> Result<()> {
        self.gemm_kernel(g, alpha, a, b, beta, c)
    }

    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &Buffer, columns: &mut Buffer) -> Result<()> {
        self.im2col_kernel(g, images, x, columns)
    }

    fn col2im(&self, g: &Conv2d, images: Range<usize>, columns: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.col2im_kernel(g, images, columns, dx)
    }

    fn axpby(&self, len: usize, alpha: f32, x: &Buffer, beta: f32, y: &mut Buffer) -> Result<()> {
        self.axpby_kernel(len, alpha, x, beta, y)
    }

    fn add_bias(&self, g: &Rows, bias: &Buffer, y: &mut Buffer) -> Result<()> {
        self.add_bias_kernel(g, bias, y)
    }

    fn sum_rows(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        self.sum_rows_kernel(g, x, out)
    }

    /// Computed by batch norm's backward: with a mean of 0, a variance of 1 and dy = x, dgamma is Σ_r x².
    fn sum_squares(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        let [zeros, ones] = self.constants(g.channels)?;
        let p = BatchNormOperands { mean: &zeros, variance: &ones, gamma: &ones, beta: &zeros, epsilon: 0.0 };
        let (mut dx, mut dbeta) = (self.new_buffer(g.len())?, self.new_buffer(g.channels)?);
        self.batch_norm_backward(g, &p, x, x, &mut dx, out, &mut dbeta)
    }

    /// Computed by batch norm, with a mean of 0, a variance of 1 and the factors as gamma.
    fn scale_channels(&self, g: &Rows, factors: &Buffer, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let [zeros, ones] = self.constants(g.channels)?;
        let p =
            BatchNormOperands { mean: &zeros, variance: &ones, gamma: factors, beta: &zeros, epsilon: 0.0 };
        self.batch_norm(g, &p, x, y)
    }
}

impl Wgpu {
    /// A buffer of zeros and a buffer of ones, with one number for each channel.
    fn constants(&self, channels: usize) -> Result<[Buffer; 2]> {
        let constant = |value| -> Result<Buffer> {
            let mut buffer = self.new_buffer(channels)?;
            self.write(&vec![value; channels], &mut buffer)?;
            Ok(buffer)
        };
        Ok([constant(0.0)?, constant(1.0)?])
    }
}

impl Layers for Wgpu {
    fn relu(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("relu", len, &[x, y])
    }

    fn relu_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("relu_backward", len, &[dy, y, dx])
    }

    fn tanh(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("tanh_forward", len, &[x, y])
    }

    fn tanh_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("tanh_backward", len, &[dy, y, dx])
    }

    fn sigmoid(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("sigmoid", len, &[x, y])
    }

    fn sigmoid_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("sigmoid_backward", len, &[dy, y, dx])
    }

    fn dropout(&self, g: &Dropout, stream: Stream, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.dropout_kernel(g, stream, x, y)
    }

    fn batch_norm_statistics(
        &self,
        g: &Rows,
        x: &Buffer,
        mean: &mut Buffer,
        variance: &mut Buffer,
    ) -> Result<()> {
        self.batch_norm_statistics_kernel(g, x, mean, variance)
    }

    fn batch_norm(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        y: &mut Buffer,
    ) -> Result<()> {
        self.batch_norm_kernel(g, p, x, None, false, y)
    }

    fn batch_norm_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        dy: &Buffer,
        dx: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        self.batch_norm_backward_kernel(g, p, x, None, dy, dx, dgamma, dbeta)
    }

    fn max_pool2d(&self, g: &Pool2d, x: &Buffer, y: &mut Buffer, index: &mut Buffer) -> Result<()> {
        self.max_pool2d_kernel(g, x, y, index)
    }

    fn max_pool2d_backward(&self, g: &Pool2d, index: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.max_pool2d_backward_kernel(g, index, dy, dx)
    }

    fn mean_pool(&self, g: &MeanPool, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.mean_pool_kernel(g, x, y)
    }

    fn mean_pool_backward(&self, g: &MeanPool, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.mean_pool_backward_kernel(g, dy, dx)
    }

    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Buffer,
        labels: &Buffer,
        loss: &mut Buffer,
        correct: &mut Buffer,
        dlogits: &mut Buffer,
    ) -> Result<()> {
        self.cross_entropy_kernel("row", g, smoothing, logits, labels, loss, correct, dlogits)
    }

    fn soft_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Buffer,
        targets: &Buffer,
        loss: &mut Buffer,
        correct: &mut Buffer,
        dlogits: &mut Buffer,
    ) -> Result<()> {
        self.cross_entropy_kernel("soft_row", g, smoothing, logits, targets, loss, correct, dlogits)
    }

    fn mix_images(&self, g: &Mix, x: &Buffer, y: &mut Buffer) -> Result<()> {
        self.mix_images_kernel(g, x, y)
    }

    fn mix_labels(&self, g: &Mix, classes: usize, labels: &Buffer, targets: &mut Buffer) -> Result<()> {
        self.mix_labels_kernel(g, classes, labels, targets)
    }

    fn multiply(&self, len: usize, a: &Buffer, b: &Buffer, out: &mut Buffer) -> Result<()> {
        self.elementwise_kernel("multiply", len, &[a, b, out])
    }

    fn conv2d(
        &self,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        self.conv2d_kernel(g, x, w, bias, y)
    }

    fn conv2d_backward_input(&self, g: &Conv2d, w: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        self.conv2d_backward_input_kernel(g, w, dy, dx)
    }

    fn conv2d_backward_weight(&self, g: &Conv2d, x: &Buffer, dy: &Buffer, dw: &mut Buffer) -> Result<()> {
        self.conv2d_backward_weight_kernel(g, x, dy, dw)
    }

    fn batch_norm_relu(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        residual: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        self.batch_norm_kernel(g, p, x, residual, true, y)
    }

    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        y: &Buffer,
        dy: &Buffer,
        dz: Option<&mut Buffer>,
        dx: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        let Some(dz) = dz else {
            return self.batch_norm_backward_kernel(g, p, x, Some(y), dy, dx, dgamma, dbeta);
        };
        self.relu_backward(g.len(), y, dy, dz)?;
        self.batch_norm_backward(g, p, x, dz, dx, dgamma, dbeta)
    }
}

impl OptimizerKernels for Wgpu {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        self.sgd_kernel(slot)
    }

    fn statistics(&self, len: usize, x: &Buffer, offset: usize, out: &mut Buffer) -> Result<()> {
        self.statistics_kernel(len, x, offset, out)
    }

    fn adamw(&self, slot: AdamWSlot<'_, Self>) -> Result<()> {
        self.adamw_kernel(slot)
    }

    fn adamw_corrections(
        &self,
        step: &AdamWCorrections,
        gate: Option<&Buffer>,
        corrections: &mut Buffer,
    ) -> Result<()> {
        self.adamw_corrections_kernel(step, gate, corrections)
    }

    fn step_gate(
        &self,
        gradients: &[GateInput<'_, Self>],
        limit: Option<f32>,
        skip_non_finite: bool,
        out: &mut Buffer,
    ) -> Result<()> {
        self.gate_kernel(gradients, limit, skip_non_finite, out)
    }
}

impl Device for Wgpu {
    fn submit(&self) -> Result<()> {
        self.flush(false)
    }

    /// 0 on a software rasteriser: it computes on the host's cores, so that running ahead of it gains nothing.
    fn steps_ahead(&self) -> usize {
        if self.adapter().is_software() { 0 } else { 8 }
    }

    fn keep_images(&self, images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        self.keep(images)
    }

    fn synchronize(&self) -> Result<()> {
        self.flush(true)
    }

    fn fresh_allocations(&self) -> Option<u64> {
        let Counters { buffers, uploads, downloads, bind_groups, pipelines, submissions: _ } =
            self.counters();
        Some(buffers + uploads + downloads + bind_groups + pipelines)
    }
}
