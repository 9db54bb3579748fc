//! C = alpha · op(A) · op(B) + beta · C

use ndarray::{Array1, Array2};

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, roundings, upload, wide};
use crate::Backend;
use crate::geometry::Gemm;

#[derive(Debug)]
struct Product {
    g: Gemm,
    alpha: f32,
    beta: f32,
}

impl Product {
    /// The buffers of A and B, with room for their offsets, and the old C.
    fn inputs(&self) -> (Array1<f32>, Array1<f32>, Array2<f32>) {
        let Gemm { m, n, k, .. } = self.g;
        let a = random(1, self.g.a_offset + m * k);
        let b = random(2, self.g.b_offset + k * n);
        // With a beta of 0, C must not be read, so that it is NaN.
        (a, b, if self.beta == 0.0 { Array2::from_elem([m, n], f32::NAN) } else { random(3, [m, n]) })
    }
}

/// Σ_l op(A)[i, l] · op(B)[l, j]
fn product(g: &Gemm, a: &Array1<f64>, b: &Array1<f64>) -> Array2<f64> {
    let at = |i, l| a[g.a_offset + if g.transpose_a { l * g.m + i } else { i * g.k + l }];
    let bt = |l, j| b[g.b_offset + if g.transpose_b { j * g.k + l } else { l * g.n + j }];
    Array2::from_shape_fn([g.m, g.n], |(i, j)| (0..g.k).map(|l| at(i, l) * bt(l, j)).sum())
}

impl Case for Product {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let (a, b, c) = self.inputs();
        let (a, b) = (upload(backend, &a)?, upload(backend, &b)?);
        let mut c = Output::holding(backend, "C", self.g.c_offset, &c)?;
        backend.gemm(&self.g, self.alpha, &a, &b, self.beta, &mut c.buffer)?;
        Ok(vec![c.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (a, b, c) = self.inputs();
        let (a, b) = (wide(&a), wide(&b));
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        let old = if self.beta == 0.0 { Array2::zeros([self.g.m, self.g.n]) } else { beta * wide(&c) };
        let values = alpha * product(&self.g, &a, &b) + &old;
        let magnitudes = alpha.abs() * product(&self.g, &a.abs(), &b.abs()) + old.abs();
        vec![Expected::rounded("C", values, roundings(self.g.k), &magnitudes)]
    }
}

fn cases() -> Vec<Product> {
    let sizes = [
        [1, 1, 1],
        [1, 7, 3],
        [5, 3, 2],
        [2, 1, 65],
        [17, 19, 23],
        [64, 64, 64],
        [33, 65, 129],
        [3, 515, 9],
        [1030, 5, 17],
        [3, 2, 2049],
        [257, 131, 70],
    ];
    let settings =
        [(1.0, 0.0, [0, 0, 0]), (-0.5, 0.0, [3, 5, 7]), (1.0, 1.0, [0, 0, 0]), (1.5, -0.25, [64, 1, 9])];
    let mut cases = Vec::new();
    for [m, n, k] in sizes {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            for (alpha, beta, [a_offset, b_offset, c_offset]) in settings {
                let g = Gemm { m, n, k, transpose_a, transpose_b, a_offset, b_offset, c_offset };
                cases.push(Product { g, alpha, beta });
            }
        }
    }
    cases
}

/// Every transposition, offset, alpha and beta. With a beta of 0, C is not read.
pub fn gemm_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases())
}

pub(super) fn sample() -> impl Case {
    Product {
        g: Gemm { m: 257, n: 131, k: 515, transpose_b: true, ..Gemm::default() },
        alpha: 1.0,
        beta: 0.0,
    }
}
