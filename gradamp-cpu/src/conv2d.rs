//! A convolution and its two gradients as matrix products. The convolution's windows are the rows of a matrix, which are copied
//! block by block and never stored all at once.

#[cfg(test)]
mod tests;

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::{Conv2d, Rows};

use crate::batch_norm::BlockSums;
use crate::device::Cpu;
use crate::elementwise::add_parts;
use crate::gemm::{Dense, Panels, Right, ScratchSize, Stored, Tiles, block_rows, multiply};
use crate::kernel::{Kernel, LANES};
use crate::windows::Windows;
use crate::winograd::{Pixels, Winograd};

/// y = conv2d(x, w) + bias, as the product windows · w. If there are `sums`, computes those of y as well.
pub(crate) fn conv2d(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    if let Some(winograd) = Winograd::choose(g) {
        return winograd.conv2d(cpu, g, Pixels::stored(x), w, bias, y, sums);
    }
    let kernel = cpu.kernel(g.c_out);
    let mut packed = cpu.allocate(Panels::elements(kernel, g.patch(), g.c_out))?;
    let w = Dense::new(&w[..g.patch() * g.c_out], g.c_out).pack_all(cpu.threads(), kernel, &mut packed);
    let y = &mut y[..g.n * g.pixels() * g.c_out];
    multiply_windows(cpu, kernel, &Windows::new(g, x), w, bias.map(|bias| &bias[..g.c_out]), y, sums)
}

/// y = windows · b + bias for all windows. Each task computes one block of rows.
fn multiply_windows(
    cpu: &Cpu,
    kernel: Kernel,
    windows: &Windows<'_>,
    b: Panels<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    let rows = y.len() / b.columns;
    let block = block_rows(kernel, rows);
    let size = ScratchSize::new(kernel, Stored::Plain, block, b.columns, false);
    let mut memory = cpu.allocate(size.elements() * cpu.threads().count())?;
    let g = Rows { rows, channels: b.columns };
    let outputs = BlockSums::for_tasks(sums, &g, block);
    let blocks = y.chunks_mut(block * b.columns).zip(outputs).enumerate();
    cpu.threads().each_with(blocks, size.cut(&mut memory), |(i, (y, sums)), scratch| {
        let rows = i * block..rows.min((i + 1) * block);
        let a = (Stored::Plain, windows);
        let tiles = multiply(kernel, a, Right::Packed(b), rows.clone(), 0..windows.patch(), scratch);
        store(&tiles, rows.len(), bias, y, |row| row * b.columns);
        if let Some(sums) = sums {
            sums.compute(cpu, y);
        }
    });
    Ok(())
}

/// Along one axis, the input pixels first, first + stride, first + 2 · stride, ..: the taps of the kernel that read them.
///
/// Output pixel o reads input pixel o · stride + tap − padding. The gradient of input pixel first + stride · u is therefore a sum
/// over the taps for which (first + stride · u + padding − tap) is a multiple of the stride; these taps are the same for every u.
/// In descending order of the taps, the pixels of dy that they multiply are neighbours, and the first of them is u + start.
#[derive(Clone, Copy)]
struct Residue {
    first: usize,
    pixels: usize,
    taps: usize,
    lowest: usize,
    start: isize,
}

impl Residue {
    fn new(g: &Conv2d, first: usize, size_in: usize, kernel: usize) -> Self {
        let lowest = (first + g.padding) % g.stride;
        let taps = kernel.saturating_sub(lowest).div_ceil(g.stride);
        let start = ((first + g.padding) / g.stride) as isize - taps as isize + 1;
        Self { first, pixels: size_in.saturating_sub(first).div_ceil(g.stride), taps, lowest, start }
    }

    /// The position in the kernel of the i-th tap in descending order.
    fn place(&self, g: &Conv2d, i: usize) -> usize {
        self.lowest + (self.taps - 1 - i) * g.stride
    }
}

/// dx of a convolution. The pixels of dx are grouped by their remainder modulo the stride along both axes. Each group is a product:
/// windows of dy, times the transposed matrices of the taps that read these pixels. At stride 1 there is one group, and dx is the
/// convolution of dy with the rotated kernel.
pub(crate) fn conv2d_backward_input(
    cpu: &Cpu,
    g: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) -> Result<()> {
    if let Some(winograd) = Winograd::choose(g) {
        return winograd.backward_input(cpu, g, w, dy, dx, None);
    }
    let kernel = cpu.kernel(g.c_in);
    let image = g.h_in * g.w_in * g.c_in;
    let dx = &mut dx[..g.n * image];
    let mut packed = cpu.allocate(Panels::elements(kernel, g.kh * g.kw * g.c_out, g.c_in))?;
    let mut rest = &mut packed[..];
    let mut products = Vec::new();
    for (a, b) in (0..g.stride).flat_map(|a| (0..g.stride).map(move |b| (a, b))) {
        let (rows, columns) = (Residue::new(g, a, g.h_in, g.kh), Residue::new(g, b, g.w_in, g.kw));
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
    // Each task computes as many images as fill a block.
    let pixels = products.iter().map(|(rows, columns, ..)| rows.pixels * columns.pixels).max().unwrap_or(1);
    let block = block_rows(kernel, g.n * pixels);
    let images = block.div_ceil(pixels.max(1));
    let size = ScratchSize::new(kernel, Stored::Plain, block, g.c_in, false);
    let mut memory = cpu.allocate(size.elements() * cpu.threads().count())?;
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

/// Packs the taps in descending order. Each tap's matrix `[c_in, c_out]` is transposed: the panels hold `[taps · c_out, c_in]`.
fn pack_taps(
    cpu: &Cpu,
    kernel: Kernel,
    g: &Conv2d,
    (rows, columns): (Residue, Residue),
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

/// dw of a convolution: windowsᵀ · dy. The sum over pixels is cut into chunks, so that many threads have work even if dw is small.
/// The sums of the chunks are added in the order of the chunks.
pub(crate) fn conv2d_backward_weight(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    if let Some(winograd) = Winograd::choose(g) {
        return winograd.backward_weight(cpu, g, x, dy, dw);
    }
    /// Elements of a block of dw: they fill a quarter of a second-level cache of 1 MiB.
    const BLOCK: usize = 64 * 1024;
    /// The number of tasks that keeps many threads busy.
    const TASKS: usize = 32;
    /// The smallest number of pixels for which a separate chunk pays.
    const PIXELS: usize = 1024;

    let kernel = cpu.kernel(g.c_out);
    let (pixels, patch, elements) = (g.n * g.pixels(), g.patch(), g.patch() * g.c_out);
    let most = (BLOCK / g.c_out.next_multiple_of(kernel.columns)).max(8 * kernel.rows);
    let blocks = patch.div_ceil(most);
    let rows = patch.div_ceil(blocks).next_multiple_of(kernel.rows);
    let chunks = TASKS.div_ceil(blocks).min(pixels.div_ceil(PIXELS));
    let chunk = pixels.div_ceil(chunks);
    let chunks = pixels.div_ceil(chunk);

    // If many blocks read dy, it is packed once for all of them. Otherwise each block packs it piece by piece, in less memory.
    let dense = Dense::new(&dy[..pixels * g.c_out], g.c_out);
    let packs_once = blocks >= 4;
    let mut packed = cpu.allocate(if packs_once { Panels::elements(kernel, pixels, g.c_out) } else { 0 })?;
    let dy = match packs_once {
        true => Right::Packed(dense.pack_all(cpu.threads(), kernel, &mut packed)),
        false => Right::Plain(dense),
    };
    let size = ScratchSize::new(kernel, Stored::Transposed, rows, g.c_out, !packs_once);
    let mut memory = cpu.allocate(size.elements() * cpu.threads().count())?;
    let windows = Windows::new(g, x);
    let dw = &mut dw[..elements];
    let mut product = |dw: &mut [f32]| {
        let parts = dw.chunks_mut(elements).enumerate();
        let tasks = parts.flat_map(|(chunk, dw)| {
            dw.chunks_mut(rows * g.c_out).enumerate().map(move |(block, dw)| (chunk, block, dw))
        });
        cpu.threads().each_with(tasks, size.cut(&mut memory), |(part, block, dw), scratch| {
            let rows = block * rows..patch.min((block + 1) * rows);
            let depth = part * chunk..pixels.min((part + 1) * chunk);
            let tiles = multiply(kernel, (Stored::Transposed, &windows), dy, rows, depth, scratch);
            store(&tiles, dw.len() / g.c_out, None, dw, |row| row * g.c_out);
        });
    };
    if chunks == 1 {
        product(dw);
        return Ok(());
    }
    let mut parts = cpu.allocate(chunks * elements)?;
    product(&mut parts);
    add_parts(cpu.threads(), &parts, dw);
    Ok(())
}

/// Copies cache line by cache line. Rows of C are short, so that a call of `memcpy` for each of them would be slower.
fn copy_lines(from: &[f32], to: &mut [f32]) {
    let ((lines, rest), (to_lines, to_rest)) = (from.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (to, line) in to_lines.iter_mut().zip(lines) {
        *to = *line;
    }
    if !rest.is_empty() {
        to_rest.copy_from_slice(rest);
    }
}

/// Stores rows of C + bias. Row r begins at element `place(r)` of `to`.
#[inline(always)]
fn store(
    tiles: &Tiles<'_>,
    rows: usize,
    bias: Option<&[f32]>,
    to: &mut [f32],
    place: impl Fn(usize) -> usize,
) {
    tiles.rows(rows, |row, from, values| {
        let to = &mut to[place(row) + from..][..values.len()];
        match bias {
            None => copy_lines(values, to),
            Some(bias) => {
                for ((to, value), bias) in to.iter_mut().zip(values).zip(&bias[from..]) {
                    *to = value + bias;
                }
            }
        }
    });
}
