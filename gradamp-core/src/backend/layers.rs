//! The layers' kernels, forward and backward.

use super::linear_algebra::LinearAlgebra;
use super::memory::Memory;
use super::on_host::{self, on_host};
use crate::Result;
use crate::geometry::{Conv2d, Dropout, Gemm, MeanPool, Mix, Pool2d, Rows};
use crate::random::Stream;

/// The per-channel operands of a batch norm: y = (x − mean) / sqrt(variance + epsilon) · gamma + beta.
#[derive(Debug)]
pub struct BatchNormOperands<'a, B: Memory> {
    /// Mean of each channel.
    pub mean: &'a B::Buffer,
    /// Biased variance of each channel.
    pub variance: &'a B::Buffer,
    /// Scale of each channel.
    pub gamma: &'a B::Buffer,
    /// Shift of each channel.
    pub beta: &'a B::Buffer,
    /// Added to the variance under the root.
    pub epsilon: f32,
}

impl<'a, B: Memory> BatchNormOperands<'a, B> {
    /// The same for a backend with the same buffers, such as the one inside a decorator.
    pub fn on<C: Memory<Buffer = B::Buffer>>(&self) -> BatchNormOperands<'a, C> {
        let Self { mean, variance, gamma, beta, epsilon } = *self;
        BatchNormOperands { mean, variance, gamma, beta, epsilon }
    }
}

/// The layers, forward and backward. Backward kernels are linear in `dy`: the lazy scalar of a gradient never reaches them.
///
/// The convolutions and the batch norm with a rectifier have defaults that are composed of required methods.
pub trait Layers: LinearAlgebra {
    /// y = max(x, 0), NaN where x is NaN.
    fn relu(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// dx = dy where y > 0, and 0 elsewhere. y is the output of [`Layers::relu`].
    fn relu_backward(
        &self,
        len: usize,
        y: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// y = tanh(x), NaN where x is NaN.
    ///
    /// The default computes on the host.
    fn tanh(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        on_host(self, len, [x], y, |[x]| x.tanh())
    }

    /// dx = (1 − y²) · dy; y is what [`Layers::tanh`] gave.
    ///
    /// The default computes on the host.
    fn tanh_backward(
        &self,
        len: usize,
        y: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()> {
        // (1 − y) · (1 + y) keeps the digits that 1 − y² loses where y is near ±1.
        on_host(self, len, [y, dy], dx, |[y, dy]| (1.0 - y) * (1.0 + y) * dy)
    }

    /// y = 1 / (1 + exp(−x)), NaN where x is NaN.
    ///
    /// The default computes on the host.
    fn sigmoid(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        on_host(self, len, [x], y, |[x]| 1.0 / (1.0 + (-x).exp()))
    }

    /// dx = y · (1 − y) · dy; y is what [`Layers::sigmoid`] gave.
    ///
    /// The default computes on the host.
    fn sigmoid_backward(
        &self,
        len: usize,
        y: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()> {
        on_host(self, len, [y, dy], dx, |[y, dy]| y * (1.0 - y) * dy)
    }

    /// y = x · mask, where the mask drops elements or groups of them at random; see [`Dropout`]. The backward is the same kernel
    /// on dy: dx = dy · mask. NaN and infinity stay visible: 0 · NaN is NaN.
    ///
    /// All backends drop the same elements. The default computes on the host.
    fn dropout(&self, g: &Dropout, stream: Stream, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        let mut values = vec![0.0; g.len];
        self.read(x, &mut values)?;
        values.iter_mut().enumerate().for_each(|(i, x)| *x *= g.factor(stream, i));
        self.write(&values, y)
    }

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

    /// dx = dy at the places in the `index` of [`Layers::max_pool2d`] (summed where windows overlap), 0 elsewhere.
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
    /// **Shapes:** logits and dlogits `[rows, K]`; labels `[rows]`, class indices stored as f32; loss `[]`, the mean of
    /// loss_r; correct `[]`, the number of rows whose largest logit (the first of equals) is at their label.
    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Self::Buffer,
        labels: &Self::Buffer,
        loss: &mut Self::Buffer,
        correct: &mut Self::Buffer,
        dlogits: &mut Self::Buffer,
    ) -> Result<()>;

    /// Softmax cross-entropy against the shares that each class has of a row. With q = softmax(logits\[r\]), K channels, smoothing s,
    /// T the sum of the row's shares:
    ///
    /// t_k = (1 − s) · targets[r, k] + s · T/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (T · q_k − t_k) / rows
    ///
    /// **Shapes:** logits, targets and dlogits `[rows, K]`; loss `[]`, the mean of loss_r; correct `[]`, the number of rows whose
    /// largest logit is where the largest share is (the first of equals for both).
    ///
    /// The default computes on the host.
    fn soft_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Self::Buffer,
        targets: &Self::Buffer,
        loss: &mut Self::Buffer,
        correct: &mut Self::Buffer,
        dlogits: &mut Self::Buffer,
    ) -> Result<()> {
        on_host::soft_cross_entropy(self, g, smoothing, logits, targets, [loss, correct, dlogits])
    }

    /// Mixes the images of a batch; see [`Mix`]. NaN and infinity stay visible inside the window: 0 · NaN is NaN.
    ///
    /// The default computes on the host.
    fn mix_images(&self, g: &Mix, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        on_host::mix_images(self, g, x, y)
    }

    /// The shares of the classes of mixed images, with s = [`Mix::label_share`]:
    ///
    /// targets[i, k] = s · [k = labels\[i\]] + (1 − s) · [k = labels\[(i + shift) mod n\]]
    ///
    /// **Shapes:** labels `[n]`, class indices stored as f32; targets `[n, classes]`.
    ///
    /// The default computes on the host.
    fn mix_labels(
        &self,
        g: &Mix,
        classes: usize,
        labels: &Self::Buffer,
        targets: &mut Self::Buffer,
    ) -> Result<()> {
        on_host::mix_labels(self, g, classes, labels, targets)
    }

    /// out = a · b, element by element.
    ///
    /// The default computes on the host.
    fn multiply(&self, len: usize, a: &Self::Buffer, b: &Self::Buffer, out: &mut Self::Buffer) -> Result<()> {
        on_host(self, len, [a, b], out, |[a, b]| a * b)
    }

    /// y = conv2d(x, w) + bias; see [`Conv2d`].
    ///
    /// The default stores the windows of one image at a time as a matrix, and multiplies it by w.
    fn conv2d(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        let mut columns = self.allocate(g.pixels() * g.patch())?;
        for image in 0..g.n {
            self.im2col(g, image..image + 1, x, &mut columns)?;
            let product = Gemm {
                m: g.pixels(),
                n: g.c_out,
                k: g.patch(),
                c_offset: image * g.pixels() * g.c_out,
                ..Gemm::default()
            };
            self.gemm(&product, 1.0, &columns, w, 0.0, y)?;
        }
        match bias {
            Some(bias) => self.add_bias(&g.y_rows(), bias, y),
            None => Ok(()),
        }
    }

    /// dx of a convolution: col2im(dy · wᵀ).
    fn conv2d_backward_input(
        &self,
        g: &Conv2d,
        w: &Self::Buffer,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()> {
        let mut columns = self.allocate(g.pixels() * g.patch())?;
        for image in 0..g.n {
            let product = Gemm {
                m: g.pixels(),
                n: g.patch(),
                k: g.c_out,
                transpose_b: true,
                a_offset: image * g.pixels() * g.c_out,
                ..Gemm::default()
            };
            self.gemm(&product, 1.0, dy, w, 0.0, &mut columns)?;
            self.col2im(g, image..image + 1, &columns, dx)?;
        }
        Ok(())
    }

    /// dw of a convolution: im2col(x)ᵀ · dy, summed over images in their order.
    fn conv2d_backward_weight(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        dy: &Self::Buffer,
        dw: &mut Self::Buffer,
    ) -> Result<()> {
        let mut columns = self.allocate(g.pixels() * g.patch())?;
        for image in 0..g.n {
            self.im2col(g, image..image + 1, x, &mut columns)?;
            let product = Gemm {
                m: g.patch(),
                n: g.c_out,
                k: g.pixels(),
                transpose_a: true,
                b_offset: image * g.pixels() * g.c_out,
                ..Gemm::default()
            };
            self.gemm(&product, 1.0, &columns, dy, if image == 0 { 0.0 } else { 1.0 }, dw)?;
        }
        Ok(())
    }

    /// y = relu(batch_norm(x) + residual). A backend may compute it in one pass over memory.
    fn batch_norm_relu(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Self::Buffer,
        residual: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        let mut z = self.allocate(g.len())?;
        self.batch_norm(g, p, x, &mut z)?;
        if let Some(residual) = residual {
            self.axpby(g.len(), 1.0, residual, 1.0, &mut z)?;
        }
        self.relu(g.len(), &z, y)
    }

    /// The backward of [`Layers::batch_norm_relu`]: dz by [`Layers::relu_backward`] with y, then
    /// [`Layers::batch_norm_backward`] of dz. With a residual, dz is the residual's gradient and is an output too.
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
            None => own.insert(self.allocate(g.len())?),
        };
        self.relu_backward(g.len(), y, dy, dz)?;
        self.batch_norm_backward(g, p, x, dz, dx, dgamma, dbeta)
    }
}
