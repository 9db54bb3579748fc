//! The gradient with respect to the images, gathered: no two tasks write the same pixel.

use crate::Cpu;
use crate::gemm::{Dense, Kernel, Panels, Right, ScratchSize, Stored, block_rows, multiply};
use crate::windows::Windows;
use crate::winograd::Winograd;
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use super::{multiply_windows, store};

/// Along one axis, the input pixels first, first + stride, ..: which taps of the kernel reach them, and from where.
///
/// Pixel first + stride · u gets dy at (first + stride · u + padding − tap) / stride for the taps that leave no
/// remainder. In descending order of taps those are neighbouring pixels of dy, beginning at u + start.
#[derive(Clone, Copy)]
struct Reach {
    first: usize,
    pixels: usize,
    taps: usize,
    lowest: usize,
    start: isize,
}

impl Reach {
    fn new(g: &Conv2d, first: usize, size_in: usize, kernel: usize) -> Self {
        let lowest = (first + g.padding) % g.stride;
        let taps = kernel.saturating_sub(lowest).div_ceil(g.stride);
        let start = ((first + g.padding) / g.stride) as isize - taps as isize + 1;
        Self { first, pixels: size_in.saturating_sub(first).div_ceil(g.stride), taps, lowest, start }
    }

    /// The kernel's place of the i-th tap in descending order.
    fn place(&self, g: &Conv2d, i: usize) -> usize {
        self.lowest + (self.taps - 1 - i) * g.stride
    }
}

/// dx of a convolution: for each remainder of the pixels modulo the stride, windows of dy times the taps that reach
/// those pixels, each tap's matrix transposed. At stride 1 that is one convolution with the kernel turned around.
pub(crate) fn conv2d_backward_input(
    cpu: &Cpu,
    g: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) -> Result<()> {
    if let Some(winograd) = Winograd::of(g) {
        return winograd.backward_input(cpu, g, w, dy, dx, None);
    }
    let kernel = cpu.kernel(g.c_in);
    let image = g.h_in * g.w_in * g.c_in;
    let dx = &mut dx[..g.n * image];
    let mut packed = cpu.take(Panels::elements(kernel, g.kh * g.kw * g.c_out, g.c_in))?;
    let mut rest = &mut packed[..];
    let mut products = Vec::new();
    for (a, b) in (0..g.stride).flat_map(|a| (0..g.stride).map(move |b| (a, b))) {
        let (rows, columns) = (Reach::new(g, a, g.h_in, g.kh), Reach::new(g, b, g.w_in, g.kw));
        let depth = rows.taps * columns.taps * g.c_out;
        let (part, others) = rest.split_at_mut(Panels::elements(kernel, depth, g.c_in));
        rest = others;
        pack_taps(cpu, kernel, g, (rows, columns), w, part);
        let windows = Windows {
            x: dy,
            h: g.h_out,
            w: g.w_out,
            c: g.c_out,
            taps_h: rows.taps,
            taps_w: columns.taps,
            step: 1,
            top: rows.start,
            left: columns.start,
            h_out: rows.pixels,
            w_out: columns.pixels,
        };
        products.push((rows, columns, windows, Panels::new(kernel, depth, g.c_in, part)));
    }
    if let [(_, _, windows, w)] = &products[..] {
        return multiply_windows(cpu, kernel, windows, *w, None, dx, None);
    }
    // One task is as many images as fill a block.
    let pixels = products.iter().map(|(rows, columns, ..)| rows.pixels * columns.pixels).max().unwrap_or(1);
    let block = block_rows(kernel, g.n * pixels);
    let images = block.div_ceil(pixels.max(1));
    let size = ScratchSize::new(kernel, Stored::Plain, block, g.c_in, false);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let tasks = dx.chunks_mut(images * image).enumerate();
    cpu.threads().each_with(tasks, size.cut(&mut memory), |(task, dx), scratch| {
        for (rows, columns, windows, w) in &products {
            let pixels = rows.pixels * columns.pixels;
            let place = |pixel: usize| {
                let (n, u, v) = (pixel / pixels, pixel % pixels / columns.pixels, pixel % columns.pixels);
                let (i, j) = (rows.first + u * g.stride, columns.first + v * g.stride);
                n * image + (i * g.w_in + j) * g.c_in
            };
            let (first, count) = (task * images * pixels, dx.len() / image * pixels);
            for start in (0..count).step_by(block) {
                let end = count.min(start + block);
                if windows.patch() == 0 {
                    (start..end).map(place).for_each(|at| dx[at..at + g.c_in].fill(0.0));
                    continue;
                }
                let a = (Stored::Plain, windows);
                let depth = 0..windows.patch();
                let tiles =
                    multiply(kernel, a, Right::Packed(*w), first + start..first + end, depth, scratch);
                let places: Vec<usize> = (start..end).map(place).collect();
                store(&tiles, places.len(), None, dx, |row| places[row]);
            }
        }
    });
    Ok(())
}

/// Packs the taps in descending order, each `[c_in, c_out]` transposed: `[taps · c_out, c_in]` in panels.
fn pack_taps(
    cpu: &Cpu,
    kernel: Kernel,
    g: &Conv2d,
    (rows, columns): (Reach, Reach),
    w: &[f32],
    to: &mut [f32],
) {
    let taps = rows.taps * columns.taps;
    cpu.threads().each(to.chunks_mut(g.c_out * kernel.columns).enumerate(), |(i, to)| {
        let (panel, tap) = (i / taps, i % taps);
        let place = rows.place(g, tap / columns.taps) * g.kw + columns.place(g, tap % columns.taps);
        let w = &w[place * g.c_in * g.c_out..(place + 1) * g.c_in * g.c_out];
        Dense::new(w, g.c_out).pack_transposed(panel, kernel.columns, to);
    });
}
