//! y[n, i, j, o] = Σ_{p, q, c} x[n, i·stride + p − padding, j·stride + q − padding, c] · w[p, q, c, o]

use ndarray::{Array1, Array4, Axis};

use super::Violation;
use super::batch_norm::mean_and_variance;
use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, random, roundings, upload, wide,
};
use crate::geometry::Conv2d;
use crate::{Backend, Result};

/// Odd sizes, strides 2 and 3, 1x1 kernels, a batch of 1, kernels that are not square, a padding larger than the kernel, more rows than
/// one task computes, images whose size is no multiple of four, and the shapes of a deep stage.
pub(super) fn geometries() -> Result<Vec<Conv2d>> {
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 1, 0),
        ([1, 5, 7, 3], [3, 3, 3, 5], 1, 1),
        ([2, 6, 5, 3], [3, 3, 3, 7], 2, 1),
        ([3, 7, 9, 5], [1, 1, 5, 9], 1, 0),
        ([1, 8, 8, 4], [1, 1, 4, 6], 2, 0),
        ([2, 5, 4, 1], [3, 2, 1, 3], 1, 0),
        ([1, 2, 2, 17], [3, 3, 17, 19], 1, 1),
        ([2, 1, 1, 13], [3, 3, 13, 3], 1, 1),
        ([1, 4, 4, 2], [3, 3, 2, 3], 3, 4),
        ([1, 11, 11, 3], [7, 7, 3, 4], 2, 3),
        ([2, 9, 9, 64], [3, 3, 64, 65], 2, 1),
        ([5, 16, 16, 3], [3, 3, 3, 16], 1, 1),
        ([9, 12, 12, 16], [3, 3, 16, 33], 1, 1),
        ([40, 6, 6, 16], [3, 3, 16, 17], 1, 1),
        ([3, 14, 15, 33], [3, 3, 33, 50], 2, 1),
        ([9, 16, 16, 32], [3, 3, 32, 32], 2, 1),
    ]
    .into_iter()
    .map(|(x, w, stride, padding)| Conv2d::new(&x, &w, stride, padding))
    .collect()
}

/// Along one axis, the pixel of x that element `p` of the window of output pixel `i` reads; `None` in the padding.
pub(super) fn pixel(g: &Conv2d, i: usize, p: usize, size: usize) -> Option<usize> {
    (i * g.stride + p).checked_sub(g.padding).filter(|&place| place < size)
}

/// Calls `f` for every product of the formula, with its indices in x, w and y.
fn products(g: &Conv2d, mut f: impl FnMut([usize; 4], [usize; 4], [usize; 4])) {
    for (n, i, j) in ndarray::indices([g.n, g.h_out, g.w_out]) {
        for (p, q) in ndarray::indices([g.kh, g.kw]) {
            if let (Some(r), Some(s)) = (pixel(g, i, p, g.h_in), pixel(g, j, q, g.w_in)) {
                for (c, o) in ndarray::indices([g.c_in, g.c_out]) {
                    f([n, r, s, c], [p, q, c, o], [n, i, j, o]);
                }
            }
        }
    }
}

/// One of the three passes of a convolution. The forward pass may compute the moments of its output as well.
#[derive(Debug)]
pub(super) enum Pass {
    Forward { g: Conv2d, bias: bool, moments: bool },
    BackwardInput { g: Conv2d },
    BackwardWeight { g: Conv2d },
}

use Pass::{BackwardInput, BackwardWeight, Forward};

fn x(g: &Conv2d) -> Array4<f32> {
    random(1, g.x_shape())
}
pub(super) fn w(g: &Conv2d) -> Array4<f32> {
    random(2, g.w_shape())
}
pub(super) fn dy(g: &Conv2d) -> Array4<f32> {
    random(3, g.y_shape())
}
pub(super) fn bias_of(g: &Conv2d) -> Array1<f32> {
    random(4, g.c_out)
}

impl Case for Pass {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        match self {
            Forward { g, bias, moments } => {
                let (x, w) = (upload(backend, &x(g))?, upload(backend, &w(g))?);
                let bias = if *bias { Some(upload(backend, &bias_of(g))?) } else { None };
                let mut y = Output::new(backend, "y", g.y_rows().len())?;
                if !moments {
                    backend.conv2d(g, &x, &w, bias.as_ref(), &mut y.buffer)?;
                    return Ok(vec![y.read(backend)?]);
                }
                let mut mean = Output::new(backend, "mean", g.c_out)?;
                let mut variance = Output::new(backend, "variance", g.c_out)?;
                let (to_y, to_mean, to_variance) = (&mut y.buffer, &mut mean.buffer, &mut variance.buffer);
                backend.conv2d_with_moments(g, &x, &w, bias.as_ref(), to_y, to_mean, to_variance)?;
                Ok(vec![y.read(backend)?, mean.read(backend)?, variance.read(backend)?])
            }
            BackwardInput { g } => {
                let (w, dy) = (upload(backend, &w(g))?, upload(backend, &dy(g))?);
                let mut dx = Output::new(backend, "dx", g.x_shape().iter().product())?;
                backend.conv2d_backward_input(g, &w, &dy, &mut dx.buffer)?;
                Ok(vec![dx.read(backend)?])
            }
            BackwardWeight { g } => {
                let (x, dy) = (upload(backend, &x(g))?, upload(backend, &dy(g))?);
                let mut dw = Output::new(backend, "dw", g.w_shape().iter().product())?;
                backend.conv2d_backward_weight(g, &x, &dy, &mut dw.buffer)?;
                Ok(vec![dw.read(backend)?])
            }
        }
    }

    fn twin(&self) -> Vec<Expected> {
        let x = wide(&x(self.g()));
        self.expected(&x, &x.abs())
    }
}

impl Pass {
    fn g(&self) -> &Conv2d {
        let (Forward { g, .. } | BackwardInput { g } | BackwardWeight { g }) = self;
        g
    }

    /// The sums of products, and the sums of their magnitudes. `x_sizes` are the magnitudes of x.
    pub(super) fn sums(&self, x: &Array4<f64>, x_sizes: &Array4<f64>) -> [Array4<f64>; 2] {
        let g = self.g();
        let (w, dy) = (wide(&w(g)), wide(&dy(g)));
        let shape = match self {
            Forward { .. } => g.y_shape(),
            BackwardInput { .. } => g.x_shape(),
            BackwardWeight { .. } => g.w_shape(),
        };
        let (mut values, mut sizes) = (Array4::zeros(shape), Array4::zeros(shape));
        if let Forward { bias: true, .. } = self {
            let bias = wide(&bias_of(g)).insert_axis(Axis(0));
            values += &bias;
            sizes += &bias.abs();
        }
        products(g, |in_x, in_w, in_y| {
            let (x, x_size, w, dy) = (x[in_x], x_sizes[in_x], w[in_w], dy[in_y]);
            let (place, product, size) = match self {
                Forward { .. } => (in_y, x * w, x_size * w.abs()),
                BackwardInput { .. } => (in_x, dy * w, (dy * w).abs()),
                BackwardWeight { .. } => (in_w, dy * x, x_size * dy.abs()),
            };
            values[place] += product;
            sizes[place] += size;
        });
        [values, sizes]
    }

    /// The twin's outputs for this x. `x_sizes` are the magnitudes that enter x.
    pub(super) fn expected(&self, x: &Array4<f64>, x_sizes: &Array4<f64>) -> Vec<Expected> {
        let (g, [values, sizes]) = (self.g(), self.sums(x, x_sizes));
        let (name, terms) = match self {
            Forward { .. } => ("y", g.patch() + 1),
            BackwardInput { .. } => ("dx", g.kh * g.kw * g.c_out),
            BackwardWeight { .. } => ("dw", g.n * g.pixels()),
        };
        let mut expected = vec![Expected::rounded(name, values.clone(), roundings(terms), &sizes)];
        if let Forward { moments: true, .. } = self {
            // A rounding of y changes the mean by as much, and the variance in proportion to y.
            let rows = |values: Array4<f64>| values.into_shape_with_order((g.y_rows().rows, g.c_out));
            let (Ok(y), Ok(sizes)) = (rows(values), rows(sizes)) else { return expected };
            let (mean, variance) = mean_and_variance(&y);
            let count = g.y_rows().rows as f64;
            let terms = roundings(terms) + roundings(g.y_rows().rows);
            let squares = sizes.mapv(|size| 2.0 * size * size).sum_axis(Axis(0)) / count;
            expected.push(Expected::rounded("mean", mean, terms, &(sizes.sum_axis(Axis(0)) / count)));
            expected.push(Expected::rounded("variance", variance, terms, &squares));
        }
        expected
    }
}

fn forward(moments: bool) -> Result<Vec<Pass>> {
    let both = |g| [false, true].map(|bias| Forward { g, bias, moments });
    Ok(geometries()?.into_iter().flat_map(both).collect())
}
fn backward_input() -> Result<Vec<Pass>> {
    Ok(geometries()?.into_iter().map(|g| BackwardInput { g }).collect())
}
fn backward_weight() -> Result<Vec<Pass>> {
    Ok(geometries()?.into_iter().map(|g| BackwardWeight { g }).collect())
}

/// With and without a bias.
pub fn conv2d_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &forward(false)?)
}

/// The default is im2col, a GEMM and a bias.
pub fn conv2d_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &forward(false)?)
}

/// y is that of [`Layers::conv2d`](crate::backend::Layers::conv2d). Mean and variance are those of each channel of y.
pub fn conv2d_with_moments_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &forward(true)?)
}

/// Pixels that no window reads get the gradient 0.
pub fn conv2d_backward_input_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &backward_input()?)
}

/// The default is a GEMM and col2im.
pub fn conv2d_backward_input_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &backward_input()?)
}

/// The weight's gradient is a sum over all images.
pub fn conv2d_backward_weight_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &backward_weight()?)
}

/// The default is im2col and a GEMM for each image.
pub fn conv2d_backward_weight_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &backward_weight()?)
}

pub(super) fn samples() -> Result<Vec<impl Case>> {
    let g = Conv2d::new(&[9, 12, 12, 16], &[3, 3, 16, 33], 1, 1)?;
    Ok(vec![
        Forward { g, bias: true, moments: false },
        Forward { g, bias: true, moments: true },
        BackwardInput { g },
        BackwardWeight { g },
    ])
}
