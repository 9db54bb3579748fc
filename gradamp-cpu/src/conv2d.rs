//! A convolution and its two gradients as matrix products. The convolution's windows are the rows of a matrix, which are copied
//! block by block and never stored all at once.

#[cfg(test)]
mod tests;

use gradamp_core::backend::Memory;
use gradamp_core::geometry::{Conv2d, Rows};
use gradamp_core::{Error, Result};

use crate::batch_norm::BlockSums;
use crate::bf16::Instructions;
use crate::device::Cpu;
use crate::elementwise::add_parts;
use crate::gemm::{Dense, Panels, Right, ScratchSize, Stored, Tiles, block_rows, multiply};
use crate::isa::Isa;
use crate::kernel::{Kernel, LANES};
use crate::mixed;
use crate::residue::Residue;
use crate::windows::Windows;
use crate::winograd::{Pixels, Winograd};

/// How a convolution and its gradients are computed.
enum Algorithm<'a> {
    /// With factors in bf16.
    Mixed(&'a Instructions),
    Winograd(Winograd),
    /// As products of windows and weights, in f32.
    Windows,
}

impl<'a> Algorithm<'a> {
    fn choose(cpu: &'a Cpu, g: &Conv2d) -> Self {
        let winograd = Winograd::choose(g);
        match cpu.bf16() {
            // These instructions multiply twice as many factors in bf16 as in f32, and Winograd's algorithms spare three of four.
            Some(bf16) if cpu.isa() != Isa::Avx512Bf16 || winograd.is_none() => Self::Mixed(bf16),
            _ => winograd.map_or(Self::Windows, Self::Winograd),
        }
    }
}

/// Whether the convolution can read a rectified batch norm while it computes it, and can compute sums of what it writes.
pub(crate) fn fuses(cpu: &Cpu, g: &Conv2d) -> bool {
    !matches!(Algorithm::choose(cpu, g), Algorithm::Windows)
}

/// Whether the weight gradient too can read a rectified batch norm while it computes it.
pub(crate) fn fuses_weight_gradient(cpu: &Cpu, g: &Conv2d) -> bool {
    matches!(Algorithm::choose(cpu, g), Algorithm::Mixed(_))
}

/// The error for a fused convolution that only a product of windows computes.
fn not_fused(cpu: &Cpu, g: &Conv2d) -> Error {
    Error::Backend {
        backend: cpu.name(),
        message: format!("expected a convolution that is fused, found {g:?}"),
    }
}

/// y = conv2d(x, w) + bias. If there are `sums`, computes those of y too where tasks write whole blocks of rows. Otherwise
/// [`BlockSums::finish`] has to compute them.
///
/// **Errors:** no memory; x is a batch norm, and the convolution is not fused: see [`fuses`].
pub(crate) fn conv2d(
    cpu: &Cpu,
    g: &Conv2d,
    x: Pixels<'_>,
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    match Algorithm::choose(cpu, g) {
        Algorithm::Mixed(bf16) => mixed::conv2d(cpu, bf16, g, x, w, bias, y, sums),
        Algorithm::Winograd(winograd) => winograd.conv2d(cpu, g, x, w, bias, y, sums),
        Algorithm::Windows => {
            let (x, None) = x.parts() else { return Err(not_fused(cpu, g)) };
            let kernel = cpu.kernel(g.c_out);
            let mut packed = cpu.allocate(Panels::elements(kernel, g.patch(), g.c_out))?;
            let w = Dense::new(&w[..g.patch() * g.c_out], g.c_out);
            let w = w.pack_all(cpu.threads(), kernel, &mut packed);
            let y = &mut y[..g.n * g.pixels() * g.c_out];
            let bias = bias.map(|bias| &bias[..g.c_out]);
            multiply_windows(cpu, kernel, &Windows::new(g, x), w, bias, y, sums)
        }
    }
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

/// dx of a convolution. The pixels of dx are grouped by their remainder modulo the stride along both axes. Each group is a product:
/// windows of dy, times the transposed matrices of the taps that read these pixels. At stride 1 there is one group, and dx is the
/// convolution of dy with the rotated kernel.
///
/// The `sums` are those of dx, and are computed as by [`conv2d`].
///
/// **Errors:** no memory; there are sums, and the convolution is not fused: see [`fuses`].
pub(crate) fn conv2d_backward_input(
    cpu: &Cpu,
    g: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    match Algorithm::choose(cpu, g) {
        Algorithm::Mixed(bf16) => return mixed::backward_input(cpu, bf16, g, w, dy, dx, sums),
        Algorithm::Winograd(winograd) => return winograd.backward_input(cpu, g, w, dy, dx, sums),
        Algorithm::Windows if sums.is_some() => return Err(not_fused(cpu, g)),
        Algorithm::Windows => (),
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
///
/// **Errors:** no memory; x is a batch norm, and the gradient is not fused: see [`fuses_weight_gradient`].
pub(crate) fn conv2d_backward_weight(
    cpu: &Cpu,
    g: &Conv2d,
    x: Pixels<'_>,
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    let algorithm = Algorithm::choose(cpu, g);
    if let Algorithm::Mixed(bf16) = algorithm {
        return mixed::backward_weight(cpu, bf16, g, x, dy, dw);
    }
    let (x, None) = x.parts() else { return Err(not_fused(cpu, g)) };
    if let Algorithm::Winograd(winograd) = algorithm {
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
