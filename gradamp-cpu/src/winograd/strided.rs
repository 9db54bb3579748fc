//! Winograd's algorithms at stride 2.
//!
//! Along one axis, the middle tap multiplies every other pixel. The outer two taps multiply the pixels between, as a convolution of
//! two taps at stride 1. The latter is computed by F(4, 2) at the points ±a, ±b, ∞, here with a = 1/2 and b = 5/4. With
//! γ = 1 / 2a(a² − b²) and δ = 1 / 2b(b² − a²):
//!
//! ```text
//!      −ab²  −b²    a     1  0         γ   γa
//!       ab²  −b²   −a     1  0        −γ   γa          1  1   1   1  0
//! Bᵀ = −a²b  −a²    b     1  0    G =  δ   δb     Aᵀ = a  −a  b  −b  0
//!       a²b  −a²   −b     1  0        −δ   δb          a² a²  b²  b² 0
//!       a²b²  0  −a²−b²   0  1         0    1          a³ −a³ b³ −b³ 1
//! ```
//!
//! For 4 output pixels, the outer taps take 5 products and the middle tap takes 4. These are 9 products along an axis instead
//! of 12.
//!
//! The input gradient is a transposed convolution. Every other pixel of dx is a product with the middle tap, and the pixels between
//! are sums of products with the outer two.

use crate::simd::Vector;

use super::transforms::{Algorithm, MOST, Transform, transform};

/// The forward pass on tiles of 4x4 output pixels: 81 products instead of 144.
pub(super) enum Strided {}
/// The input gradient on tiles of 8x8 pixels of dx: 81 products instead of 144.
pub(super) enum Transposed {}

impl Algorithm for Strided {
    type Input = StridedInput;
    type Weight = StridedWeight;
    type Output = StridedOutput;
    type OutputGradient = StridedOutputGradient;
    type WeightGradient = StridedWeightGradient;
    const STEP: usize = 8;
    const SKIPPED: usize = 0;
}

/// Reads the rotated weights.
impl Algorithm for Transposed {
    type Input = TransposedInput;
    type Weight = StridedWeight;
    type Output = TransposedOutput;
    type OutputGradient = TransposedOutputGradient;
    type WeightGradient = StridedWeightGradient;
    const STEP: usize = 4;
    const SKIPPED: usize = 0;
}

/// The points a and b of F(4, 2), their squares, and the factors γ and δ.
const C: f32 = 0.5;
const D: f32 = 1.25;
const C2: f32 = C * C;
const D2: f32 = D * D;
const GAMMA: f32 = 1.0 / (2.0 * C * (C2 - D2));
const DELTA: f32 = 1.0 / (2.0 * D * (D2 - C2));

/// Bᵀ of F(4, 2).
#[inline(always)]
fn pixels_of_two<V: Vector>(d: [V; 5]) -> [V; 5] {
    let (even, odd) = (d[3].plus(-D2, d[1]), d[2].plus(-D2, d[0]));
    let (far_even, far_odd) = (d[3].plus(-C2, d[1]), d[2].plus(-C2, d[0]));
    [
        even.plus(C, odd),
        even.plus(-C, odd),
        far_even.plus(D, far_odd),
        far_even.plus(-D, far_odd),
        d[4].plus(-C2 - D2, d[2]).plus(C2 * D2, d[0]),
    ]
}

/// Aᵀ of F(4, 2).
#[inline(always)]
fn outputs_of_two<V: Vector>(m: [V; 5]) -> [V; 4] {
    let (sum, difference) = (m[0] + m[1], m[0] - m[1]);
    let (far_sum, far_difference) = (m[2] + m[3], m[2] - m[3]);
    [
        sum + far_sum,
        difference.times(C).plus(D, far_difference),
        sum.times(C2).plus(D2, far_sum),
        m[4].plus(C2 * C, difference).plus(D2 * D, far_difference),
    ]
}

/// A of F(4, 2).
#[inline(always)]
fn gradients_of_two<V: Vector>(y: [V; 4]) -> [V; 5] {
    let (even, odd) = (y[0].plus(C2, y[2]), y[1].plus(C2, y[3]));
    let (far_even, far_odd) = (y[0].plus(D2, y[2]), y[1].plus(D2, y[3]));
    [even.plus(C, odd), even.plus(-C, odd), far_even.plus(D, far_odd), far_even.plus(-D, far_odd), y[3]]
}

transform!(StridedInput, 9 => 9, |d| {
    let [a, b, c, e, f] = pixels_of_two([d[0], d[2], d[4], d[6], d[8]]);
    [a, b, c, e, f, d[1], d[3], d[5], d[7]]
});

transform!(StridedWeight, 3 => 9, |g| {
    let (even, odd) = (g[0].times(GAMMA), g[2].times(GAMMA * C));
    let (far_even, far_odd) = (g[0].times(DELTA), g[2].times(DELTA * D));
    [even + odd, odd - even, far_even + far_odd, far_odd - far_even, g[2], g[1], g[1], g[1], g[1]]
});

transform!(StridedOutput, 9 => 4, |m| {
    let [a, b, c, d] = outputs_of_two([m[0], m[1], m[2], m[3], m[4]]);
    [a + m[5], b + m[6], c + m[7], d + m[8]]
});

transform!(StridedOutputGradient, 4 => 9, |y| {
    let [a, b, c, d, e] = gradients_of_two([y[0], y[1], y[2], y[3]]);
    [a, b, c, d, e, y[0], y[1], y[2], y[3]]
});

transform!(StridedWeightGradient, 9 => 3, |u| {
    let (sum, difference) = (u[0] + u[1], u[0] - u[1]);
    let (far_sum, far_difference) = (u[2] + u[3], u[2] - u[3]);
    [
        difference.times(GAMMA).plus(DELTA, far_difference),
        (u[5] + u[6]) + (u[7] + u[8]),
        u[4].plus(GAMMA * C, sum).plus(DELTA * D, far_sum),
    ]
});

transform!(TransposedInput, 5 => 9, |d| {
    let [a, b, c, e, f] = pixels_of_two([d[0], d[1], d[2], d[3], d[4]]);
    [a, b, c, e, f, d[0], d[1], d[2], d[3]]
});

transform!(TransposedOutput, 9 => 8, |m| {
    let [a, b, c, d] = outputs_of_two([m[0], m[1], m[2], m[3], m[4]]);
    [m[5], a, m[6], b, m[7], c, m[8], d]
});

transform!(TransposedOutputGradient, 8 => 9, |y| {
    let [a, b, c, d, e] = gradients_of_two([y[1], y[3], y[5], y[7]]);
    [a, b, c, d, e, y[0], y[2], y[4], y[6]]
});
