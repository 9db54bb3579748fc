//! The windows of a convolution as the rows of a matrix. Matrix products copy them block by block; im2col stores all of them.

use std::ops::Range;

use gradamp_core::geometry::Conv2d;

use crate::gemm::Matrix;
use crate::kernel::{LANES, PACKED_STRIDE};
use crate::threads::Threads;

/// The windows of `[n, h, w, c]` images as the rows of a matrix `[n·h_out·w_out, taps_h·taps_w·c]` that is not stored.
///
/// Window (i, j) begins at pixel (i · step + top, j · step + left). Its elements outside the image are 0.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    pub(super) x: &'a [f32],
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
    pub(super) taps_h: usize,
    pub(super) taps_w: usize,
    pub(super) step: usize,
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) h_out: usize,
    pub(super) w_out: usize,
}

impl<'a> Windows<'a> {
    /// The windows of `x` that a convolution multiplies by its weight.
    pub(super) fn new(g: &Conv2d, x: &'a [f32]) -> Self {
        Self {
            x,
            h: g.h_in,
            w: g.w_in,
            c: g.c_in,
            taps_h: g.kh,
            taps_w: g.kw,
            step: g.stride,
            top: -(g.padding as isize),
            left: -(g.padding as isize),
            h_out: g.h_out,
            w_out: g.w_out,
        }
    }

    /// Elements of a window.
    pub(super) fn patch(&self) -> usize {
        self.taps_h * self.taps_w * self.c
    }

    /// Where in x the pixels begin that row `p` of a window reads, for the windows of output row `i`. `None` if they are outside the
    /// image.
    fn pixels(&self, image: usize, i: usize, p: usize) -> Option<usize> {
        let row = self.top.checked_add_unsigned(i * self.step + p)?;
        let row = usize::try_from(row).ok().filter(|&row| row < self.h)?;
        Some((image * self.h + row) * self.w * self.c)
    }

    /// The part of a window's row that is inside the image, for the window at output column `j`: where it begins in its row of
    /// pixels, and which elements of the window's row it holds. Channels are last, so that this part is contiguous in memory.
    fn inside(&self, j: usize) -> (usize, Range<usize>) {
        let left = self.left.saturating_add_unsigned(j * self.step);
        let first = left.min(0).unsigned_abs().min(self.taps_w);
        let end = (self.w as isize - left).clamp(first as isize, self.taps_w as isize).unsigned_abs();
        (left.clamp(0, self.w as isize).unsigned_abs() * self.c, first * self.c..end * self.c)
    }

    /// Copies the elements `columns` of the windows in row `i`, columns `js`, of an image. Each window goes to a row of `to`; rows
    /// begin `stride` elements apart.
    fn copy_windows(
        &self,
        (image, i, js): (usize, usize, Range<usize>),
        columns: Range<usize>,
        to: &mut [f32],
        stride: usize,
    ) {
        let width = self.taps_w * self.c;
        let mut start = columns.start;
        while start < columns.end {
            let p = start / width;
            let wanted = start - p * width..width.min(columns.end - p * width);
            let pixels = self.pixels(image, i, p).map(|from| &self.x[from..from + self.w * self.c]);
            for (j, to) in js.clone().zip(to.chunks_mut(stride)) {
                let to = &mut to[start - columns.start..];
                let Some(pixels) = pixels else {
                    to[..wanted.len()].fill(0.0);
                    continue;
                };
                let (from, inside) = self.inside(j);
                if inside.len() == width {
                    copy_run(&pixels[from + wanted.start..], to, wanted.len());
                    continue;
                }
                let to = &mut to[..wanted.len()];
                let first = inside.start.clamp(wanted.start, wanted.end);
                let end = inside.end.clamp(first, wanted.end);
                to[..first - wanted.start].fill(0.0);
                to[end - wanted.start..].fill(0.0);
                if first < end {
                    let from = from + first - inside.start;
                    to[first - wanted.start..end - wanted.start]
                        .copy_from_slice(&pixels[from..from + end - first]);
                }
            }
            start += wanted.len();
        }
    }
}

/// Copies `count` elements. If they are fewer than a cache line, and both slices have room, it copies a whole line by one load and
/// one store. The superfluous elements land where the window's next row is copied afterwards, or behind the window's last row.
fn copy_run(from: &[f32], to: &mut [f32], count: usize) {
    match (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
        (Some(from), Some(to)) if count <= LANES => *to = *from,
        _ => to[..count].copy_from_slice(&from[..count]),
    }
}

impl Matrix for Windows<'_> {
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, to: &mut [f32]) {
        let mut row = rows.start;
        let mut to = to;
        while row < rows.end {
            let (j, line) = (row % self.w_out, row / self.w_out);
            let count = (self.w_out - j).min(rows.end - row);
            let place = (line / self.h_out, line % self.h_out, j..j + count);
            self.copy_windows(place, columns.clone(), to, PACKED_STRIDE);
            row += count;
            to = to.get_mut(count * PACKED_STRIDE..).unwrap_or_default();
        }
    }
}

/// Stores the windows of the images `images` as the rows of `columns`. Each row of windows is one task.
pub(super) fn im2col(threads: &Threads, g: &Conv2d, images: Range<usize>, x: &[f32], columns: &mut [f32]) {
    let windows = Windows::new(g, x);
    let tasks = columns.chunks_mut(g.w_out * g.patch()).take(images.len() * g.h_out).enumerate();
    threads.each(tasks, |(row, columns)| {
        let place = (images.start + row / g.h_out, row % g.h_out, 0..g.w_out);
        windows.copy_windows(place, 0..g.patch(), columns, g.patch());
    });
}

/// Computes the images `images` of dx: each pixel is the sum of its elements in all windows. Each image is one task.
pub(super) fn col2im(threads: &Threads, g: &Conv2d, images: Range<usize>, columns: &[f32], dx: &mut [f32]) {
    let windows = Windows::new(g, &[]);
    let image = g.h_in * g.w_in * g.c_in;
    let columns = columns.chunks(g.pixels() * g.patch());
    let dx = dx[images.start * image..images.end * image].chunks_mut(image);
    threads.each(dx.zip(columns), |(dx, columns)| {
        dx.fill(0.0);
        for (pixel, window) in columns.chunks_exact(g.patch()).enumerate() {
            let (i, j) = (pixel / g.w_out, pixel % g.w_out);
            let (to, inside) = windows.inside(j);
            for (p, row) in window.chunks_exact(g.kw * g.c_in).enumerate() {
                let Some(pixels) = windows.pixels(0, i, p) else { continue };
                let row = &row[inside.clone()];
                for (dx, value) in dx[pixels + to..].iter_mut().zip(row) {
                    *dx += value;
                }
            }
        }
    });
}
