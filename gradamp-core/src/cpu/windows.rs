//! Windows of images as rows of a matrix: gathered block by block for the products, or whole by im2col.

use std::ops::Range;

use crate::geometry::Conv2d;

use super::gemm::{Matrix, STRIDE};
use super::threads::Threads;

/// The windows of `[n, h, w, c]` images as a matrix `[n·h_out·w_out, taps_h·taps_w·c]` that is never stored whole.
///
/// Window (i, j) begins at pixel (i · step + top, j · step + left); its elements outside the image are 0.
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
    /// Those that a convolution multiplies with its weight.
    pub(super) fn of(g: &Conv2d, x: &'a [f32]) -> Self {
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

    /// Row `p` of the window (i, j): where its part inside the image begins in x, and which elements of the window's
    /// row that part is. Channels are last, so that it is one run in memory. `None` where nothing is in the image.
    fn run(&self, image: usize, i: usize, j: usize, p: usize) -> Option<(usize, Range<usize>)> {
        let row = self.top.checked_add_unsigned(i * self.step + p)?;
        let row = usize::try_from(row).ok().filter(|&row| row < self.h)?;
        let left = self.left.checked_add_unsigned(j * self.step)?;
        let first = left.min(0).unsigned_abs();
        let end = self.taps_w.min(usize::try_from(self.w as isize - left).ok()?);
        let column = left.max(0).unsigned_abs();
        let from = ((image * self.h + row) * self.w + column) * self.c;
        (first < end).then_some((from, first * self.c..end * self.c))
    }

    /// Copies some elements of the window (i, j).
    fn copy_window(&self, (image, i, j): (usize, usize, usize), columns: Range<usize>, to: &mut [f32]) {
        let width = self.taps_w * self.c;
        let mut to = &mut to[..columns.len()];
        let mut start = columns.start;
        while start < columns.end {
            let p = start / width;
            let wanted = start - p * width..width.min(columns.end - p * width);
            let (part, rest) = to.split_at_mut(wanted.len());
            match self.run(image, i, j, p) {
                Some((from, inside)) => {
                    let first = inside.start.clamp(wanted.start, wanted.end);
                    let end = inside.end.clamp(first, wanted.end);
                    part[..first - wanted.start].fill(0.0);
                    if end > first {
                        let from = from + first - inside.start;
                        part[first - wanted.start..end - wanted.start]
                            .copy_from_slice(&self.x[from..from + end - first]);
                    }
                    part[end - wanted.start..].fill(0.0);
                }
                None => part.fill(0.0),
            }
            start += wanted.len();
            to = rest;
        }
    }
}

impl Matrix for Windows<'_> {
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, to: &mut [f32]) {
        let (mut j, row) = (rows.start % self.w_out, rows.start / self.w_out);
        let (mut i, mut image) = (row % self.h_out, row / self.h_out);
        for (_, to) in rows.zip(to.chunks_mut(STRIDE)) {
            self.copy_window((image, i, j), columns.clone(), to);
            j += 1;
            if j == self.w_out {
                (i, j) = (i + 1, 0);
            }
            if i == self.h_out {
                (image, i) = (image + 1, 0);
            }
        }
    }
}

/// The windows of some images as rows of `columns`; one row of windows is one task.
pub(super) fn im2col(threads: &Threads, g: &Conv2d, images: Range<usize>, x: &[f32], columns: &mut [f32]) {
    let windows = Windows::of(g, x);
    let tasks = columns.chunks_mut(g.w_out * g.patch()).take(images.len() * g.h_out).enumerate();
    threads.each(tasks, |(row, columns)| {
        let (image, i) = (images.start + row / g.h_out, row % g.h_out);
        for (j, to) in columns.chunks_exact_mut(g.patch()).enumerate() {
            windows.copy_window((image, i, j), 0..g.patch(), to);
        }
    });
}

/// The sum over windows for some images of dx; one image is one task.
pub(super) fn col2im(threads: &Threads, g: &Conv2d, images: Range<usize>, columns: &[f32], dx: &mut [f32]) {
    let windows = Windows::of(g, &[]);
    let image = g.h_in * g.w_in * g.c_in;
    let columns = columns.chunks(g.pixels() * g.patch());
    let dx = dx[images.start * image..images.end * image].chunks_mut(image);
    threads.each(dx.zip(columns), |(dx, columns)| {
        dx.fill(0.0);
        for (pixel, window) in columns.chunks_exact(g.patch()).enumerate() {
            let (i, j) = (pixel / g.w_out, pixel % g.w_out);
            for (p, row) in window.chunks_exact(g.kw * g.c_in).enumerate() {
                if let Some((to, inside)) = windows.run(0, i, j, p) {
                    for (dx, value) in dx[to..].iter_mut().zip(&row[inside]) {
                        *dx += value;
                    }
                }
            }
        }
    });
}
