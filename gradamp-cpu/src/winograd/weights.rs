//! Transformed weights in the micro-kernel's panels.

use std::marker::PhantomData;

use crate::device::Cpu;
use crate::gemm::Kernel;
use crate::shared_mut::SharedMut;
use crate::simd::WIDEST;

use super::layout::Layout;
use super::tiles::Between;
use super::transforms::Algorithm;

/// The weights `[3, 3, c_in, c_out]` of a convolution, or of its input gradient.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) w: &'a [f32],
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// For the input gradient: the taps in descending order, each one's matrix transposed.
    pub(super) turned: bool,
}

/// What a panel of transformed weights looks like: `[point, depth, width]`, points a line further apart than they need, lest
/// all of them meet in the same cache sets.
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
    /// Rows and columns of a tap's matrix.
    pub(super) fn shape(&self) -> (usize, usize) {
        if self.turned { (self.c_out, self.c_in) } else { (self.c_in, self.c_out) }
    }

    /// Transforms the columns of a panel.
    pub(super) fn transform<A: Algorithm>(&self, cpu: &Cpu, panel: Panel, index: usize, to: &mut [f32]) {
        /// Rows that are transposed at a time: a line of w.
        const ROWS: usize = 16;
        let (depth, columns) = self.shape();
        let (first, matrix) = (index * panel.width, self.c_in * self.c_out);
        let channels = panel.width.min(columns - first);
        let to_layout = Layout::matrices(panel.width, panel.point);
        let to = SharedMut::new(to);
        let transform = |from: &[f32], from_layout, items, start| {
            let transform = PhantomData::<A::Weight>;
            cpu.run(Between { transform, from, from_layout, items, channels, to_layout, start, to });
        };
        if !self.turned {
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
