//! A backend reduced to its required methods.

use std::ops::Range;
use std::sync::Arc;

use super::host_images::HostImages;
use crate::backend::{BatchNormOperands, Device, Layers, LinearAlgebra, Memory, OptimizerKernels, SgdSlot};
use crate::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use crate::keep_images::{ImageSet, KeptImages};
use crate::{Backend, Result};

/// Has the required methods of a backend, and the traits' defaults of all other methods, even if the backend overrides them. It keeps
/// images as [`HostImages`].
#[derive(Clone, Debug)]
pub struct Required<B>(pub B);

fn operands<'a, B: Backend>(p: &BatchNormOperands<'a, Required<B>>) -> BatchNormOperands<'a, B> {
    BatchNormOperands { mean: p.mean, variance: p.variance, gamma: p.gamma, beta: p.beta, epsilon: p.epsilon }
}

impl<B: Backend> Memory for Required<B> {
    type Buffer = B::Buffer;

    fn name(&self) -> String {
        format!("{} (required methods only)", self.0.name())
    }
    fn allocate(&self, len: usize) -> Result<B::Buffer> {
        self.0.allocate(len)
    }
    fn write(&self, src: &[f32], dst: &mut B::Buffer) -> Result<()> {
        self.0.write(src, dst)
    }
    fn read(&self, src: &B::Buffer, dst: &mut [f32]) -> Result<()> {
        self.0.read(src, dst)
    }
}

impl<B: Backend> LinearAlgebra for Required<B> {
    fn gemm(
        &self,
        g: &Gemm,
        alpha: f32,
        a: &B::Buffer,
        b: &B::Buffer,
        beta: f32,
        c: &mut B::Buffer,
    ) -> Result<()> {
        self.0.gemm(g, alpha, a, b, beta, c)
    }
    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &B::Buffer, columns: &mut B::Buffer) -> Result<()> {
        self.0.im2col(g, images, x, columns)
    }
    fn col2im(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        columns: &B::Buffer,
        dx: &mut B::Buffer,
    ) -> Result<()> {
        self.0.col2im(g, images, columns, dx)
    }
    fn axpby(&self, len: usize, alpha: f32, x: &B::Buffer, beta: f32, y: &mut B::Buffer) -> Result<()> {
        self.0.axpby(len, alpha, x, beta, y)
    }
    fn add_bias(&self, g: &Rows, bias: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        self.0.add_bias(g, bias, y)
    }
    fn sum_rows(&self, g: &Rows, x: &B::Buffer, out: &mut B::Buffer) -> Result<()> {
        self.0.sum_rows(g, x, out)
    }
}

impl<B: Backend> Layers for Required<B> {
    fn relu(&self, len: usize, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        self.0.relu(len, x, y)
    }
    fn relu_backward(&self, len: usize, y: &B::Buffer, dy: &B::Buffer, dx: &mut B::Buffer) -> Result<()> {
        self.0.relu_backward(len, y, dy, dx)
    }
    fn batch_norm_statistics(
        &self,
        g: &Rows,
        x: &B::Buffer,
        mean: &mut B::Buffer,
        variance: &mut B::Buffer,
    ) -> Result<()> {
        self.0.batch_norm_statistics(g, x, mean, variance)
    }
    fn batch_norm(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &B::Buffer,
        y: &mut B::Buffer,
    ) -> Result<()> {
        self.0.batch_norm(g, &operands(p), x, y)
    }
    fn batch_norm_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &B::Buffer,
        dy: &B::Buffer,
        dx: &mut B::Buffer,
        dgamma: &mut B::Buffer,
        dbeta: &mut B::Buffer,
    ) -> Result<()> {
        self.0.batch_norm_backward(g, &operands(p), x, dy, dx, dgamma, dbeta)
    }
    fn max_pool2d(&self, g: &Pool2d, x: &B::Buffer, y: &mut B::Buffer, index: &mut B::Buffer) -> Result<()> {
        self.0.max_pool2d(g, x, y, index)
    }
    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        index: &B::Buffer,
        dy: &B::Buffer,
        dx: &mut B::Buffer,
    ) -> Result<()> {
        self.0.max_pool2d_backward(g, index, dy, dx)
    }
    fn mean_pool(&self, g: &MeanPool, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        self.0.mean_pool(g, x, y)
    }
    fn mean_pool_backward(&self, g: &MeanPool, dy: &B::Buffer, dx: &mut B::Buffer) -> Result<()> {
        self.0.mean_pool_backward(g, dy, dx)
    }
    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &B::Buffer,
        labels: &B::Buffer,
        loss: &mut B::Buffer,
        correct: &mut B::Buffer,
        dlogits: &mut B::Buffer,
    ) -> Result<()> {
        self.0.softmax_cross_entropy(g, smoothing, logits, labels, loss, correct, dlogits)
    }
}

impl<B: Backend> OptimizerKernels for Required<B> {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        let SgdSlot { step, len, gradient, gate, velocity, parameter } = slot;
        self.0.sgd(SgdSlot { step, len, gradient, gate, velocity, parameter })
    }
    fn statistics(&self, len: usize, x: &B::Buffer, offset: usize, out: &mut B::Buffer) -> Result<()> {
        self.0.statistics(len, x, offset, out)
    }
}

impl<B: Backend> Device for Required<B> {
    fn keep_images(&self, images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        Ok(Some(HostImages::keep(self, images)))
    }
}
