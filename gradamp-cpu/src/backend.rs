//! The backend's methods, each a call of its kernel.

use std::ops::Range;

use crate::arena::Buffer;
use crate::batch_norm::{BlockSums, Quantity};
use crate::device::Cpu;
use crate::winograd::Pixels;
use crate::{
    activation, adamw, batch_norm, conv2d, elementwise, gemm, loss, mix, mixed, pooling, sgd, windows,
};
use gradamp_core::backend::{
    AdamWSlot, BatchNormOperands, Device, FusedKernels, Layers, LinearAlgebra, Memory, OptimizerKernels,
    Precision, SgdSlot, Statistics,
};
use gradamp_core::geometry::{Conv2d, Dropout, Gemm, MeanPool, Mix, Pool2d, Rows};
use gradamp_core::random::Stream;
use gradamp_core::{Error, Result};

impl<'a> From<&BatchNormOperands<'a, Cpu>> for batch_norm::Operands<'a> {
    fn from(p: &BatchNormOperands<'a, Cpu>) -> Self {
        Self { mean: p.mean, variance: p.variance, gamma: p.gamma, beta: p.beta, epsilon: p.epsilon }
    }
}

impl Memory for Cpu {
    type Buffer = Buffer;

    fn name(&self) -> String {
        let mixed = if self.precision() == Precision::Mixed { ", mixed precision" } else { "" };
        format!("cpu ({}, {} threads{mixed})", self.isa(), self.threads().count())
    }

    fn allocate(&self, len: usize) -> Result<Buffer> {
        self.arena().allocate(len).ok_or_else(|| Error::Backend {
            backend: self.name(),
            message: format!(
                "out of memory: cannot allocate {:.1} MiB; a smaller batch or a narrower model needs less",
                len as f64 / f64::from(1 << 18)
            ),
        })
    }

    fn write(&self, src: &[f32], dst: &mut Buffer) -> Result<()> {
        dst[..src.len()].copy_from_slice(src);
        Ok(())
    }

    fn read(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        dst.copy_from_slice(&src[..dst.len()]);
        Ok(())
    }
}

impl LinearAlgebra for Cpu {
    fn gemm(&self, g: &Gemm, alpha: f32, a: &Buffer, b: &Buffer, beta: f32, c: &mut Buffer) -> Result<()> {
        match self.bf16() {
            Some(bf16) if g.m * g.n * g.k > 0 => mixed::gemm(self, bf16, g, alpha, a, b, beta, c),
            _ => gemm::gemm(self, g, alpha, a, b, beta, c),
        }
    }

    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &Buffer, columns: &mut Buffer) -> Result<()> {
        windows::im2col(self.threads(), g, images, x, columns);
        Ok(())
    }

    fn col2im(&self, g: &Conv2d, images: Range<usize>, columns: &Buffer, dx: &mut Buffer) -> Result<()> {
        windows::col2im(self.threads(), g, images, columns, dx);
        Ok(())
    }

    fn axpby(&self, len: usize, alpha: f32, x: &Buffer, beta: f32, y: &mut Buffer) -> Result<()> {
        elementwise::axpby(self, alpha, &x[..len], beta, &mut y[..len]);
        Ok(())
    }

    fn add_bias(&self, g: &Rows, bias: &Buffer, y: &mut Buffer) -> Result<()> {
        elementwise::add_bias(self.threads(), g, &bias[..g.channels], &mut y[..g.len()]);
        Ok(())
    }

    fn sum_rows(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        elementwise::sum_rows(self, g, &x[..g.len()], &mut out[..g.channels]);
        Ok(())
    }

    fn sum_squares(&self, g: &Rows, x: &Buffer, out: &mut Buffer) -> Result<()> {
        elementwise::sum_squares(self, g, &x[..g.len()], &mut out[..g.channels]);
        Ok(())
    }

    fn scale_channels(&self, g: &Rows, factors: &Buffer, x: &Buffer, y: &mut Buffer) -> Result<()> {
        let factors = &factors[..g.channels];
        elementwise::scale_channels(self.threads(), g, factors, &x[..g.len()], &mut y[..g.len()]);
        Ok(())
    }
}

impl Layers for Cpu {
    fn relu(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        elementwise::relu(self, &x[..len], &mut y[..len]);
        Ok(())
    }

    fn relu_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        elementwise::relu_backward(self, &y[..len], &dy[..len], &mut dx[..len]);
        Ok(())
    }

    fn tanh(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        activation::tanh(self, &x[..len], &mut y[..len]);
        Ok(())
    }

    fn tanh_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        activation::tanh_backward(self, &y[..len], &dy[..len], &mut dx[..len]);
        Ok(())
    }

    fn sigmoid(&self, len: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
        activation::sigmoid(self, &x[..len], &mut y[..len]);
        Ok(())
    }

    fn sigmoid_backward(&self, len: usize, y: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        activation::sigmoid_backward(self, &y[..len], &dy[..len], &mut dx[..len]);
        Ok(())
    }

    fn dropout(&self, g: &Dropout, stream: Stream, x: &Buffer, y: &mut Buffer) -> Result<()> {
        elementwise::dropout(self, g, stream, &x[..g.len], &mut y[..g.len]);
        Ok(())
    }

    fn batch_norm_statistics(
        &self,
        g: &Rows,
        x: &Buffer,
        mean: &mut Buffer,
        variance: &mut Buffer,
    ) -> Result<()> {
        batch_norm::batch_norm_statistics(self, g, x, mean, variance);
        Ok(())
    }

    fn batch_norm(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        y: &mut Buffer,
    ) -> Result<()> {
        batch_norm::batch_norm(self, g, p.into(), x, y);
        Ok(())
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
        batch_norm::batch_norm_backward(self, g, p.into(), x, None, dy, None, dx, dgamma, dbeta);
        Ok(())
    }

    fn max_pool2d(&self, g: &Pool2d, x: &Buffer, y: &mut Buffer, index: &mut Buffer) -> Result<()> {
        pooling::max_pool2d(self, g, x, y, index);
        Ok(())
    }

    fn max_pool2d_backward(&self, g: &Pool2d, index: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        pooling::max_pool2d_backward(self, g, index, dy, dx, None);
        Ok(())
    }

    fn mean_pool(&self, g: &MeanPool, x: &Buffer, y: &mut Buffer) -> Result<()> {
        pooling::mean_pool(self, g, x, y);
        Ok(())
    }

    fn mean_pool_backward(&self, g: &MeanPool, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        pooling::mean_pool_backward(self.threads(), g, dy, dx);
        Ok(())
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
        (loss[0], correct[0]) =
            loss::softmax_cross_entropy(self.threads(), g, smoothing, logits, labels, dlogits);
        Ok(())
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
        (loss[0], correct[0]) =
            loss::soft_cross_entropy(self.threads(), g, smoothing, logits, targets, dlogits);
        Ok(())
    }

    fn mix_images(&self, g: &Mix, x: &Buffer, y: &mut Buffer) -> Result<()> {
        mix::mix_images(self.threads(), g, &x[..g.len()], &mut y[..g.len()]);
        Ok(())
    }

    fn mix_labels(&self, g: &Mix, classes: usize, labels: &Buffer, targets: &mut Buffer) -> Result<()> {
        mix::mix_labels(self.threads(), g, classes, labels, &mut targets[..g.images[0] * classes]);
        Ok(())
    }

    fn multiply(&self, len: usize, a: &Buffer, b: &Buffer, out: &mut Buffer) -> Result<()> {
        elementwise::multiply(self, &a[..len], &b[..len], &mut out[..len]);
        Ok(())
    }

    fn conv2d(
        &self,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        conv2d::conv2d(self, g, Pixels::stored(x), w, bias.map(|bias| &**bias), y, None)
    }

    fn conv2d_backward_input(&self, g: &Conv2d, w: &Buffer, dy: &Buffer, dx: &mut Buffer) -> Result<()> {
        conv2d::conv2d_backward_input(self, g, w, dy, dx, None)
    }

    fn conv2d_backward_weight(&self, g: &Conv2d, x: &Buffer, dy: &Buffer, dw: &mut Buffer) -> Result<()> {
        conv2d::conv2d_backward_weight(self, g, Pixels::stored(x), dy, dw)
    }

    fn batch_norm_relu(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Buffer,
        residual: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        let residual = residual.map(|residual| &**residual);
        batch_norm::batch_norm_relu(self, g, p.into(), x, residual, y);
        Ok(())
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
        let dz = dz.map(|dz| &mut **dz);
        batch_norm::batch_norm_backward(self, g, p.into(), x, Some(y), dy, dz, dx, dgamma, dbeta);
        Ok(())
    }
}

impl OptimizerKernels for Cpu {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        self.sgd_all(vec![slot])
    }

    fn statistics(&self, len: usize, x: &Buffer, offset: usize, out: &mut Buffer) -> Result<()> {
        let statistics = elementwise::statistics(self.threads(), &x[..len]);
        out[offset..offset + Statistics::LEN].copy_from_slice(&statistics.to_array());
        Ok(())
    }

    fn sgd_all(&self, slots: Vec<SgdSlot<'_, Self>>) -> Result<()> {
        sgd::sgd(self, slots);
        Ok(())
    }

    fn adamw(&self, slot: AdamWSlot<'_, Self>) -> Result<()> {
        self.adamw_all(vec![slot])
    }

    fn adamw_all(&self, slots: Vec<AdamWSlot<'_, Self>>) -> Result<()> {
        adamw::adamw(self, slots);
        Ok(())
    }

    fn add_noise(&self, len: usize, stream: Stream, deviation: f32, y: &mut Buffer) -> Result<()> {
        elementwise::add_noise(self.threads(), stream, deviation, &mut y[..len]);
        Ok(())
    }
}

impl Device for Cpu {
    fn conv2d_with_moments(
        &self,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
        mean: &mut Buffer,
        variance: &mut Buffer,
    ) -> Result<()> {
        let mut moments = BlockSums::new(Quantity::Moments);
        conv2d::conv2d(self, g, Pixels::stored(x), w, bias.map(|bias| &**bias), y, Some(&mut moments))?;
        batch_norm::join_moments(&moments.finish(self, &g.y_rows(), y), &g.y_rows(), mean, variance);
        Ok(())
    }

    fn fused_kernels(&self) -> Option<&dyn FusedKernels<Self>> {
        Some(self)
    }

    fn fresh_allocations(&self) -> Option<u64> {
        Some(self.fresh_buffers())
    }
}
