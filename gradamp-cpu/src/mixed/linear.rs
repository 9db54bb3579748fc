//! A product of matrices with factors in bf16.

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::Gemm;

use super::tiles::{Output, Place, multiply};
use super::weights::{Matrices, step_elements, steps};
use crate::bf16::{
    Bf16, COLUMNS, DEPTH, Instructions, RIGHT_TILE, ROWS, Rows, Step, Steps, halves, halves_of,
};
use crate::device::Cpu;
use crate::shared_mut::SharedMut;

/// C = alpha · op(A) · op(B) + beta · C. The shape is not empty.
pub(crate) fn gemm(
    cpu: &Cpu,
    instructions: &Instructions,
    g: &Gemm,
    alpha: f32,
    a: &[f32],
    b: &[f32],
    beta: f32,
    c: &mut [f32],
) -> Result<()> {
    let (a, b) = (&a[g.a_offset..g.a_offset + g.m * g.k], &b[g.b_offset..g.b_offset + g.k * g.n]);
    let c = &mut c[g.c_offset..g.c_offset + g.m * g.n];
    let kernel = instructions.kernels.for_columns(g.n);
    let (depth, panels) = (steps(g.k) * DEPTH, g.n.div_ceil(kernel.columns));
    let mut left = cpu.allocate((g.m.next_multiple_of(ROWS) * depth).div_ceil(2))?;
    let tiles = halves(&mut left).chunks_mut(ROWS * depth).enumerate();
    cpu.threads().each(tiles, |(tile, to)| round_tile(instructions, g, a, tile * ROWS, to));
    let matrices = Matrices {
        values: b,
        taps: &[0],
        depth: g.k,
        columns: g.n,
        row: if g.transpose_b { g.k } else { g.n },
        transposed: g.transpose_b,
    };
    let panel = matrices.panel(kernel);
    let mut right = cpu.allocate((panels * panel).div_ceil(2))?;
    let packed = halves(&mut right).chunks_mut(panel).enumerate();
    cpu.threads().each(packed, |(i, to)| matrices.pack(instructions, kernel, i, to));
    let all: Steps = (0..steps(g.k)).map(|s| Step { a: s * DEPTH, b: s * step_elements(kernel) }).collect();
    let (left, right) = (halves_of(&left), halves_of(&right));
    let block = kernel.tiles * ROWS;
    cpu.threads().each(c.chunks_mut(block * g.n).enumerate(), |(i, c)| {
        let rows = c.len() / g.n;
        let mut product = vec![0.0; if (alpha, beta) == (1.0, 0.0) { 0 } else { c.len() }];
        let values = SharedMut::new(if product.is_empty() { &mut *c } else { &mut product });
        for number in 0..panels {
            let first = number * kernel.columns;
            let places = (0..rows).step_by(ROWS).map(|row| Place {
                a: (i * block + row) * depth,
                start: row * g.n + first,
                rows: ROWS.min(rows - row),
            });
            let (places, b) = (places.collect::<Vec<_>>(), &right[number * panel..][..panel]);
            let to = Output { values, row: g.n, columns: g.n - first };
            // SAFETY: these rows of C, or of the product, belong to this task.
            unsafe { multiply(kernel, (left, depth), &all, b, Some(&[0.0; 2 * COLUMNS]), &places, to) }
        }
        for (c, product) in c.iter_mut().zip(&product) {
            *c = if beta == 0.0 { alpha * product } else { alpha * product + beta * *c };
        }
    });
    Ok(())
}

/// Rounds 16 rows of op(A), from row `first` on, and fills them up with zeros.
fn round_tile(instructions: &Instructions, g: &Gemm, a: &[f32], first: usize, to: &mut [Bf16]) {
    let depth = to.len() / ROWS;
    let rows = first..g.m.min(first + ROWS);
    to.fill(Bf16::default());
    if !g.transpose_a {
        for (row, to) in rows.zip(to.chunks_mut(depth)) {
            (instructions.rows.round)(&a[row * g.k..(row + 1) * g.k], Rows::one(g.k), None, to);
        }
        return;
    }
    for start in (0..g.k).step_by(DEPTH) {
        let (mut rounded, mut pairs) = ([Bf16::default(); RIGHT_TILE], [Bf16::default(); RIGHT_TILE]);
        for (k, to) in (start..g.k.min(start + DEPTH)).zip(rounded.chunks_mut(COLUMNS)) {
            (instructions.rows.round)(&a[k * g.m + rows.start..], Rows::one(rows.len()), None, to);
        }
        (instructions.rows.pair)(&rounded, COLUMNS, &mut pairs);
        (instructions.rows.transpose)(&pairs, 2 * COLUMNS, &mut to[start..], depth);
    }
}
