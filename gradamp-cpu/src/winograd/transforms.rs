//! The matrices of Winograd's algorithms, each written as sums that share common terms.
//!
//! For the pixels d of a window, the weights g and the outputs y: y = Aᵀ[(G g) ⊙ (Bᵀ d)]. The transforms are applied along one axis
//! and then along the other.
//!
//! F(4, 3) at the points 0, ±a, ±b, ∞ (Lavin, Gray, "Fast algorithms for convolutional neural networks", 2015, with a = 1 and
//! b = 2). Here a = 5/8 and b = 3/2. The number of operations is the same, but the powers of the points stay near 1, which halves
//! the rounding error. With α = 1 / 2a²(a² − b²) and β = 1 / 2b²(b² − a²):
//!
//! ```text
//!      a²b²   0   −a²−b²  0    1  0         1/a²b²  0    0
//!       0   −ab²   −b²    a    1  0           α    αa   αa²          1  1   1   1   1  0
//! Bᵀ =  0    ab²   −b²   −a    1  0     G =   α   −αa   αa²     Aᵀ = 0  a  −a   b  −b  0
//!       0   −a²b   −a²    b    1  0           β    βb   βb²          0  a²  a²  b²  b² 0
//!       0    a²b   −a²   −b    1  0           β   −βb   βb²          0  a³ −a³  b³ −b³ 1
//!       0    a²b²   0   −a²−b² 0  1           0     0    1
//! ```
//!
//! An axis of two pixels with a padding of one: y = [g1 d0 + g2 d1, g0 d0 + g1 d1], by three products instead of four:
//!
//! ```text
//!      1  1        0  1  0         1  1  0
//! Bᵀ = 0  1    G = 0 −1  1    Aᵀ = 1  0  1
//!      1  0        1 −1  0
//! ```
//!
//! The gradients are computed with the transposed matrices: dw = Gᵀ[(Bᵀ d) ⊙ (A dy)].

use crate::simd::Vector;

/// The largest number of points, pixels or weights along one axis.
pub(super) const MOST: usize = 9;

/// A matrix whose elements multiply vectors of channels, along one axis.
pub(super) trait Transform {
    /// The number of input vectors.
    const FROM: usize;
    /// The number of output vectors.
    const TO: usize;
    /// The product of the matrix and the first [`Transform::FROM`] vectors of `d`. The result is in the first [`Transform::TO`]
    /// vectors; the contents of the others are unspecified.
    fn apply<V: Vector>(d: [V; MOST]) -> [V; MOST];
}

/// The transforms of one algorithm.
pub(super) trait Algorithm {
    /// Bᵀ
    type Input: Transform;
    /// G
    type Weight: Transform;
    /// Aᵀ
    type Output: Transform;
    /// A
    type OutputGradient: Transform;
    /// Gᵀ
    type WeightGradient: Transform;

    /// The number of products of a tile.
    const POINTS: usize = Self::Input::TO * Self::Input::TO;
    /// Pixels from the window of one tile to the window of the next.
    const STEP: usize = Self::Output::TO;
    /// The number of pixels at the beginning of a window, along one axis, that are always padding and are not transformed.
    const SKIPPED: usize;
}

/// F(4x4, 3x3): 36 products instead of 144.
pub(super) enum Four {}
/// Images of 2x2 pixels with a padding of 1: 9 products instead of 36.
pub(super) enum Pair {}

impl Algorithm for Four {
    type Input = FourInput;
    type Weight = FourWeight;
    type Output = FourOutput;
    type OutputGradient = FourOutputGradient;
    type WeightGradient = FourWeightGradient;
    const SKIPPED: usize = 0;
}

/// The first and the last of a window's 4 pixels are padding. Only the two between them are transformed.
impl Algorithm for Pair {
    type Input = PairInput;
    type Weight = PairWeight;
    type Output = PairOutput;
    type OutputGradient = PairOutputGradient;
    type WeightGradient = PairWeightGradient;
    const SKIPPED: usize = 1;
}

macro_rules! transform {
    ($name:ident, $from:literal => $to:literal, |$d:ident| $body:expr) => {
        pub(super) struct $name;

        impl Transform for $name {
            const FROM: usize = $from;
            const TO: usize = $to;
            #[inline(always)]
            fn apply<V: Vector>($d: [V; MOST]) -> [V; MOST] {
                let out: [V; $to] = $body;
                std::array::from_fn(|i| out[i.min($to - 1)])
            }
        }
    };
}
pub(super) use transform;

/// The points a and b of F(4, 3), their squares, and the factors α and β.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
const ALPHA: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const BETA: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

transform!(FourInput, 6 => 6, |d| {
    let (even, odd) = (d[4].plus(-B2, d[2]), d[3].plus(-B2, d[1]));
    let (far_even, far_odd) = (d[4].plus(-A2, d[2]), d[3].plus(-A2, d[1]));
    [
        d[4].plus(-A2 - B2, d[2]).plus(A2 * B2, d[0]),
        even.plus(A, odd),
        even.plus(-A, odd),
        far_even.plus(B, far_odd),
        far_even.plus(-B, far_odd),
        d[5].plus(-A2 - B2, d[3]).plus(A2 * B2, d[1]),
    ]
});

transform!(FourWeight, 3 => 6, |g| {
    let even = g[0].times(ALPHA).plus(ALPHA * A2, g[2]);
    let far_even = g[0].times(BETA).plus(BETA * B2, g[2]);
    [
        g[0].times(1.0 / (A2 * B2)),
        even.plus(ALPHA * A, g[1]),
        even.plus(-ALPHA * A, g[1]),
        far_even.plus(BETA * B, g[1]),
        far_even.plus(-BETA * B, g[1]),
        g[2],
    ]
});

transform!(FourOutput, 6 => 4, |m| {
    let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
    let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + sum + far_sum,
        difference.times(A).plus(B, far_difference),
        sum.times(A2).plus(B2, far_sum),
        m[5].plus(A2 * A, difference).plus(B2 * B, far_difference),
    ]
});

transform!(FourOutputGradient, 4 => 6, |y| {
    let (even, odd) = (y[0].plus(A2, y[2]), y[1].plus(A2, y[3]));
    let (far_even, far_odd) = (y[0].plus(B2, y[2]), y[1].plus(B2, y[3]));
    [y[0], even.plus(A, odd), even.plus(-A, odd), far_even.plus(B, far_odd), far_even.plus(-B, far_odd), y[3]]
});

transform!(FourWeightGradient, 6 => 3, |u| {
    let (sum, difference) = (u[1] + u[2], u[1] - u[2]);
    let (far_sum, far_difference) = (u[3] + u[4], u[3] - u[4]);
    [
        u[0].times(1.0 / (A2 * B2)).plus(ALPHA, sum).plus(BETA, far_sum),
        difference.times(ALPHA * A).plus(BETA * B, far_difference),
        u[5].plus(ALPHA * A2, sum).plus(BETA * B2, far_sum),
    ]
});

transform!(PairInput, 2 => 3, |d| [d[0] + d[1], d[1], d[0]]);
transform!(PairWeight, 3 => 3, |g| [g[1], g[2] - g[1], g[0] - g[1]]);
transform!(PairOutput, 3 => 2, |m| [m[0] + m[1], m[0] + m[2]]);
transform!(PairOutputGradient, 2 => 3, |y| [y[0] + y[1], y[0], y[1]]);
transform!(PairWeightGradient, 3 => 3, |u| [u[2], u[0] - u[1] - u[2], u[1]]);
