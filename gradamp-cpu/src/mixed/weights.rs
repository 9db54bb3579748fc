//! Matrices of weights as factors in bf16, in tiles as a micro-kernel reads them.

use crate::bf16::{Bf16, COLUMNS, DEPTH, Instructions, Kernel, RIGHT_TILE, Rows};
use std::ops::Range;

/// A right operand in f32: the matrices `[depth, columns]` of several taps, one below the other.
#[derive(Clone, Copy)]
pub(super) struct Matrices<'a> {
    pub(super) values: &'a [f32],
    /// Where the matrix of each tap begins.
    pub(super) taps: &'a [usize],
    pub(super) depth: usize,
    pub(super) columns: usize,
    /// Elements from one row in memory to the next.
    pub(super) row: usize,
    /// Whether the rows in memory are the columns of the matrices.
    pub(super) transposed: bool,
}

/// The number of steps for a depth of `depth` elements.
pub(super) fn steps(depth: usize) -> usize {
    depth.div_ceil(DEPTH)
}

/// Elements of a step of B.
pub(super) fn step_elements(kernel: Kernel) -> usize {
    DEPTH * kernel.columns
}

impl Matrices<'_> {
    /// Elements of a packed panel.
    pub(super) fn panel(&self, kernel: Kernel) -> usize {
        steps(self.taps.len() * self.depth) * step_elements(kernel)
    }

    /// Packs the columns of panel number `panel` to `[step, tile, DEPTH / 2, COLUMNS, 2]`. Zeros fill what is beyond the matrices.
    pub(super) fn pack(&self, instructions: &Instructions, kernel: Kernel, panel: usize, to: &mut [Bf16]) {
        let depth = self.taps.len() * self.depth;
        for (step, to) in to[..self.panel(kernel)].chunks_mut(step_elements(kernel)).enumerate() {
            let rows = step * DEPTH..depth.min((step + 1) * DEPTH);
            for (tile, to) in to.chunks_mut(RIGHT_TILE).enumerate() {
                let first = self.columns.min(panel * kernel.columns + tile * COLUMNS);
                let columns = first..self.columns.min(first + COLUMNS);
                let mut rounded = [Bf16::default(); RIGHT_TILE];
                self.round(instructions, rows.clone(), columns, &mut rounded);
                match self.transposed {
                    false => (instructions.rows.pair)(&rounded, COLUMNS, to),
                    true => (instructions.rows.transpose)(&rounded, DEPTH, to, 2 * COLUMNS),
                }
            }
        }
    }

    /// Rounds a block as it lies in memory: rows of [`COLUMNS`] elements, or of [`DEPTH`] if it is stored transposed.
    fn round(&self, instructions: &Instructions, rows: Range<usize>, columns: Range<usize>, to: &mut [Bf16]) {
        let round = |start: usize, count: usize, to: &mut [Bf16]| {
            (instructions.rows.round)(&self.values[start..start + count], Rows::one(count), None, to);
        };
        if !self.transposed {
            for (k, to) in rows.zip(to.chunks_mut(COLUMNS)) {
                let start = self.taps[k / self.depth] + k % self.depth * self.row;
                round(start + columns.start, columns.len(), to);
            }
            return;
        }
        for (column, to) in columns.zip(to.chunks_mut(DEPTH)) {
            let mut k = rows.start;
            while k < rows.end {
                let (tap, within) = (k / self.depth, k % self.depth);
                let count = (self.depth - within).min(rows.end - k);
                round(self.taps[tap] + column * self.row + within, count, &mut to[k - rows.start..]);
                k += count;
            }
        }
    }
}
