//! The matrices of Winograd's convolutions, as sums that share their parts.
//!
//! With a window's pixels d, weights g and outputs y = Aᵀ[(G g) ⊙ (Bᵀ d)], along one axis and then along the other.
//!
//! F(4, 3) at the points 0, 1, −1, 2, −2, ∞ (Lavin, Gray, "Fast algorithms for convolutional neural networks", 2015):
//!
//! ```text
//!      4  0 −5  0  1  0        1/4    0    0
//!      0 −4 −4  1  1  0       −1/6 −1/6 −1/6         1  1  1  1  1  0
//! Bᵀ = 0  4 −4 −1  1  0   G = −1/6  1/6 −1/6    Aᵀ = 0  1 −1  2 −2  0
//!      0 −2 −1  2  1  0       1/24 1/12  1/6         0  1  1  4  4  0
//!      0  2 −1 −2  1  0       1/24 −1/12 1/6         0  1 −1  8 −8  1
//!      0  4  0 −5  0  1          0    0    1
//! ```
//!
//! A plane of two pixels with a padding of one: y = [g1 d0 + g2 d1, g0 d0 + g1 d1], three products instead of four:
//!
//! ```text
//!      1  1        0  1  0         1  1  0
//! Bᵀ = 0  1    G = 0 −1  1    Aᵀ = 1  0  1
//!      1  0        1 −1  0
//! ```
//!
//! Backward: the convolution's gradients are the transposed maps. dw = Gᵀ[(Bᵀ d) ⊙ (A dy)].

use crate::cpu::simd::Vector;

/// The most points, pixels or weights along one axis.
pub(super) const MOST: usize = 6;

/// A matrix that multiplies vectors, along one axis.
pub(super) trait Transform {
    /// How many vectors go in.
    const FROM: usize;
    /// How many come out; what is behind them is of no use.
    const TO: usize;
    /// The product. Of `d` the first [`Transform::FROM`] count.
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

    /// Products of a tile.
    const POINTS: usize = Self::Input::TO * Self::Input::TO;
    /// The point whose column of Aᵀ, along both axes, is all ones: what is added there is added to every pixel.
    const ONES: usize;
    /// A window begins so many pixels after where the convolution's does.
    const SKIPPED: usize;
}

/// F(4x4, 3x3): 36 products instead of 144.
pub(super) enum Four {}
/// A plane of 2x2 pixels with a padding of 1: 9 products instead of 36.
pub(super) enum Pair {}

impl Algorithm for Four {
    type Input = FourInput;
    type Weight = FourWeight;
    type Output = FourOutput;
    type OutputGradient = FourOutputGradient;
    type WeightGradient = FourWeightGradient;
    const ONES: usize = MOST + 1;
    const SKIPPED: usize = 0;
}

/// Its window of 4 pixels begins and ends in the padding: the two between are transformed.
impl Algorithm for Pair {
    type Input = PairInput;
    type Weight = PairWeight;
    type Output = PairOutput;
    type OutputGradient = PairOutputGradient;
    type WeightGradient = PairWeightGradient;
    const ONES: usize = 0;
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
                $body
            }
        }
    };
}

transform!(FourInput, 6 => 6, |d| {
    let (even, odd) = (d[4].plus(-4.0, d[2]), d[3].plus(-4.0, d[1]));
    let (outer, inner) = (d[4] - d[2], d[3] - d[1]);
    [
        d[4].plus(-5.0, d[2]).plus(4.0, d[0]),
        even + odd,
        even - odd,
        outer.plus(2.0, inner),
        outer.plus(-2.0, inner),
        d[5].plus(-5.0, d[3]).plus(4.0, d[1]),
    ]
});

transform!(FourWeight, 3 => 6, |g| {
    let ends = (g[0] + g[2]).times(-1.0 / 6.0);
    let far = g[0].times(1.0 / 24.0).plus(1.0 / 6.0, g[2]);
    [
        g[0].times(0.25),
        ends.plus(-1.0 / 6.0, g[1]),
        ends.plus(1.0 / 6.0, g[1]),
        far.plus(1.0 / 12.0, g[1]),
        far.plus(-1.0 / 12.0, g[1]),
        g[2],
    ]
});

transform!(FourOutput, 6 => 4, |m| {
    let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
    let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + sum + far_sum,
        difference.plus(2.0, far_difference),
        sum.plus(4.0, far_sum),
        (difference + m[5]).plus(8.0, far_difference),
        m[0],
        m[0],
    ]
});

transform!(FourOutputGradient, 4 => 6, |y| {
    let (even, odd) = (y[0] + y[2], y[1] + y[3]);
    let (far_even, far_odd) = (y[0].plus(4.0, y[2]), y[1].plus(4.0, y[3]));
    [
        y[0],
        even + odd,
        even - odd,
        far_even.plus(2.0, far_odd),
        far_even.plus(-2.0, far_odd),
        y[3],
    ]
});

transform!(FourWeightGradient, 6 => 3, |u| {
    let (sum, difference) = (u[1] + u[2], u[2] - u[1]);
    let (far_sum, far_difference) = (u[3] + u[4], u[3] - u[4]);
    [
        u[0].times(0.25).plus(-1.0 / 6.0, sum).plus(1.0 / 24.0, far_sum),
        difference.times(1.0 / 6.0).plus(1.0 / 12.0, far_difference),
        u[5].plus(1.0 / 6.0, far_sum - sum),
        u[0],
        u[0],
        u[0],
    ]
});

transform!(PairInput, 2 => 3, |d| [d[0] + d[1], d[1], d[0], d[0], d[0], d[0]]);
transform!(PairWeight, 3 => 3, |g| [g[1], g[2] - g[1], g[0] - g[1], g[0], g[0], g[0]]);
transform!(PairOutput, 3 => 2, |m| [m[0] + m[1], m[0] + m[2], m[0], m[0], m[0], m[0]]);
transform!(PairOutputGradient, 2 => 3, |y| [y[0] + y[1], y[0], y[1], y[0], y[0], y[0]]);
transform!(PairWeightGradient, 3 => 3, |u| [u[2], u[0] - u[1] - u[2], u[1], u[0], u[0], u[0]]);
