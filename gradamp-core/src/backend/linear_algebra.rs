//! Matrix products, windows as matrices, scaled sums.

use std::ops::Range;

use super::memory::Memory;
use crate::geometry::{Conv2d, Gemm, Rows};
use crate::{Result, memory};

/// Linear algebra on buffers.
///
/// Kernels get a checked geometry and write into `&mut` outputs, whose old contents they ignore unless the method says
/// otherwise.
pub trait LinearAlgebra: Memory {
    /// C = alpha · op(A) · op(B) + beta · C. If beta is 0, the old C is not read.
    fn gemm(
        &self,
        g: &Gemm,
        alpha: f32,
        a: &Self::Buffer,
        b: &Self::Buffer,
        beta: f32,
        c: &mut Self::Buffer,
    ) -> Result<()>;

    /// Stores the windows of the images `images` as the rows of a matrix: columns `[images·h_out·w_out, kh·kw·c_in]`. Elements in the
    /// padding are 0.
    fn im2col(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        x: &Self::Buffer,
        columns: &mut Self::Buffer,
    ) -> Result<()>;

    /// The transpose of [`LinearAlgebra::im2col`]. In the images `images` of dx, each pixel becomes the sum of its elements in all
    /// windows. Other images do not change.
    fn col2im(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        columns: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// y = alpha · x + beta · y. If beta is 0, the old y is not read.
    fn axpby(&self, len: usize, alpha: f32, x: &Self::Buffer, beta: f32, y: &mut Self::Buffer) -> Result<()>;

    /// y[r, c] += bias\[c\]
    fn add_bias(&self, g: &Rows, bias: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// out\[c\] = Σ_r x[r, c]
    fn sum_rows(&self, g: &Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> Result<()>;

    /// out\[c\] = Σ_r x[r, c]², or infinity if the sum exceeds f32. Clipping gradients unit by unit begins with this sum.
    ///
    /// The default computes on the host.
    fn sum_squares(&self, g: &Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> Result<()> {
        let mut values = memory::filled(g.len(), 0.0, "the rows of sum_squares")?;
        self.read(x, &mut values)?;
        let mut sums = vec![0.0_f64; g.channels];
        for row in values.chunks_exact(g.channels) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        self.write(&sums, out)
    }

    /// y[r, c] = factors\[c\] · x[r, c]
    ///
    /// The default computes on the host.
    fn scale_channels(
        &self,
        g: &Rows,
        factors: &Self::Buffer,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        let mut values = memory::filled(g.len(), 0.0, "the rows of scale_channels")?;
        self.read(x, &mut values)?;
        let mut scales = vec![0.0; g.channels];
        self.read(factors, &mut scales)?;
        for row in values.chunks_exact_mut(g.channels) {
            for (x, scale) in row.iter_mut().zip(&scales) {
                *x *= scale;
            }
        }
        self.write(&values, y)
    }
}
