//! Which taps of a convolution read a pixel: the same ones for all pixels with the same remainder modulo the stride.

use gradamp_core::geometry::Conv2d;

/// Along one axis, the input pixels first, first + stride, first + 2 · stride, ..: the taps of the kernel that read them.
///
/// Output pixel o reads input pixel o · stride + tap − padding. The gradient of input pixel first + stride · u is therefore a sum
/// over the taps for which (first + stride · u + padding − tap) is a multiple of the stride; these taps are the same for every u.
/// In descending order of the taps, the pixels of dy that they multiply are neighbours, and the first of them is u + start.
#[derive(Clone, Copy)]
pub(crate) struct Residue {
    pub(crate) first: usize,
    pub(crate) pixels: usize,
    pub(crate) taps: usize,
    lowest: usize,
    pub(crate) start: isize,
}

impl Residue {
    pub(crate) fn new(g: &Conv2d, first: usize, size_in: usize, kernel: usize) -> Self {
        let lowest = (first + g.padding) % g.stride;
        let taps = kernel.saturating_sub(lowest).div_ceil(g.stride);
        let start = ((first + g.padding) / g.stride) as isize - taps as isize + 1;
        Self { first, pixels: size_in.saturating_sub(first).div_ceil(g.stride), taps, lowest, start }
    }

    /// The position in the kernel of the i-th tap in descending order.
    pub(crate) fn place(&self, g: &Conv2d, i: usize) -> usize {
        self.lowest + (self.taps - 1 - i) * g.stride
    }
}
