//! A rectified batch norm folded into Winograd's transforms, and its sums found as the input gradient is transformed back.

use super::batch_norm::{self, Blocks, Find};
use super::winograd::{Pixels, Winograd};
use super::{Buffer, Cpu};
use crate::folding::{Folded, Folding};
use crate::geometry::{Conv2d, Rows};
use crate::{Backend, Error, Result};

/// The CPU's form of it.
fn folded<'a>(g: &Rows, z: &Folded<'a, Cpu>) -> batch_norm::Folded<'a> {
    batch_norm::Folded::new(g, (&z.p).into(), z.x)
}

impl Cpu {
    /// Others do not fold.
    fn way(&self, g: &Conv2d) -> Result<Winograd> {
        Winograd::of(g).ok_or_else(|| Error::Backend {
            backend: self.name(),
            message: format!("expected a convolution that goes by Winograd, found {g:?}"),
        })
    }
}

impl Folding<Cpu> for Cpu {
    fn conv2d(
        &self,
        g: &Conv2d,
        z: &Folded<'_, Cpu>,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
        moments: Option<[&mut Buffer; 2]>,
    ) -> Result<()> {
        let (way, z, bias) = (self.way(g)?, folded(&g.x_rows(), z), bias.map(|bias| &**bias));
        let Some([mean, variance]) = moments else {
            return way.conv2d(self, g, Pixels::folded(&z), w, bias, y, None);
        };
        let mut found = Blocks::new(Find::Moments);
        way.conv2d(self, g, Pixels::folded(&z), w, bias, y, Some(&mut found))?;
        batch_norm::join(&found.complete(self, &g.y_rows(), y), &g.y_rows(), mean, variance);
        Ok(())
    }

    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        z: &Folded<'_, Cpu>,
        w: &Buffer,
        dy: &Buffer,
        dz: &mut Buffer,
        dgamma: &mut Buffer,
        dbeta: &mut Buffer,
    ) -> Result<()> {
        let (rows, z) = (g.x_rows(), folded(&g.x_rows(), z));
        let mut found = Blocks::new(Find::Gradients(&z));
        self.way(g)?.backward_input(self, g, w, dy, dz, Some(&mut found))?;
        z.gradients(&rows, &found.complete(self, &rows, dz), dgamma, dbeta);
        Ok(())
    }

    fn batch_norm_relu_backward(
        &self,
        g: &Conv2d,
        z: &Folded<'_, Cpu>,
        dgamma: &Buffer,
        dbeta: &Buffer,
        dz: &mut Buffer,
    ) -> Result<()> {
        folded(&g.x_rows(), z).backward(self, &g.x_rows(), dgamma, dbeta, dz);
        Ok(())
    }
}
