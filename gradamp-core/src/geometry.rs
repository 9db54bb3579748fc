//! Shapes, checked once.
//!
//! A geometry is plain data that the operations, the CPU kernels and the shaders all read; its constructor is the
//! only place that checks shapes and computes sizes. Activations are `[n, h, w, c]`, convolution weights
//! `[kh, kw, c_in, c_out]`, matrices row-major, all contiguous.

mod mix;

use crate::{Error, Result};

pub use mix::Mix;

/// The dropping of elements, or of groups of elements, at random.
///
/// y\[i\] = x\[i\] · (word(i / group) < threshold ? 0 : scale), with the random words of a [`Stream`](crate::random::Stream)
///
/// **Shapes:** x and y have `len` elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Elements.
    pub len: usize,
    /// Elements that are dropped together: 1, or those of an example.
    pub group: usize,
    /// p · 2³², where p is the probability of dropping.
    pub threshold: u32,
    /// 1 / (1 − p), which keeps the mean.
    pub scale: f32,
}

impl Dropout {
    /// Drops each group with the probability `p`.
    ///
    /// **Errors:** a probability outside [0, 1); an empty group.
    pub fn new(len: usize, group: usize, p: f32) -> Result<Self> {
        if !(0.0..1.0).contains(&p) || group == 0 {
            let message =
                format!("expects a probability in [0, 1) and groups of elements, got {p} and {group}");
            return Err(Error::shape("dropout", message));
        }
        let threshold = (f64::from(p) * 2f64.powi(32)) as u32;
        Ok(Self { len, group, threshold, scale: (1.0 / (1.0 - f64::from(p))) as f32 })
    }

    /// What element `i` is multiplied by.
    pub fn factor(&self, stream: crate::random::Stream, i: usize) -> f32 {
        if stream.word((i / self.group) as u64) < self.threshold { 0.0 } else { self.scale }
    }
}

/// A two-dimensional convolution (a cross-correlation, as everywhere in deep learning) with square stride and
/// zero padding.
///
/// y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]
///
/// **Shapes:** x `[n, h_in, w_in, c_in]`, w `[kh, kw, c_in, c_out]`, y `[n, h_out, w_out, c_out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images.
    pub n: usize,
    /// Height of x.
    pub h_in: usize,
    /// Width of x.
    pub w_in: usize,
    /// Channels of x.
    pub c_in: usize,
    /// Height of the kernel.
    pub kh: usize,
    /// Width of the kernel.
    pub kw: usize,
    /// Channels of y.
    pub c_out: usize,
    /// Step between two windows, in pixels, along both axes.
    pub stride: usize,
    /// Zeros around x, in pixels, on each side.
    pub padding: usize,
    /// Height of y.
    pub h_out: usize,
    /// Width of y.
    pub w_out: usize,
}

impl Conv2d {
    /// Checks `x` against `w` and computes the output's size.
    ///
    /// **Errors:** ranks other than 4, an empty dimension, unequal input channels, a stride of 0, or a kernel
    /// larger than the padded image.
    pub fn new(x: &[usize], w: &[usize], stride: usize, padding: usize) -> Result<Self> {
        let fail = |message: String| Err(Error::shape("conv2d", message));
        let (&[n, h_in, w_in, c_in], &[kh, kw, c_w, c_out]) = (x, w) else {
            return fail(format!(
                "expects x [n,h,w,c] and weight [kh,kw,c_in,c_out], got x {x:?} and weight {w:?}"
            ));
        };
        if c_w != c_in {
            return fail(format!("weight {w:?} expects {c_w} input channels, got x {x:?}"));
        }
        if x.contains(&0) || w.contains(&0) || stride == 0 {
            return fail(format!(
                "an empty dimension or a stride of 0: x {x:?}, weight {w:?}, stride {stride}"
            ));
        }
        let (h_padded, w_padded) = (h_in + 2 * padding, w_in + 2 * padding);
        if kh > h_padded || kw > w_padded {
            return fail(format!("weight {w:?} is larger than x {x:?} with padding {padding}"));
        }
        let (h_out, w_out) = ((h_padded - kh) / stride + 1, (w_padded - kw) / stride + 1);
        Ok(Self { n, h_in, w_in, c_in, kh, kw, c_out, stride, padding, h_out, w_out })
    }

    /// The shape of x.
    pub fn x_shape(&self) -> [usize; 4] {
        [self.n, self.h_in, self.w_in, self.c_in]
    }

    /// The shape of w.
    pub fn w_shape(&self) -> [usize; 4] {
        [self.kh, self.kw, self.c_in, self.c_out]
    }

    /// The shape of y.
    pub fn y_shape(&self) -> [usize; 4] {
        [self.n, self.h_out, self.w_out, self.c_out]
    }

    /// Elements of one window: the rows of w seen as a matrix `[patch, c_out]`.
    pub fn patch(&self) -> usize {
        self.kh * self.kw * self.c_in
    }

    /// Output pixels of one image.
    pub fn pixels(&self) -> usize {
        self.h_out * self.w_out
    }

    /// x seen as a matrix `[n·h_in·w_in, c_in]`.
    pub fn x_rows(&self) -> Rows {
        Rows { rows: self.n * self.h_in * self.w_in, channels: self.c_in }
    }

    /// y seen as a matrix `[n·h_out·w_out, c_out]`.
    pub fn y_rows(&self) -> Rows {
        Rows { rows: self.n * self.pixels(), channels: self.c_out }
    }

    /// Multiplications of one pass (forward, input gradient or weight gradient).
    pub fn multiplications(&self) -> u64 {
        (self.n * self.pixels()) as u64 * (self.patch() * self.c_out) as u64
    }
}

/// A max-pool over square windows without padding; pixels that fill no whole window are dropped.
///
/// y[n, i, j, c] = max_{p, q < size} x[n, i·stride + p, j·stride + q, c]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Images.
    pub n: usize,
    /// Height of x.
    pub h_in: usize,
    /// Width of x.
    pub w_in: usize,
    /// Channels.
    pub c: usize,
    /// Height and width of the window.
    pub size: usize,
    /// Step between two windows, in pixels.
    pub stride: usize,
    /// Height of y.
    pub h_out: usize,
    /// Width of y.
    pub w_out: usize,
}

impl Pool2d {
    /// Checks `x` and computes the output's size.
    ///
    /// **Errors:** a rank other than 4, an empty dimension, a window or stride of 0, a window larger than x.
    pub fn new(x: &[usize], size: usize, stride: usize) -> Result<Self> {
        let &[n, h_in, w_in, c] = x else {
            return Err(Error::shape("max_pool2d", format!("expects x [n,h,w,c], got x {x:?}")));
        };
        if x.contains(&0) || size == 0 || stride == 0 || size > h_in || size > w_in {
            return Err(Error::shape(
                "max_pool2d",
                format!("a window of {size} at stride {stride} does not fit x {x:?}"),
            ));
        }
        let (h_out, w_out) = ((h_in - size) / stride + 1, (w_in - size) / stride + 1);
        Ok(Self { n, h_in, w_in, c, size, stride, h_out, w_out })
    }

    /// The shape of x.
    pub fn x_shape(&self) -> [usize; 4] {
        [self.n, self.h_in, self.w_in, self.c]
    }

    /// The pixels of x.
    pub fn x_rows(&self) -> Rows {
        Rows { rows: self.n * self.h_in * self.w_in, channels: self.c }
    }

    /// The shape of y.
    pub fn y_shape(&self) -> [usize; 4] {
        [self.n, self.h_out, self.w_out, self.c]
    }
}

/// A mean over all pixels of each image: x `[n, pixels, c]` to y `[n, c]`.
///
/// y[n, c] = 1/pixels · Σ_p x[n, p, c]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeanPool {
    /// Images.
    pub n: usize,
    /// Pixels of one image.
    pub pixels: usize,
    /// Channels.
    pub c: usize,
}

impl MeanPool {
    /// Checks `x` (`[n, h, w, c]`).
    ///
    /// **Errors:** a rank other than 4 or an empty dimension.
    pub fn new(x: &[usize]) -> Result<Self> {
        match *x {
            [n, h, w, c] if !x.contains(&0) => Ok(Self { n, pixels: h * w, c }),
            _ => Err(Error::shape("mean_pool", format!("expects a non-empty x [n,h,w,c], got x {x:?}"))),
        }
    }
}

/// A tensor seen as a matrix `[rows, channels]`: all dimensions but the last are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Rows: the product of all dimensions but the last.
    pub rows: usize,
    /// Channels: the last dimension.
    pub channels: usize,
}

impl Rows {
    /// Splits `shape` before its last dimension.
    ///
    /// **Errors:** an empty shape or dimension.
    pub fn new(operation: &'static str, shape: &[usize]) -> Result<Self> {
        match shape.split_last() {
            Some((&channels, rest)) if !shape.contains(&0) => {
                Ok(Self { rows: rest.iter().product(), channels })
            }
            _ => Err(Error::shape(operation, format!("expects a non-empty x [..,c], got x {shape:?}"))),
        }
    }

    /// Elements of the matrix.
    pub fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Whether the matrix has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A matrix product C = alpha · op(A) · op(B) + beta · C over row-major, contiguous parts of three buffers.
///
/// **Shapes:** op(A) `[m, k]`, op(B) `[k, n]`, C `[m, n]`. A is stored `[k, m]` where `transpose_a`, B `[n, k]` where
/// `transpose_b`. Each matrix begins at its offset, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// The summed dimension.
    pub k: usize,
    /// A is stored `[k, m]`.
    pub transpose_a: bool,
    /// B is stored `[n, k]`.
    pub transpose_b: bool,
    /// Where A begins in its buffer.
    pub a_offset: usize,
    /// Where B begins in its buffer.
    pub b_offset: usize,
    /// Where C begins in its buffer.
    pub c_offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_convolution_of_unequal_channels_names_both_shapes() {
        let error = Conv2d::new(&[128, 32, 32, 1], &[3, 3, 3, 64], 1, 1).unwrap_err().to_string();
        assert_eq!(error, "conv2d: weight [3, 3, 3, 64] expects 3 input channels, got x [128, 32, 32, 1]");
    }

    #[test]
    fn impossible_shapes_are_errors() {
        assert!(Conv2d::new(&[1, 4, 4], &[3, 3, 1, 1], 1, 1).is_err());
        assert!(Conv2d::new(&[1, 4, 4, 1], &[3, 3, 1, 1], 0, 1).is_err());
        assert!(Conv2d::new(&[1, 2, 2, 1], &[5, 5, 1, 1], 1, 1).is_err());
        assert!(Conv2d::new(&[0, 4, 4, 1], &[3, 3, 1, 1], 1, 1).is_err());
        assert!(Pool2d::new(&[1, 1, 4, 1], 2, 2).is_err());
        assert!(Pool2d::new(&[1, 4, 4, 1], 2, 0).is_err());
        assert!(MeanPool::new(&[1, 4, 4]).is_err());
        assert!(Rows::new("batch_norm", &[]).is_err());
        assert!(Rows::new("batch_norm", &[3, 0]).is_err());
    }

    proptest! {
        /// Every output pixel's window lies in the padded image, and one more pixel's would not.
        #[test]
        fn the_last_window_fits_and_the_next_does_not(
            h in 1usize..40, w in 1usize..40, kernel in 1usize..6, stride in 1usize..4, padding in 0usize..4,
        ) {
            prop_assume!(kernel <= h + 2 * padding && kernel <= w + 2 * padding);
            let g = Conv2d::new(&[1, h, w, 2], &[kernel, kernel, 2, 3], stride, padding).unwrap();
            for (size, out) in [(h, g.h_out), (w, g.w_out)] {
                prop_assert!((out - 1) * stride + kernel <= size + 2 * padding);
                prop_assert!(out * stride + kernel > size + 2 * padding);
            }
        }

        #[test]
        fn pool_windows_fit(h in 1usize..40, w in 1usize..40, size in 1usize..5, stride in 1usize..5) {
            prop_assume!(size <= h && size <= w);
            let g = Pool2d::new(&[1, h, w, 1], size, stride).unwrap();
            prop_assert!((g.h_out - 1) * stride + size <= h && g.h_out * stride + size > h);
            prop_assert!((g.w_out - 1) * stride + size <= w && g.w_out * stride + size > w);
        }
    }
}
