//! Winograd's algorithms for 3x3 convolutions. They compute a tile of several pixels at a time, with a quarter of the
//! multiplications at stride 1, and with little more than half of them at stride 2.
//!
//! | pass | transformed | products at each point | transformed back |
//! |---|---|---|---|
//! | forward | x, w | \[tiles, c_in\] · \[c_in, c_out\] | y |
//! | input gradient | dy, rotated w | \[tiles, c_out\] · \[c_out, c_in\] | dx |
//! | weight gradient | x, dy | \[c_in, tiles\] · \[tiles, c_out\] | dw |
//!
//! A thread transforms a block of tiles into its own memory, in the layout that the micro-kernel reads. There it multiplies the
//! block by weights that were packed for the micro-kernel, and transforms the products back. The transformed tiles have 36 / 16
//! times the size of the image, but stay in cache. Blocks depend on the geometry alone, so that the number of threads changes no
//! bit.
//!
//! The transforms are in `transforms.rs` and `strided.rs`. In f32 the result is off by some 1e-6 of its norm, because the
//! transforms add values that are a few times as large as their result.

mod backward_weight;
mod forward;
mod layout;
mod strided;
#[cfg(test)]
mod tests;
mod tiles;
mod transforms;
mod weights;

use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::batch_norm::BlockSums;
use crate::device::Cpu;
use crate::simd::WIDEST;
use forward::convolve;
use strided::{Strided, Transposed};
use transforms::{Algorithm, Four, Pair};
use weights::Weights;

pub(super) use tiles::Pixels;

/// A Winograd algorithm for 3x3 convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Winograd {
    /// Tiles of 4x4 pixels at stride 1.
    Four,
    /// Stride 1 on images of 2x2 pixels: each image is one tile.
    Pair,
    /// Tiles of 4x4 pixels at stride 2.
    Strided,
}

impl Winograd {
    /// The algorithm with the least cost; `None` if the direct sums cost less, or if no algorithm computes this convolution.
    pub(super) fn choose(g: &Conv2d) -> Option<Self> {
        if (g.kh, g.kw) != (3, 3) {
            return None;
        }
        // The cost of a tile, in multiply-adds. Storing a sum takes as long as STORE of them, and transforming a channel of a tile
        // as long as `transform` of them. Both are estimated from counts of instructions, not measured. Channels come in vectors.
        const STORE: usize = 4;
        let (algorithm, points, transform) = match (g.stride, g.padding) {
            (1, 1) if (g.h_in, g.w_in) == (2, 2) => return Some(Self::Pair),
            (1, _) => (Self::Four, Four::POINTS, 200),
            (2, 1) => (Self::Strided, Strided::POINTS, 450),
            _ => return None,
        };
        let tiles = g.h_out.div_ceil(4) * g.w_out.div_ceil(4);
        let vectors = |channels: usize| channels.next_multiple_of(WIDEST);
        let products = points * (g.c_in + STORE) * vectors(g.c_out);
        let ours = tiles * (products + transform * (vectors(g.c_in) + vectors(g.c_out)));
        let direct = g.pixels() * g.patch() * vectors(g.c_out);
        (ours < direct).then_some(algorithm)
    }

    /// y = conv2d(x, w) + bias. If there are `sums`, computes those of y too, provided that each block is whole rows of pixels.
    /// Otherwise [`BlockSums::finish`] has to compute them.
    pub(super) fn conv2d(
        self,
        cpu: &Cpu,
        g: &Conv2d,
        x: Pixels<'_>,
        w: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        sums: Option<&mut BlockSums<'_>>,
    ) -> Result<()> {
        let [from, to] = [(g.h_in, g.w_in, g.c_in), (g.h_out, g.w_out, g.c_out)];
        let planes = (g.n, from, to, -(g.padding as isize));
        let weights = Weights { w, c_in: g.c_in, c_out: g.c_out, rotated: false };
        match self {
            Self::Four => convolve::<Four>(cpu, planes, x, weights, bias, y, sums),
            Self::Pair => convolve::<Pair>(cpu, planes, x, weights, bias, y, sums),
            Self::Strided => convolve::<Strided>(cpu, planes, x, weights, bias, y, sums),
        }
    }

    /// dx: the convolution of dy, padded by 2 − padding, with the rotated weights. The `sums` are those of dx, and are computed as
    /// by [`Winograd::conv2d`].
    pub(super) fn backward_input(
        self,
        cpu: &Cpu,
        g: &Conv2d,
        w: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        sums: Option<&mut BlockSums<'_>>,
    ) -> Result<()> {
        let dy = Pixels::stored(dy);
        let start = g.padding as isize - 2;
        let [from, to] = [(g.h_out, g.w_out, g.c_out), (g.h_in, g.w_in, g.c_in)];
        let weights = Weights { w, c_in: g.c_in, c_out: g.c_out, rotated: true };
        match self {
            Self::Four => convolve::<Four>(cpu, (g.n, from, to, start), dy, weights, None, dx, sums),
            Self::Pair => convolve::<Pair>(cpu, (g.n, from, to, start), dy, weights, None, dx, sums),
            Self::Strided => convolve::<Transposed>(cpu, (g.n, from, to, 0), dy, weights, None, dx, sums),
        }
    }

    /// dw: at each point, the products of transformed x and transformed dy, summed over tiles.
    pub(super) fn backward_weight(
        self,
        cpu: &Cpu,
        g: &Conv2d,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
    ) -> Result<()> {
        match self {
            Self::Four => backward_weight::backward_weight::<Four>(cpu, g, x, dy, dw),
            Self::Pair => backward_weight::backward_weight::<Pair>(cpu, g, x, dy, dw),
            Self::Strided => backward_weight::backward_weight::<Strided>(cpu, g, x, dy, dw),
        }
    }
}
