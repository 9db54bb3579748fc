//! Kernels that fuse a rectified batch norm with the operations next to it. A convolution computes relu(batch_norm(x))
//! while it reads x. A convolution or a max-pool that writes the gradient of the batch norm's output also computes the two sums
//! with which the batch norm's gradient begins.

use crate::arena::Buffer;
use crate::batch_norm::{self, BlockSums, Quantity};
use crate::device::Cpu;
use crate::winograd::Pixels;
use crate::{conv2d, pooling};
use gradamp_core::backend::{BatchNormRelu, FusedKernels, GradientShare};
use gradamp_core::geometry::{Conv2d, Pool2d, Rows};
use gradamp_core::{Error, Result};

/// The operands of a rectified batch norm as slices.
fn rectified<'a>(g: &Rows, z: &BatchNormRelu<'a, Cpu>) -> batch_norm::RectifiedBatchNorm<'a> {
    batch_norm::RectifiedBatchNorm::new(g, (&z.p).into(), z.x, z.z.map(|z| &**z))
}

impl FusedKernels<Cpu> for Cpu {
    fn fuses(&self, g: &Conv2d) -> bool {
        conv2d::fuses(self, g)
    }

    fn conv2d(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, Cpu>,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
        moments: Option<[&mut Buffer; 2]>,
    ) -> Result<()> {
        let (z, bias) = (rectified(&g.x_rows(), z), bias.map(|bias| &**bias));
        let Some([mean, variance]) = moments else {
            return conv2d::conv2d(self, g, Pixels::rectified(&z), w, bias, y, None);
        };
        let mut found = BlockSums::new(Quantity::Moments);
        conv2d::conv2d(self, g, Pixels::rectified(&z), w, bias, y, Some(&mut found))?;
        batch_norm::join_moments(&found.finish(self, &g.y_rows(), y), &g.y_rows(), mean, variance);
        Ok(())
    }

    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, Cpu>,
        w: &Buffer,
        dy: &Buffer,
        others: Option<GradientShare<'_, Cpu>>,
        dz: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        let (rows, z) = (g.x_rows(), rectified(&g.x_rows(), z));
        let others = others.map(|share| {
            let GradientShare { values, scale, own } = share;
            batch_norm::AddedGradient { values, scale, own }
        });
        let mut found = BlockSums::new(Quantity::Gradients(&z, others));
        conv2d::conv2d_backward_input(self, g, w, dy, dz, Some(&mut found))?;
        found.finish(self, &rows, dz).gradients(&rows, &z, dgamma, dbeta);
        Ok(())
    }

    /// Winograd's algorithms do not: they would transform, and compute, each pixel of x several times.
    fn fuses_weight_gradient(&self, g: &Conv2d) -> bool {
        conv2d::fuses_weight_gradient(self, g)
    }

    fn conv2d_backward_weight(
        &self,
        g: &Conv2d,
        z: &BatchNormRelu<'_, Cpu>,
        dy: &Buffer,
        dw: &mut Buffer,
    ) -> Result<()> {
        let z = rectified(&g.x_rows(), z);
        conv2d::conv2d_backward_weight(self, g, Pixels::rectified(&z), dy, dw)
    }

    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        z: &BatchNormRelu<'_, Cpu>,
        index: &Buffer,
        dy: &Buffer,
        dz: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        let (rows, z) = (g.x_rows(), rectified(&g.x_rows(), z));
        let mut found = BlockSums::new(Quantity::Gradients(&z, None));
        pooling::max_pool2d_backward(self, g, index, dy, dz, Some(&mut found));
        found.gradients(&rows, &z, dgamma, dbeta);
        Ok(())
    }

    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        z: &BatchNormRelu<'_, Cpu>,
        dgamma: &Buffer,
        dbeta: &Buffer,
        dz: &mut Buffer,
        dx: Option<&mut Buffer>,
    ) -> Result<()> {
        let residual = match (z.z, dx) {
            (None, None) => None,
            (Some(z), Some(dx)) => Some((&**z, &mut **dx)),
            (z, _) => {
                let message = match z {
                    Some(_) => "expected a buffer for dx, since there is a residual; got none",
                    None => {
                        "expected no buffer for dx, which overwrites dz since there is no residual; got one"
                    }
                };
                return Err(Error::shape("batch_norm_relu_backward", message));
            }
        };
        rectified(g, z).backward(self, g, dgamma, dbeta, dz, residual);
        Ok(())
    }
}
