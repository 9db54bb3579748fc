//! What a device must be able to do.
//!
//! A backend implements the **required** methods: memory, a matrix product, im2col and col2im, and a dozen layer
//! kernels. Everything else is **provided**: correct as it stands, and to be overridden where there is a faster way.
//! The laws of every method are in the conformance suite (feature `conformance`), which one macro lists.
//!
//! Kernels receive checked geometry and write into `&mut` outputs, whose old contents they ignore unless said
//! otherwise. Backward kernels are linear in `dy`; the lazy scalar of a gradient never reaches them.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::folding::Folding;
use crate::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use crate::keep_images::{ImageSet, KeptImages};
pub use crate::operands::{BatchNormOperands, GateInput, SgdSlot, SgdStep, Statistics, StepGate};
use crate::provided;
use crate::random::Stream;
use crate::{Result, memory};

/// A device that can train: a cheap handle, cloned freely. f32 everywhere.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// Device memory for f32 elements; it goes home when dropped.
    type Buffer: Debug + Send + Sync + 'static;

    // ---- Required: memory -------------------------------------------------------------------------------------

    /// The device's name, for run folders and errors.
    fn name(&self) -> String;

    /// A buffer of at least `len` elements, of unspecified contents.
    ///
    /// **Errors:** out of memory.
    fn alloc(&self, len: usize) -> Result<Self::Buffer>;

    /// Copies `src` to the beginning of `dst`.
    fn write(&self, src: &[f32], dst: &mut Self::Buffer) -> Result<()>;

    /// Copies the beginning of `src` to `dst`, waiting for all work before it.
    fn read(&self, src: &Self::Buffer, dst: &mut [f32]) -> Result<()>;

    // ---- Required: linear algebra -----------------------------------------------------------------------------

    /// C = alpha · op(A) · op(B) + beta · C. Where beta is 0 the old C is not read.
    fn gemm(
        &self,
        g: &Gemm,
        alpha: f32,
        a: &Self::Buffer,
        b: &Self::Buffer,
        beta: f32,
        c: &mut Self::Buffer,
    ) -> Result<()>;

    /// The windows of some images as rows of a matrix: columns `[images·h_out·w_out, kh·kw·c_in]`, zero where a
    /// window leaves the image.
    fn im2col(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        x: &Self::Buffer,
        columns: &mut Self::Buffer,
    ) -> Result<()>;

    /// The transpose of [`Backend::im2col`]: overwrites those images of dx with the sum over windows.
    fn col2im(
        &self,
        g: &Conv2d,
        images: Range<usize>,
        columns: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// y = alpha · x + beta · y. Where beta is 0 the old y is not read.
    fn axpby(&self, len: usize, alpha: f32, x: &Self::Buffer, beta: f32, y: &mut Self::Buffer) -> Result<()>;

    /// y[r, c] += bias\[c\]
    fn add_bias(&self, g: &Rows, bias: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// out\[c\] = Σ_r x[r, c]
    fn sum_rows(&self, g: &Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> Result<()>;

    // ---- Required: layers -------------------------------------------------------------------------------------

    /// y = max(x, 0), NaN where x is NaN.
    fn relu(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// dx = dy where y > 0, else 0; y is what [`Backend::relu`] gave.
    fn relu_backward(
        &self,
        len: usize,
        y: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// mean\[c\] = 1/rows · Σ_r x[r, c]; variance\[c\] = 1/rows · Σ_r (x[r, c] − mean\[c\])²
    fn batch_norm_statistics(
        &self,
        g: &Rows,
        x: &Self::Buffer,
        mean: &mut Self::Buffer,
        variance: &mut Self::Buffer,
    ) -> Result<()>;

    /// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta
    fn batch_norm(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// The backward of a batch norm over its batch's own statistics. With x̂ = (x − mean) / sqrt(variance + epsilon):
    ///
    /// dbeta = Σ_r dy; dgamma = Σ_r dy · x̂; dx = gamma / sqrt(variance + epsilon) · (dy − dbeta/rows − x̂ · dgamma/rows)
    fn batch_norm_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
        dgamma: &mut Self::Buffer,
        dbeta: &mut Self::Buffer,
    ) -> Result<()>;

    /// y = the largest of each window, index = its place in the window (p·size + q), the first of equals; a NaN is
    /// larger than any number, as in PyTorch.
    fn max_pool2d(
        &self,
        g: &Pool2d,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
        index: &mut Self::Buffer,
    ) -> Result<()>;

    /// dx = dy at the places that [`Backend::max_pool2d`] noted (summed where windows overlap), 0 elsewhere.
    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        index: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// y[n, c] = 1/pixels · Σ_p x[n, p, c]
    fn mean_pool(&self, g: &MeanPool, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// dx[n, p, c] = dy[n, c] / pixels
    fn mean_pool_backward(&self, g: &MeanPool, dy: &Self::Buffer, dx: &mut Self::Buffer) -> Result<()>;

    /// Softmax cross-entropy against smoothed labels. With q = softmax(logits\[r\]), K channels, smoothing s, label l:
    ///
    /// t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows
    ///
    /// **Shapes:** logits and dlogits `[rows, K]`; labels `[rows]`, class indices stored as f32; out `[2]`: the mean
    /// loss, and how many rows have their largest logit (the first of equals) at their label.
    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Self::Buffer,
        labels: &Self::Buffer,
        out: &mut Self::Buffer,
        dlogits: &mut Self::Buffer,
    ) -> Result<()>;

    // ---- Required: the optimiser and what looks at gradients --------------------------------------------------

    /// One parameter's step; see [`SgdStep`].
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()>;

    /// Writes [`Statistics::LEN`] numbers about `x` to `out` at `offset`; see [`Statistics`].
    fn statistics(&self, len: usize, x: &Self::Buffer, offset: usize, out: &mut Self::Buffer) -> Result<()>;

    // ---- Provided: overridden where there is a faster way -----------------------------------------------------

    /// y = conv2d(x, w) + bias; see [`Conv2d`]. One image's windows are materialised at a time.
    fn conv2d(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        provided::conv2d(self, g, x, w, bias, y)
    }

    /// [`Backend::conv2d`], and [`Backend::batch_norm_statistics`] of y while it is in cache.
    fn conv2d_with_moments(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
        mean: &mut Self::Buffer,
        variance: &mut Self::Buffer,
    ) -> Result<()> {
        self.conv2d(g, x, w, bias, y)?;
        self.batch_norm_statistics(&g.y_rows(), y, mean, variance)
    }

    /// dx of a convolution: col2im(dy · wᵀ).
    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        w: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()> {
        provided::conv2d_backward_input(self, g, w, dy, dx)
    }

    /// dw of a convolution: im2col(x)ᵀ · dy, summed over images in their order.
    fn conv2d_backward_weight(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        dw: &mut Self::Buffer,
    ) -> Result<()> {
        provided::conv2d_backward_weight(self, g, x, dy, dw)
    }

    /// y = relu(batch_norm(x) + residual), in one pass where a backend can.
    fn batch_norm_relu(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Self::Buffer,
        residual: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        let mut z = self.alloc(g.len())?;
        self.batch_norm(g, p, x, &mut z)?;
        if let Some(residual) = residual {
            self.axpby(g.len(), 1.0, residual, 1.0, &mut z)?;
        }
        self.relu(g.len(), &z, y)
    }

    /// The backward of [`Backend::batch_norm_relu`]: dz by [`Backend::relu_backward`] with y, then
    /// [`Backend::batch_norm_backward`] of dz. With a residual, dz is its gradient, and is wanted too.
    fn batch_norm_relu_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Self::Buffer,
        y: &Self::Buffer,
        dy: &Self::Buffer,
        dz: Option<&mut Self::Buffer>,
        dx: &mut Self::Buffer,
        dgamma: &mut Self::Buffer,
        dbeta: &mut Self::Buffer,
    ) -> Result<()> {
        let mut own = None;
        let dz = match dz {
            Some(dz) => dz,
            None => own.insert(self.alloc(g.len())?),
        };
        self.relu_backward(g.len(), y, dy, dz)?;
        self.batch_norm_backward(g, p, x, dz, dx, dgamma, dbeta)
    }

    /// How this backend's operations take a rectified batch norm before them into account; `None` where they do not.
    fn folding(&self) -> Option<&dyn Folding<Self>> {
        None
    }

    /// The step of all parameters.
    fn sgd_all(&self, slots: Vec<SgdSlot<'_, Self>>) -> Result<()> {
        slots.into_iter().try_for_each(|slot| self.sgd(slot))
    }

    /// Writes the [`StepGate`] of a step with these gradients to `out`, where [`Backend::sgd`] reads it.
    ///
    /// norm = sqrt(Σ (scale · ‖gradient‖)²), which may be large where its square is no f32; see [`StepGate::new`].
    fn step_gate(
        &self,
        gradients: &[GateInput<'_, Self>],
        limit: Option<f32>,
        skip_non_finite: bool,
        out: &mut Self::Buffer,
    ) -> Result<()> {
        let sources: Vec<_> = gradients.iter().map(|part| (part.gradient, part.len)).collect();
        let found = Statistics::of(self, &sources)?;
        // In f64, where the square of a large gain does not overflow.
        let squares = gradients.iter().zip(found).map(|(part, found)| {
            f64::from(part.scale) * f64::from(part.scale) * f64::from(found.sum_squares)
        });
        let norm = squares.fold(0.0, |sum, square| sum + square).sqrt() as f32;
        self.write(&StepGate::new(norm, limit, skip_non_finite).to_array(), out)
    }

    /// out\[c\] = Σ_r x[r, c]², infinite where that is no f32: what clips gradients unit by unit begins with. Composed of a
    /// batch norm's backward, since its dgamma is a sum of products.
    fn sum_squares(&self, g: &Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> Result<()> {
        provided::sum_squares(self, g, x, out)
    }

    /// y[r, c] = factors\[c\] · x[r, c]. Composed of a batch norm, whose gamma is such a factor.
    fn scale_channels(
        &self,
        g: &Rows,
        factors: &Self::Buffer,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        provided::scale_channels(self, g, factors, x, y)
    }

    /// y\[i\] += deviation · n\[i\], where n are the normal numbers of `stream`; see [`Stream::normals`]. The host makes
    /// them, so that all backends add the same.
    fn add_noise(&self, len: usize, stream: Stream, deviation: f32, y: &mut Self::Buffer) -> Result<()> {
        provided::add_noise(self, len, stream, deviation, y)
    }

    /// Copies the beginnings of several buffers (each with its number of elements), waiting once where a backend can, and
    /// not at all where there are none.
    fn read_all(&self, sources: &[(&Self::Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let read = |&(source, len): &(&Self::Buffer, usize)| {
            let mut values = memory::filled(len, 0.0, "what is read from the device")?;
            self.read(source, &mut values).map(|()| values)
        };
        sources.iter().map(read).collect()
    }

    /// Hands recorded work to the device without waiting for it: called at the end of a training step.
    fn submit(&self) -> Result<()> {
        Ok(())
    }

    /// How many steps the host should run ahead of the device before it reads their results; 0 to read each step's.
    fn steps_ahead(&self) -> usize {
        0
    }

    /// Copies images to the device, where their batches are made from then on; see [`KeptImages`]. `None` where the
    /// device does not do so, or has no room for them: then a host prepares the batches.
    fn keep_images(&self, _images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        Ok(None)
    }

    /// Waits until all work is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// How many buffers, and whatever else a device is told by, were ever made rather than taken from a pool: constant in
    /// steady state.
    /// `None` where the backend does not count.
    fn fresh_allocations(&self) -> Option<u64> {
        None
    }
}
