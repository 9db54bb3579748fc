//! Images as factors in bf16: rounded pixels, with zeros around them, in one of two orders.

use std::ops::Range;

use crate::bf16::{Bf16, RowFunctions, Rows};
use crate::winograd::Pixels;

/// An axis of a grid: its element i is the pixel `first + i · step`, or a zero if there is no such pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) first: isize,
    pub(super) step: usize,
    pub(super) len: usize,
    /// The number of pixels of an image along this axis.
    pub(super) pixels: usize,
}

impl Axis {
    /// The pixels themselves.
    pub(super) fn plain(pixels: usize) -> Self {
        Self { first: 0, step: 1, len: pixels, pixels }
    }

    /// The pixel of element `i`.
    pub(super) fn pixel(&self, i: usize) -> Option<usize> {
        let pixel = self.first.checked_add_unsigned(i * self.step)?;
        usize::try_from(pixel).ok().filter(|&pixel| pixel < self.pixels)
    }

    /// The elements that are pixels.
    pub(super) fn inside(&self) -> Range<usize> {
        let start = self.first.min(0).unsigned_abs().div_ceil(self.step).min(self.len);
        let last = self.pixels as isize - self.first;
        let end = last.max(0).unsigned_abs().div_ceil(self.step).clamp(start, self.len);
        start..end
    }
}

/// Images in bf16: element (image, row, column) begins `image · images + row · across + column · along` elements after the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) channels: usize,
    pub(super) images: usize,
    pub(super) across: usize,
    pub(super) along: usize,
}

impl Grid {
    /// One image after the other: the pixels of a row are neighbours.
    pub(super) fn by_image(rows: Axis, columns: Axis, channels: usize) -> Self {
        let across = columns.len * channels;
        Self { rows, columns, channels, images: rows.len * across, across, along: channels }
    }

    /// One pixel after the other: the same pixels of all `count` images are neighbours.
    pub(super) fn by_pixel(rows: Axis, columns: Axis, channels: usize, count: usize) -> Self {
        let along = count * channels;
        Self { rows, columns, channels, images: channels, across: columns.len * along, along }
    }

    /// Rounds the images `images` of x to the grid, the first of them to its first element. Zeros fill what is no pixel.
    pub(super) fn fill(
        &self,
        functions: RowFunctions,
        x: &Source<'_>,
        images: Range<usize>,
        to: &mut [Bf16],
    ) {
        for (n, image) in images.enumerate() {
            for row in 0..self.rows.len {
                self.fill_row(functions, x, image, row, &mut to[n * self.images + row * self.across..]);
            }
        }
    }

    /// Rounds row number `row` of an image to the row that begins at the first element of `to`.
    pub(super) fn fill_row(
        &self,
        functions: RowFunctions,
        x: &Source<'_>,
        image: usize,
        row: usize,
        to: &mut [Bf16],
    ) {
        let c = self.channels;
        let row = self.rows.pixel(row);
        let inside = if row.is_some() { self.columns.inside() } else { 0..0 };
        for outside in (0..inside.start).chain(inside.end..self.columns.len) {
            to[outside * self.along..][..c].fill(Bf16::default());
        }
        let (Some(row), Some(first)) = (row, self.columns.pixel(inside.start)) else { return };
        let row = (image * self.rows.pixels + row) * self.columns.pixels;
        let normal = x.normal.as_ref().map(|operands| operands.each_ref().map(|values| &values[..]));
        let (x, to) = (&x.values[(row + first) * c..], &mut to[inside.start * self.along..]);
        let rows = match self.columns.step == 1 && self.along == c {
            true => Rows::one(inside.len() * c),
            false => Rows { count: inside.len(), len: c, from: self.columns.step * c, to: self.along },
        };
        (functions.round)(x, rows, normal, to);
    }
}

/// What is rounded: the stored values, or relu(batch_norm(x)) of them, whose operands are repeated for whole rows of channels.
pub(super) struct Source<'a> {
    values: &'a [f32],
    normal: Option<[Vec<f32>; 3]>,
}

impl<'a> Source<'a> {
    pub(super) fn new(x: Pixels<'a>) -> Self {
        let (values, normal) = x.parts();
        Self { values, normal: normal.map(|z| z.repeated_operands()) }
    }
}
