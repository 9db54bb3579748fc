//! The operands of a batch norm, which forward reads and backward keeps.

use crate::backend::BatchNormOperands;
use crate::geometry::Rows;
use crate::{Backend, Result, Tensor};

/// x, the statistics and the parameters of one batch norm. Backward needs x̂, which is cheap to compute from x again.
#[derive(Debug)]
pub(crate) struct Normalization<B: Backend> {
    pub(crate) g: Rows,
    pub(crate) x: Tensor<B>,
    pub(crate) mean: Tensor<B>,
    pub(crate) variance: Tensor<B>,
    pub(crate) gamma: Tensor<B>,
    pub(crate) beta: Tensor<B>,
    pub(crate) epsilon: f32,
    /// Whether mean and variance are those of x (training mode) rather than constants.
    pub(crate) is_of_batch: bool,
}

/// The gradients that a batch norm's backward computes, before the scalar.
pub(crate) struct Shares<B: Backend> {
    pub(crate) dx: Tensor<B>,
    pub(crate) dgamma: Tensor<B>,
    pub(crate) dbeta: Tensor<B>,
}

impl<B: Backend> Normalization<B> {
    pub(crate) fn operands(&self) -> BatchNormOperands<'_, B> {
        BatchNormOperands {
            mean: self.mean.buffer(),
            variance: self.variance.buffer(),
            gamma: self.gamma.buffer(),
            beta: self.beta.buffer(),
            epsilon: self.epsilon,
        }
    }

    /// batch_norm(x)
    pub(crate) fn normalize(&self) -> Result<Tensor<B>> {
        let backend = self.x.backend();
        Tensor::build(backend, self.x.shape(), |y| {
            backend.batch_norm(&self.g, &self.operands(), self.x.buffer(), y)
        })
    }

    /// relu(batch_norm(x) + residual)
    pub(crate) fn rectify(&self, residual: Option<&Tensor<B>>) -> Result<Tensor<B>> {
        let backend = self.x.backend();
        let (p, residual) = (self.operands(), residual.map(Tensor::buffer));
        Tensor::build(backend, self.x.shape(), |y| {
            backend.batch_norm_relu(&self.g, &p, self.x.buffer(), residual, y)
        })
    }

    /// The shares of dy at the batch norm's output.
    pub(crate) fn backward(&self, dy: &Tensor<B>) -> Result<Shares<B>> {
        let (backend, p) = (self.x.backend(), self.operands());
        self.shares(|dx, dgamma, dbeta| {
            backend.batch_norm_backward(&self.g, &p, self.x.buffer(), dy.buffer(), dx, dgamma, dbeta)?;
            if !self.is_of_batch {
                // Constant statistics: dx = gamma / sqrt(variance + epsilon) · dy, a batch norm of dy around 0.
                let zero = Tensor::full(backend, &[self.g.channels], 0.0)?;
                let p = BatchNormOperands { mean: zero.buffer(), beta: zero.buffer(), ..p };
                backend.batch_norm(&self.g, &p, dy.buffer(), dx)?;
            }
            Ok(())
        })
    }

    /// The shares of dy at the output y of the rectifier behind the batch norm; the gradient between the two is written
    /// to `dz`, if there is a place for it.
    pub(super) fn backward_through_relu(
        &self,
        y: &Tensor<B>,
        dy: &Tensor<B>,
        dz: Option<&mut B::Buffer>,
    ) -> Result<Shares<B>> {
        let (backend, p) = (self.x.backend(), self.operands());
        let (x, y, dy) = (self.x.buffer(), y.buffer(), dy.buffer());
        self.shares(|dx, dgamma, dbeta| {
            backend.batch_norm_relu_backward(&self.g, &p, x, y, dy, dz, dx, dgamma, dbeta)
        })
    }

    fn shares(
        &self,
        kernel: impl FnOnce(&mut B::Buffer, &mut B::Buffer, &mut B::Buffer) -> Result<()>,
    ) -> Result<Shares<B>> {
        let backend = self.x.backend();
        let mut dx = backend.allocate(self.g.len())?;
        let (mut dgamma, mut dbeta) =
            (backend.allocate(self.g.channels)?, backend.allocate(self.g.channels)?);
        kernel(&mut dx, &mut dgamma, &mut dbeta)?;
        Ok(Shares {
            dx: Tensor::from_buffer(backend, self.x.shape(), dx)?,
            dgamma: Tensor::from_buffer(backend, &[self.g.channels], dgamma)?,
            dbeta: Tensor::from_buffer(backend, &[self.g.channels], dbeta)?,
        })
    }
}
