//! Calls of the fused kernels, or of the separate kernels on a backend that has no fused ones.

use super::super::Violation;
use super::super::case::{Found, Output};
use crate::backend::Memory;
use crate::backend::{BatchNormRelu, FusedKernels, GradientShare};
use crate::geometry::{Conv2d, Pool2d, Rows};
use crate::{Backend, Result};

/// Calls the fused kernels, or the separate kernels that take their place.
pub(super) struct Run<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) rows: Rows,
    pub(super) z: BatchNormRelu<'a, B>,
}

/// Buffers for the gradient of z, and for the two sums over it.
pub(super) type GradientBuffers<'a, B> = (&'a mut <B as Memory>::Buffer, [&'a mut <B as Memory>::Buffer; 2]);

impl<B: Backend> Run<'_, B> {
    /// The backend's fused kernels; `None` if it has none for this convolution.
    fn fused_kernels(&self, g: &Conv2d) -> Option<&dyn FusedKernels<B>> {
        self.backend.fused_kernels().filter(|fused| fused.fuses(g))
    }

    /// A buffer with the values of z.
    fn written(&self) -> Result<B::Buffer> {
        let (b, rows) = (self.backend, &self.rows);
        let mut written = b.allocate(rows.len())?;
        match self.z.z {
            Some(z) => b.axpby(rows.len(), 1.0, z, 0.0, &mut written)?,
            None => b.batch_norm_relu(rows, &self.z.p, self.z.x, None, &mut written)?,
        }
        Ok(written)
    }

    pub(super) fn forward(
        &self,
        g: &Conv2d,
        w: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
        moments: Option<[&mut B::Buffer; 2]>,
    ) -> Result<()> {
        match (self.fused_kernels(g), moments) {
            (Some(fused), moments) => fused.conv2d(g, &self.z, w, bias, y, moments),
            (None, None) => self.backend.conv2d(g, &self.written()?, w, bias, y),
            (None, Some([mean, variance])) => {
                self.backend.conv2d_with_moments(g, &self.written()?, w, bias, y, mean, variance)
            }
        }
    }

    /// Computes the two sums over dz.
    fn sums(&self, dz: &B::Buffer, [dgamma, dbeta]: [&mut B::Buffer; 2]) -> Result<()> {
        let (b, BatchNormRelu { x, p, .. }) = (self.backend, &self.z);
        let mut dx = b.allocate(self.rows.len())?;
        b.batch_norm_relu_backward(&self.rows, p, x, &self.written()?, dz, None, &mut dx, dgamma, dbeta)
    }

    pub(super) fn backward_input(
        &self,
        g: &Conv2d,
        w: &B::Buffer,
        dy: &B::Buffer,
        others: Option<GradientShare<'_, B>>,
        (dz, [dgamma, dbeta]): GradientBuffers<'_, B>,
    ) -> Result<()> {
        if let Some(fused) = self.fused_kernels(g) {
            return fused.conv2d_backward_input(g, &self.z, w, dy, others, dz, dgamma, dbeta);
        }
        self.backend.conv2d_backward_input(g, w, dy, dz)?;
        if let Some(GradientShare { values, scale, own }) = others {
            self.backend.axpby(self.rows.len(), scale, values, own, dz)?;
        }
        self.sums(dz, [dgamma, dbeta])
    }

    pub(super) fn backward_weight(&self, g: &Conv2d, dy: &B::Buffer, dw: &mut B::Buffer) -> Result<()> {
        match self.fused_kernels(g).filter(|fused| fused.fuses_weight_gradient(g)) {
            Some(fused) => fused.conv2d_backward_weight(g, &self.z, dy, dw),
            None => self.backend.conv2d_backward_weight(g, &self.written()?, dy, dw),
        }
    }

    pub(super) fn pool(
        &self,
        g: &Pool2d,
        index: &B::Buffer,
        dy: &B::Buffer,
        (dz, [dgamma, dbeta]): GradientBuffers<'_, B>,
    ) -> Result<()> {
        if let Some(fused) = self.backend.fused_kernels() {
            return fused.max_pool2d_backward(g, &self.z, index, dy, dz, dgamma, dbeta);
        }
        self.backend.max_pool2d_backward(g, index, dy, dz)?;
        self.sums(dz, [dgamma, dbeta])
    }

    pub(super) fn rest(
        &self,
        dgamma: &B::Buffer,
        dbeta: &B::Buffer,
        dz: &mut B::Buffer,
        dx: Option<&mut B::Buffer>,
    ) -> Result<()> {
        let (b, rows) = (self.backend, &self.rows);
        if let Some(fused) = b.fused_kernels() {
            return fused.batch_norm_relu_backward(rows, &self.z, dgamma, dbeta, dz, dx);
        }
        let [mut room, mut kept] = [b.allocate(rows.len())?, b.allocate(rows.len())?];
        let [dgamma, dbeta] = &mut [b.allocate(rows.channels)?, b.allocate(rows.channels)?];
        let (z, p, x) = (self.written()?, &self.z.p, self.z.x);
        let to = Some(&mut kept);
        match dx {
            None => {
                b.batch_norm_relu_backward(rows, p, x, &z, dz, to, &mut room, dgamma, dbeta)?;
                b.axpby(rows.len(), 1.0, &room, 0.0, dz)
            }
            Some(dx) => {
                b.batch_norm_relu_backward(rows, p, x, &z, dz, to, dx, dgamma, dbeta)?;
                b.axpby(rows.len(), 1.0, &kept, 0.0, dz)
            }
        }
    }
}

/// The outputs of a kernel that writes the gradient of z and the two sums over it.
pub(super) struct Outputs<B: Backend>([Output<B>; 3]);

impl<B: Backend> Outputs<B> {
    pub(super) fn new(backend: &B, rows: &Rows) -> Result<Self, Violation> {
        let new = |name, len| Output::new(backend, name, len);
        Ok(Self([new("dz", rows.len())?, new("dgamma", rows.channels)?, new("dbeta", rows.channels)?]))
    }

    pub(super) fn buffers(&mut self) -> GradientBuffers<'_, B> {
        let [dz, dgamma, dbeta] = &mut self.0;
        (&mut dz.buffer, [&mut dgamma.buffer, &mut dbeta.buffer])
    }

    pub(super) fn read(self, backend: &B) -> Result<Vec<Found>, Violation> {
        self.0.into_iter().map(|output| output.read(backend)).collect()
    }
}
