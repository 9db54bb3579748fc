//! Layouts: tiles in images, and transformed values in a thread's memory.

use std::ops::Range;

use crate::simd::WIDEST;
use gradamp_core::geometry::Rows;

/// Images that are cut into tiles: `down` by `across` in each image. Tiles begin `step` pixels apart along both axes, and the first
/// tile begins at pixel `start`.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) channels: usize,
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) step: usize,
    pub(super) start: isize,
}

/// The part of a tile that is inside its image: rows and columns of the tile, and the position in memory of its first pixel.
pub(super) struct Inside {
    rows: Range<usize>,
    columns: Range<usize>,
    pub(super) first: usize,
}

impl Planes {
    /// The part inside its image of tile number `tile`, which has `size` by `size` pixels.
    pub(super) fn tile(&self, tile: usize, size: usize) -> Inside {
        let (line, j) = (tile / self.across, tile % self.across);
        let (image, i) = (line / self.down, line % self.down);
        let inside = |i: usize, length: usize| {
            let start = (i * self.step) as isize + self.start;
            let first = (-start).clamp(0, size as isize);
            let end = (length as isize - start).clamp(first, size as isize);
            (first.unsigned_abs()..end.unsigned_abs(), (start + first).max(0).unsigned_abs())
        };
        let ((rows, row), (columns, column)) = (inside(i, self.h), inside(j, self.w));
        if rows.is_empty() || columns.is_empty() {
            return Inside { rows: 0..0, columns: 0..0, first: 0 };
        }
        Inside { rows, columns, first: ((image * self.h + row) * self.w + column) * self.channels }
    }

    /// All pixels of the images as rows of channels. The images are cut into `tiles` tiles in all.
    pub(super) fn rows(&self, tiles: usize) -> Rows {
        let images = tiles / (self.down * self.across).max(1);
        Rows { rows: images * self.h * self.w, channels: self.channels }
    }

    /// Elements from one row of pixels to the next, and from one pixel to the next.
    pub(super) fn strides(&self) -> [usize; 2] {
        [self.w * self.channels, self.channels]
    }
}

impl Inside {
    /// Whether all pixels of the tile are inside the image.
    pub(super) fn is_whole(&self, size: usize) -> bool {
        self.rows.len() == size && self.columns.len() == size
    }

    /// The rows and the columns of the tile that are inside the image.
    pub(super) fn ranges(&self) -> [Range<usize>; 2] {
        [self.rows.clone(), self.columns.clone()]
    }

    /// Elements from the first lane of the first pixel to the last lane of the last pixel, at these strides.
    pub(super) fn extent(&self, [row, column]: [usize; 2], lanes: usize) -> usize {
        if self.rows.is_empty() {
            return 0;
        }
        (self.rows.len() - 1) * row + (self.columns.len() - 1) * column + lanes
    }

    /// For each pixel its number in a tile of `size` by `size`, and its position in the images, at these strides.
    pub(super) fn pixels(
        &self,
        size: usize,
        [row, column]: [usize; 2],
    ) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = (self.rows.clone(), self.columns.clone());
        let first = self.first;
        rows.enumerate().flat_map(move |(i, r)| {
            let columns = columns.clone().enumerate();
            columns.map(move |(j, c)| (r * size + c, first + i * row + j * column))
        })
    }
}

/// Where a value lies in memory, by its item (a tile, or a row of a matrix), its channel, and its point (a product, or a tap).
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// The number of items in a group.
    pub(super) group: usize,
    /// Elements from one group to the next.
    pub(super) group_stride: usize,
    /// Elements from one item of a group to the next.
    pub(super) item_stride: usize,
    /// The number of adjacent channels, a multiple of [`WIDEST`].
    pub(super) run: usize,
    /// Elements from one run of adjacent channels to the next.
    pub(super) run_stride: usize,
    /// Elements from one point to the next.
    pub(super) point_stride: usize,
}

impl Layout {
    /// A matrix `[items, item_stride]` for each point.
    pub(super) fn matrices(item_stride: usize, point_stride: usize) -> Self {
        Self {
            group: usize::MAX,
            group_stride: 0,
            item_stride,
            run: usize::MAX / WIDEST * WIDEST,
            run_stride: 0,
            point_stride,
        }
    }

    /// The position of an item, relative to the first one.
    pub(super) fn item(&self, item: usize) -> usize {
        item / self.group * self.group_stride + item % self.group * self.item_stride
    }

    /// The position of a channel, relative to the first one.
    pub(super) fn channel(&self, channel: usize) -> usize {
        channel / self.run * self.run_stride + channel % self.run
    }

    /// The strides of a tile of `size` by `size` points: from row to row, and from column to column.
    pub(super) fn strides(&self, size: usize) -> [usize; 2] {
        [size * self.point_stride, self.point_stride]
    }
}
