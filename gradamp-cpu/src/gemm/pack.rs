//! The layouts in which the micro-kernels read their operands, and in which they write C.

use std::ops::Range;

use crate::kernel::{Kernel, PACKED_STRIDE};
use crate::threads::Threads;

/// A left operand: a matrix whose blocks can be copied. It is stored, or its elements are gathered from images.
pub(crate) trait Matrix: Sync {
    /// Copies a block to rows that begin [`PACKED_STRIDE`] elements apart.
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, to: &mut [f32]);
}

/// A row-major matrix in memory.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    values: &'a [f32],
    pub(crate) columns: usize,
}

impl<'a> Dense<'a> {
    /// The matrix whose rows of `columns` elements are `values`.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns }
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Packs `width` columns, those of panel number `panel`, of the rows `rows` to `[rows, width]`. Columns beyond the matrix are 0.
    pub(crate) fn pack(&self, panel: usize, width: usize, rows: Range<usize>, to: &mut [f32]) {
        let from = self.columns.min(panel * width);
        let columns = from..self.columns.min(from + width);
        for (row, to) in rows.zip(to.chunks_exact_mut(width)) {
            let (filled, rest) = to.split_at_mut(columns.len());
            filled.copy_from_slice(&self.row(row)[columns.clone()]);
            rest.fill(0.0);
        }
    }

    /// Packs the whole matrix.
    pub(crate) fn pack_all<'p>(&self, threads: &Threads, kernel: Kernel, to: &'p mut [f32]) -> Panels<'p> {
        /// Rows of one task.
        const ROWS: usize = 512;
        let (rows, width) = (self.values.len() / self.columns, kernel.columns);
        let panels = to.chunks_mut(rows * width).enumerate();
        let tasks = panels.flat_map(|(panel, to)| {
            to.chunks_mut(ROWS * width).enumerate().map(move |(part, to)| (panel, part * ROWS, to))
        });
        threads.each(tasks, |(panel, first, to)| {
            self.pack(panel, width, first..rows.min(first + ROWS), to);
        });
        Panels::new(kernel, rows, self.columns, to)
    }

    /// Packs `width` columns of the transposed matrix, those of panel number `panel`, to `[columns, width]`. Columns beyond the
    /// transposed matrix are 0.
    pub(crate) fn pack_transposed(&self, panel: usize, width: usize, to: &mut [f32]) {
        let rows = self.values.len() / self.columns;
        // A few columns at a time, so that the written part of the panel stays in cache while all rows are read.
        const COLUMNS: usize = 16;
        for (part, to) in to.chunks_mut(COLUMNS * width).enumerate() {
            for lane in 0..width {
                let row = panel * width + lane;
                if row >= rows {
                    to.iter_mut().skip(lane).step_by(width).for_each(|to| *to = 0.0);
                    continue;
                }
                let from = &self.row(row)[part * COLUMNS..];
                for (to, &from) in to.chunks_exact_mut(width).zip(from) {
                    to[lane] = from;
                }
            }
        }
    }
}

impl Matrix for Dense<'_> {
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, to: &mut [f32]) {
        for (row, to) in rows.zip(to.chunks_mut(PACKED_STRIDE)) {
            to[..columns.len()].copy_from_slice(&self.row(row)[columns.clone()]);
        }
    }
}

/// A right operand in panels of the micro-kernel's width: `[panel, depth, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    packed: &'a [f32],
    width: usize,
    depth: usize,
    pub(crate) columns: usize,
}

impl<'a> Panels<'a> {
    /// The panels of a matrix `[depth, columns]`, which `packed` holds.
    pub(crate) fn new(kernel: Kernel, depth: usize, columns: usize, packed: &'a [f32]) -> Self {
        Self { packed, width: kernel.columns, depth, columns }
    }

    /// Elements of a packed matrix `[depth, columns]`.
    pub(crate) fn elements(kernel: Kernel, depth: usize, columns: usize) -> usize {
        depth * columns.next_multiple_of(kernel.columns)
    }

    /// How many panels there are.
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// The rows `rows` of panel number `panel`.
    pub(super) fn piece(&self, panel: usize, rows: Range<usize>) -> &'a [f32] {
        let start = panel * self.depth;
        &self.packed[(start + rows.start) * self.width..(start + rows.end) * self.width]
    }
}

/// A block of C in tiles of the micro-kernel's size: `[panel, row, width]`.
pub(crate) struct Tiles<'a> {
    values: &'a mut [f32],
    rows: usize,
    tile_rows: usize,
    columns: usize,
    width: usize,
}

impl<'a> Tiles<'a> {
    /// The tiles of a matrix `[rows, columns]`, to be stored in `values`. `rows` is a multiple of the kernel's rows.
    pub(super) fn new(kernel: Kernel, rows: usize, columns: usize, values: &'a mut [f32]) -> Self {
        Self { values, rows, tile_rows: kernel.rows, columns, width: kernel.columns }
    }

    /// The tiles `tiles` of panel number `panel`, to be written.
    pub(super) fn tiles(&mut self, panel: usize, tiles: Range<usize>) -> &mut [f32] {
        let start = panel * self.rows;
        let rows = start + tiles.start * self.tile_rows..start + tiles.end * self.tile_rows;
        &mut self.values[rows.start * self.width..rows.end * self.width]
    }

    /// Calls `f(row, column, values)` for the first `count` rows of each panel. `column` is the one at which the panel begins.
    #[inline(always)]
    pub(crate) fn rows(&self, count: usize, mut f: impl FnMut(usize, usize, &[f32])) {
        let panels = self.values.chunks_exact(self.rows * self.width);
        for (from, panel) in (0..self.columns).step_by(self.width).zip(panels) {
            let width = self.width.min(self.columns - from);
            for (row, values) in panel.chunks_exact(self.width).take(count).enumerate() {
                f(row, from, &values[..width]);
            }
        }
    }
}
