//! A rectified batch norm folded into Winograd's transforms, and its sums found as the input gradient is transformed back, or as a
//! pool writes it.

use crate::arena::Buffer;
use crate::batch_norm::{self, BlockSums, Quantity};
use crate::device::Cpu;
use crate::pooling;
use crate::winograd::{Pixels, Winograd};
use gradamp_core::backend::Memory;
use gradamp_core::folding::{Folding, Rectified, Share};
use gradamp_core::geometry::{Conv2d, Pool2d, Rows};
use gradamp_core::{Error, Result};

/// The CPU's form of it.
fn rectified<'a>(g: &Rows, z: &Rectified<'a, Cpu>) -> batch_norm::Rectified<'a> {
    batch_norm::Rectified::new(g, (&z.p).into(), z.x, z.z.map(|z| &**z))
}

impl Cpu {
    /// Others do not fold.
    fn way(&self, g: &Conv2d) -> Result<Winograd> {
        Winograd::choose(g).ok_or_else(|| Error::Backend {
            backend: self.name(),
            message: format!("expected a convolution that goes by Winograd, found {g:?}"),
        })
    }
}

impl Folding<Cpu> for Cpu {
    fn folds(&self, g: &Conv2d) -> bool {
        Winograd::choose(g).is_some()
    }

    fn conv2d(
        &self,
        g: &Conv2d,
        z: &Rectified<'_, Cpu>,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
        moments: Option<[&mut Buffer; 2]>,
    ) -> Result<()> {
        let (way, z, bias) = (self.way(g)?, rectified(&g.x_rows(), z), bias.map(|bias| &**bias));
        let Some([mean, variance]) = moments else {
            return way.conv2d(self, g, Pixels::folded(&z), w, bias, y, None);
        };
        let mut found = BlockSums::new(Quantity::Moments);
        way.conv2d(self, g, Pixels::folded(&z), w, bias, y, Some(&mut found))?;
        batch_norm::join_moments(&found.finish(self, &g.y_rows(), y), &g.y_rows(), mean, variance);
        Ok(())
    }

    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &Rectified<'_, Cpu>,
        w: &Buffer,
        dy: &Buffer,
        others: Option<Share<'_, Cpu>>,
        dz: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        let (rows, z) = (g.x_rows(), rectified(&g.x_rows(), z));
        let others = others.map(|share| {
            let Share { values, scale, own } = share;
            batch_norm::Share { values, scale, own }
        });
        let mut found = BlockSums::new(Quantity::Gradients(&z, others));
        self.way(g)?.backward_input(self, g, w, dy, dz, Some(&mut found))?;
        found.finish(self, &rows, dz).gradients(&rows, &z, dgamma, dbeta);
        Ok(())
    }

    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        z: &Rectified<'_, Cpu>,
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
        z: &Rectified<'_, Cpu>,
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
                    Some(_) => {
                        "expects a place for dx beside that of dz, as there is a residual, and got none"
                    }
                    None => "expects dx in the place of dz, as there is no residual, and got another one",
                };
                return Err(Error::shape("batch_norm_relu_backward", message));
            }
        };
        rectified(g, z).backward(self, g, dgamma, dbeta, dz, residual);
        Ok(())
    }
}
