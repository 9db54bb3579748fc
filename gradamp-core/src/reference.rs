//! The reference backend: the required methods of a [`Backend`](crate::Backend)'s traits, as plain loops over `Vec<f32>`.
//!
//! The provided methods, convolutions among them, are composed of these. To write a backend, begin with a copy of this
//! file; docs/adding-a-backend.md shows the steps.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeError};

use crate::backend::{
    BatchNormOperands, Device, Layers, LinearAlgebra, Memory, OptimizerKernels, SgdSlot, Statistics, StepGate,
};
use crate::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use crate::{Error, Result};

/// A small, safe backend for tests and examples, and a template for other backends: one thread, no state, memory from the
/// system's allocator. It keeps every law of the conformance suite. For training, use `gradamp_cpu::Cpu`, which is much
/// faster.
#[derive(Clone, Debug, Default)]
pub struct Reference;

impl Memory for Reference {
    type Buffer = Vec<f32>;

    fn name(&self) -> String {
        "reference".into()
    }

    fn allocate(&self, len: usize) -> Result<Vec<f32>> {
        Ok(vec![0.0; len])
    }

    fn write(&self, src: &[f32], dst: &mut Vec<f32>) -> Result<()> {
        dst[..src.len()].copy_from_slice(src);
        Ok(())
    }

    fn read(&self, src: &Vec<f32>, dst: &mut [f32]) -> Result<()> {
        dst.copy_from_slice(&src[..dst.len()]);
        Ok(())
    }
}

impl LinearAlgebra for Reference {
    fn gemm(
        &self,
        g: &Gemm,
        alpha: f32,
        a: &Vec<f32>,
        b: &Vec<f32>,
        beta: f32,
        c: &mut Vec<f32>,
    ) -> Result<()> {
        let a = matrix(&a[g.a_offset..], [g.m, g.k], g.transpose_a)?;
        let b = matrix(&b[g.b_offset..], [g.k, g.n], g.transpose_b)?;
        let c = &mut c[g.c_offset..][..g.m * g.n];
        let mut c = ArrayViewMut2::from_shape([g.m, g.n], c).map_err(not_a_matrix)?;
        general_mat_mul(alpha, &a, &b, beta, &mut c); // does not read c if beta is 0
        Ok(())
    }

    fn im2col(&self, g: &Conv2d, images: Range<usize>, x: &Vec<f32>, columns: &mut Vec<f32>) -> Result<()> {
        for_each_window_element(g, images, |place, source| {
            columns[place] = source.map_or(0.0, |source| x[source]);
        });
        Ok(())
    }

    fn col2im(&self, g: &Conv2d, images: Range<usize>, columns: &Vec<f32>, dx: &mut Vec<f32>) -> Result<()> {
        let image = g.h_in * g.w_in * g.c_in;
        dx[images.start * image..images.end * image].fill(0.0);
        for_each_window_element(g, images, |place, target| {
            if let Some(target) = target {
                dx[target] += columns[place];
            }
        });
        Ok(())
    }

    fn axpby(&self, len: usize, alpha: f32, x: &Vec<f32>, beta: f32, y: &mut Vec<f32>) -> Result<()> {
        for (y, x) in y[..len].iter_mut().zip(x) {
            *y = alpha * x + if beta == 0.0 { 0.0 } else { beta * *y };
        }
        Ok(())
    }

    fn add_bias(&self, g: &Rows, bias: &Vec<f32>, y: &mut Vec<f32>) -> Result<()> {
        for row in y[..g.len()].chunks_exact_mut(g.channels) {
            for (y, bias) in row.iter_mut().zip(bias) {
                *y += bias;
            }
        }
        Ok(())
    }

    fn sum_rows(&self, g: &Rows, x: &Vec<f32>, out: &mut Vec<f32>) -> Result<()> {
        for (c, out) in out[..g.channels].iter_mut().enumerate() {
            *out = column(g, x, c).sum();
        }
        Ok(())
    }
}

impl Layers for Reference {
    fn relu(&self, len: usize, x: &Vec<f32>, y: &mut Vec<f32>) -> Result<()> {
        for (y, &x) in y[..len].iter_mut().zip(x) {
            *y = if x < 0.0 { 0.0 } else { x }; // f32::max would drop a NaN
        }
        Ok(())
    }

    fn relu_backward(&self, len: usize, y: &Vec<f32>, dy: &Vec<f32>, dx: &mut Vec<f32>) -> Result<()> {
        for ((dx, &dy), &y) in dx[..len].iter_mut().zip(dy).zip(y) {
            *dx = if y > 0.0 { dy } else { 0.0 };
        }
        Ok(())
    }

    fn batch_norm_statistics(
        &self,
        g: &Rows,
        x: &Vec<f32>,
        mean: &mut Vec<f32>,
        variance: &mut Vec<f32>,
    ) -> Result<()> {
        let rows = g.rows as f32;
        for c in 0..g.channels {
            mean[c] = column(g, x, c).sum::<f32>() / rows;
            variance[c] = column(g, x, c).map(|x| (x - mean[c]).powi(2)).sum::<f32>() / rows;
        }
        Ok(())
    }

    fn batch_norm(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Vec<f32>,
        y: &mut Vec<f32>,
    ) -> Result<()> {
        for (place, y) in y[..g.len()].iter_mut().enumerate() {
            let c = place % g.channels;
            *y = (x[place] - p.mean[c]) * inverse(p, c) * p.gamma[c] + p.beta[c];
        }
        Ok(())
    }

    fn batch_norm_backward(
        &self,
        g: &Rows,
        p: &BatchNormOperands<'_, Self>,
        x: &Vec<f32>,
        dy: &Vec<f32>,
        dx: &mut Vec<f32>,
        dgamma: &mut Vec<f32>,
        dbeta: &mut Vec<f32>,
    ) -> Result<()> {
        let rows = g.rows as f32;
        for c in 0..g.channels {
            let x_hat = |x: f32| (x - p.mean[c]) * inverse(p, c);
            dbeta[c] = column(g, dy, c).sum();
            dgamma[c] = column(g, dy, c).zip(column(g, x, c)).map(|(dy, x)| dy * x_hat(x)).sum();
            for place in (c..g.len()).step_by(g.channels) {
                let centred = dy[place] - dbeta[c] / rows - x_hat(x[place]) * dgamma[c] / rows;
                dx[place] = p.gamma[c] * inverse(p, c) * centred;
            }
        }
        Ok(())
    }

    fn max_pool2d(&self, g: &Pool2d, x: &Vec<f32>, y: &mut Vec<f32>, index: &mut Vec<f32>) -> Result<()> {
        for out in 0..g.y_shape().iter().product() {
            (y[out], index[out]) = (f32::NEG_INFINITY, 0.0);
            for place in 0..g.size * g.size {
                let value = x[pooled_from(g, out, place)];
                if value > y[out] || value.is_nan() {
                    (y[out], index[out]) = (value, place as f32);
                }
            }
        }
        Ok(())
    }

    fn max_pool2d_backward(
        &self,
        g: &Pool2d,
        index: &Vec<f32>,
        dy: &Vec<f32>,
        dx: &mut Vec<f32>,
    ) -> Result<()> {
        dx[..g.x_shape().iter().product()].fill(0.0);
        for out in 0..g.y_shape().iter().product() {
            dx[pooled_from(g, out, index[out] as usize)] += dy[out];
        }
        Ok(())
    }

    fn mean_pool(&self, g: &MeanPool, x: &Vec<f32>, y: &mut Vec<f32>) -> Result<()> {
        for (n, image) in x[..g.n * g.pixels * g.c].chunks_exact(g.pixels * g.c).enumerate() {
            for c in 0..g.c {
                let sum: f32 = image.iter().skip(c).step_by(g.c).sum();
                y[n * g.c + c] = sum / g.pixels as f32;
            }
        }
        Ok(())
    }

    fn mean_pool_backward(&self, g: &MeanPool, dy: &Vec<f32>, dx: &mut Vec<f32>) -> Result<()> {
        for (place, dx) in dx[..g.n * g.pixels * g.c].iter_mut().enumerate() {
            *dx = dy[place / (g.pixels * g.c) * g.c + place % g.c] / g.pixels as f32;
        }
        Ok(())
    }

    fn softmax_cross_entropy(
        &self,
        g: &Rows,
        smoothing: f32,
        logits: &Vec<f32>,
        labels: &Vec<f32>,
        loss: &mut Vec<f32>,
        correct: &mut Vec<f32>,
        dlogits: &mut Vec<f32>,
    ) -> Result<()> {
        (loss[0], correct[0]) = (0.0, 0.0);
        for r in 0..g.rows {
            let row = &logits[r * g.channels..][..g.channels];
            let label = labels[r] as usize;
            let largest = (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
            if largest == label {
                correct[0] += 1.0;
            }
            // Without the largest logit the exponentials would overflow.
            let sum: f32 = row.iter().map(|x| (x - row[largest]).exp()).sum();
            for (k, x) in row.iter().enumerate() {
                let log_q = x - row[largest] - sum.ln();
                let t = (1.0 - smoothing) * if k == label { 1.0 } else { 0.0 } + smoothing / row.len() as f32;
                loss[0] -= t * log_q;
                dlogits[r * g.channels + k] = (log_q.exp() - t) / g.rows as f32;
            }
        }
        loss[0] /= g.rows as f32;
        Ok(())
    }
}

impl OptimizerKernels for Reference {
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()> {
        let SgdSlot { step, len, gradient, gate, mut velocity, parameter } = slot;
        let Some(coefficient) = StepGate::open(gate.map(Vec::as_slice)) else { return Ok(()) };
        for i in 0..len {
            let g =
                (step.gradient_scale * coefficient * gradient[i]).clamp(-step.clip_value, step.clip_value);
            let d = g + step.weight_decay * parameter[i];
            let v = match &mut velocity {
                Some(velocity) => {
                    velocity[i] = step.momentum * velocity[i] + d;
                    velocity[i]
                }
                None => d,
            };
            parameter[i] -= step.lr * if step.nesterov { d + step.momentum * v } else { v };
        }
        Ok(())
    }

    fn statistics(&self, len: usize, x: &Vec<f32>, offset: usize, out: &mut Vec<f32>) -> Result<()> {
        let mut s = Statistics::default();
        for &x in &x[..len] {
            s.sum += x;
            s.sum_abs += x.abs();
            s.sum_squares += x * x;
            if x.abs() > s.max_abs || x.is_nan() {
                s.max_abs = x.abs();
            }
            if x == 0.0 {
                s.zeros += 1.0;
            }
        }
        out[offset..offset + Statistics::LEN].copy_from_slice(&s.to_array());
        Ok(())
    }
}

impl Device for Reference {}

/// The beginning of `values` as a matrix of the given shape. `values` may hold the matrix or its transpose.
fn matrix(values: &[f32], [rows, columns]: [usize; 2], transposed: bool) -> Result<ArrayView2<'_, f32>> {
    let stored = if transposed { [columns, rows] } else { [rows, columns] };
    let matrix = ArrayView2::from_shape(stored, &values[..rows * columns]).map_err(not_a_matrix)?;
    Ok(if transposed { matrix.reversed_axes() } else { matrix })
}

fn not_a_matrix(error: ShapeError) -> Error {
    Error::shape("gemm", error.to_string())
}

/// Calls `f` for each element of the columns, with its position and the position of the element of x that it holds; `None` in the
/// padding.
fn for_each_window_element(g: &Conv2d, images: Range<usize>, mut f: impl FnMut(usize, Option<usize>)) {
    let mut place = 0;
    for n in images {
        for (i, j) in (0..g.h_out).flat_map(|i| (0..g.w_out).map(move |j| (i, j))) {
            for (p, q) in (0..g.kh).flat_map(|p| (0..g.kw).map(move |q| (p, q))) {
                let (row, column) = (i * g.stride + p, j * g.stride + q); // in the padded image
                let inside = (g.padding..g.padding + g.h_in).contains(&row)
                    && (g.padding..g.padding + g.w_in).contains(&column);
                for c in 0..g.c_in {
                    let pixel = || (n * g.h_in + row - g.padding) * g.w_in + column - g.padding;
                    f(place, inside.then(|| pixel() * g.c_in + c));
                    place += 1;
                }
            }
        }
    }
}

/// The position in x of element `place` of the window of output `out`.
fn pooled_from(g: &Pool2d, out: usize, place: usize) -> usize {
    let (c, j) = (out % g.c, out / g.c % g.w_out);
    let (i, n) = (out / g.c / g.w_out % g.h_out, out / g.c / g.w_out / g.h_out);
    let (row, column) = (i * g.stride + place / g.size, j * g.stride + place % g.size);
    ((n * g.h_in + row) * g.w_in + column) * g.c + c
}

/// x[.., c]
fn column<'a>(g: &Rows, x: &'a [f32], c: usize) -> impl Iterator<Item = f32> + 'a {
    x[..g.len()].iter().skip(c).step_by(g.channels).copied()
}

/// 1 / sqrt(variance + epsilon)
fn inverse(p: &BatchNormOperands<'_, Reference>, c: usize) -> f32 {
    1.0 / (p.variance[c] + p.epsilon).sqrt()
}
