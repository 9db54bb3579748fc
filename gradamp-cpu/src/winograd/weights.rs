//! Weights, transformed and packed in panels for the micro-kernel.

use std::marker::PhantomData;

use crate::device::Cpu;
use crate::kernel::Kernel;
use crate::shared_mut::SharedMut;
use crate::simd::WIDEST;

use super::layout::Layout;
use super::tiles::BetweenLayouts;
use super::transforms::Algorithm;

/// The weights `[3, 3, c_in, c_out]` of a convolution, or of its input gradient.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) w: &'a [f32],
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Whether the kernel is rotated by 180° and the matrix of each tap is transposed, as the input gradient requires.
    pub(super) rotated: bool,
}

/// The layout of a panel of transformed weights: `[point, depth, width]`. Points are one cache line further apart than they need to
/// be, since all points would share the same cache sets otherwise.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    width: usize,
    pub(super) point: usize,
    pub(super) len: usize,
}

impl Panel {
    pub(super) fn new<A: Algorithm>(kernel: Kernel, depth: usize) -> Self {
        let point = depth * kernel.columns + WIDEST;
        Self { width: kernel.columns, point, len: A::POINTS * point }
    }
}

impl Weights<'_> {
    /// Rows and columns of the matrix of a tap.
    pub(super) fn shape(&self) -> (usize, usize) {
        if self.rotated { (self.c_out, self.c_in) } else { (self.c_in, self.c_out) }
    }

    /// Transforms the columns of panel number `index`.
    pub(super) fn transform<A: Algorithm>(&self, cpu: &Cpu, panel: Panel, index: usize, to: &mut [f32]) {
        /// Rows that are transposed at a time: as many as a cache line of w has elements.
        const ROWS: usize = 16;
        let (depth, columns) = self.shape();
        let (first, matrix) = (index * panel.width, self.c_in * self.c_out);
        let channels = panel.width.min(columns - first);
        let to_layout = Layout::matrices(panel.width, panel.point);
        let to = SharedMut::new(to);
        let transform = |from: &[f32], from_layout, items, start| {
            let transform = PhantomData::<A::Weight>;
            cpu.run(BetweenLayouts { transform, from, from_layout, items, channels, to_layout, start, to });
        };
        if !self.rotated {
            transform(&self.w[first..], Layout::matrices(self.c_out, matrix), depth, 0);
            return;
        }
        let mut rows = vec![0.0; 9 * ROWS * panel.width];
        for start in (0..depth).step_by(ROWS) {
            let count = ROWS.min(depth - start);
            for (tap, rows) in rows.chunks_exact_mut(ROWS * panel.width).enumerate() {
                for lane in 0..channels {
                    let from = (8 - tap) * matrix + (first + lane) * self.c_out + start;
                    let to = rows.iter_mut().skip(lane).step_by(panel.width);
                    for (to, from) in to.zip(&self.w[from..from + count]) {
                        *to = *from;
                    }
                }
            }
            let layout = Layout::matrices(panel.width, ROWS * panel.width);
            transform(&rows, layout, count, start * panel.width);
        }
    }
}
