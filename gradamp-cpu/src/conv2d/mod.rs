//! The three passes of a convolution as matrix products over windows that are gathered block by block.

mod backward_input;
mod backward_weight;
#[cfg(test)]
mod tests;

use gradamp_core::Result;
use gradamp_core::geometry::{Conv2d, Rows};

use super::Cpu;
use super::batch_norm::Blocks;
use super::gemm::{Dense, Kernel, LANES, Panels, Right, ScratchSize, Stored, Tiles, block_rows, multiply};
use super::windows::Windows;
use super::winograd::{Pixels, Winograd};

pub(super) use backward_input::conv2d_backward_input;
pub(super) use backward_weight::conv2d_backward_weight;

/// y = conv2d(x, w) + bias: windows · w; and what is to be found in y, where its blocks are whole rows.
pub(super) fn conv2d(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    found: Option<&mut Blocks<'_>>,
) -> Result<()> {
    if let Some(winograd) = Winograd::of(g) {
        return winograd.conv2d(cpu, g, Pixels::stored(x), w, bias, y, found);
    }
    let kernel = cpu.kernel(g.c_out);
    let mut packed = cpu.take(Panels::elements(kernel, g.patch(), g.c_out))?;
    let w = Dense::new(&w[..g.patch() * g.c_out], g.c_out).pack_all(cpu.threads(), kernel, &mut packed);
    let y = &mut y[..g.n * g.pixels() * g.c_out];
    multiply_windows(cpu, kernel, &Windows::of(g, x), w, bias.map(|bias| &bias[..g.c_out]), y, found)
}

/// y = windows · b + bias for all windows, one block of rows a task.
fn multiply_windows(
    cpu: &Cpu,
    kernel: Kernel,
    windows: &Windows<'_>,
    b: Panels<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    found: Option<&mut Blocks<'_>>,
) -> Result<()> {
    let rows = y.len() / b.columns;
    let block = block_rows(kernel, rows);
    let size = ScratchSize::new(kernel, Stored::Plain, block, b.columns, false);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let g = Rows { rows, channels: b.columns };
    let room = Blocks::room_if_wanted(found, &g, block);
    let blocks = y.chunks_mut(block * b.columns).zip(room).enumerate();
    cpu.threads().each_with(blocks, size.cut(&mut memory), |(i, (y, found)), scratch| {
        let rows = i * block..rows.min((i + 1) * block);
        let a = (Stored::Plain, windows);
        let tiles = multiply(kernel, a, Right::Packed(b), rows.clone(), 0..windows.patch(), scratch);
        store(&tiles, rows.len(), bias, y, |row| row * b.columns);
        if let Some(found) = found {
            found.fill(cpu, y);
        }
    });
    Ok(())
}

/// Copies line by line, without a call for each: rows of C are short.
fn copy_lines(from: &[f32], to: &mut [f32]) {
    let ((lines, rest), (to_lines, to_rest)) = (from.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    for (to, line) in to_lines.iter_mut().zip(lines) {
        *to = *line;
    }
    if !rest.is_empty() {
        to_rest.copy_from_slice(rest);
    }
}

/// Stores rows of C + bias where `place` says that each begins.
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
