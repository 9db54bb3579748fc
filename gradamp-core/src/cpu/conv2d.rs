//! Windows of images as rows of a matrix, and back.

use std::ops::Range;

use crate::geometry::Conv2d;

use super::threads::Threads;

/// The windows of some images as rows of `columns`; one row of windows is one task.
pub(super) fn im2col(threads: &Threads, g: &Conv2d, images: Range<usize>, x: &[f32], columns: &mut [f32]) {
    let rows = images.len() * g.h_out;
    let tasks = columns.chunks_mut(g.w_out * g.patch()).take(rows).enumerate();
    threads.each(tasks, |(row, columns)| {
        let (image, i) = (images.start + row / g.h_out, row % g.h_out);
        for (j, to) in columns.chunks_exact_mut(g.patch()).enumerate() {
            for (p, to) in to.chunks_exact_mut(g.kw * g.c_in).enumerate() {
                to.fill(0.0);
                if let Some((from, within)) = g.window_row(image, i, j, p) {
                    to[within.clone()].copy_from_slice(&x[from..from + within.len()]);
                }
            }
        }
    });
}

/// The sum over windows for some images of dx; one image is one task.
pub(super) fn col2im(threads: &Threads, g: &Conv2d, images: Range<usize>, columns: &[f32], dx: &mut [f32]) {
    let image = g.h_in * g.w_in * g.c_in;
    let columns = columns.chunks(g.pixels() * g.patch());
    let dx = dx[images.start * image..images.end * image].chunks_mut(image);
    threads.each(dx.zip(columns), |(dx, columns)| {
        dx.fill(0.0);
        for (pixel, windows) in columns.chunks_exact(g.patch()).enumerate() {
            let (i, j) = (pixel / g.w_out, pixel % g.w_out);
            for (p, from) in windows.chunks_exact(g.kw * g.c_in).enumerate() {
                if let Some((to, within)) = g.window_row(0, i, j, p) {
                    for (dx, from) in dx[to..to + within.len()].iter_mut().zip(&from[within]) {
                        *dx += from;
                    }
                }
            }
        }
    });
}

impl Conv2d {
    /// Row p of the window of output pixel (i, j): where in x its part inside the image begins, and which of the
    /// window row's `kw · c_in` elements that part is. `None` where no pixel of it is in the image.
    fn window_row(&self, image: usize, i: usize, j: usize, p: usize) -> Option<(usize, Range<usize>)> {
        let row = (i * self.stride + p).checked_sub(self.padding).filter(|&row| row < self.h_in)?;
        let left = j * self.stride; // in the padded image
        let first = self.padding.saturating_sub(left).min(self.kw);
        let end = (self.padding + self.w_in).saturating_sub(left).min(self.kw);
        if first >= end {
            return None;
        }
        let pixel = (image * self.h_in + row) * self.w_in + left + first - self.padding;
        Some((pixel * self.c_in, first * self.c_in..end * self.c_in))
    }
}
