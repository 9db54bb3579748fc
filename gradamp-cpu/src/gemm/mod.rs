//! Matrix products: operands are packed in blocks, and micro-kernels, chosen at run time, multiply them.
//!
//! C = A · B is computed in blocks. One thread computes a block from beginning to end. A block of A is copied ([`Matrix`])
//! to rows at a fixed stride, and a block of B to panels as wide as the micro-kernel ([`Panels`]). The micro-kernel then
//! adds their product to a block of C ([`Tiles`]), which stays in the second-level cache until the caller stores it.
//! The summed dimension is cut at fixed positions and added up in order, so that the number of threads changes no bit.

mod pack;

use std::ops::Range;

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::Gemm;

use crate::device::Cpu;
use crate::kernel::{DEPTH, Kernel, LeftLayout, PACKED_STRIDE};

pub(crate) use pack::{Dense, Matrix, Panels, Tiles};

/// How the left operand is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[m, k]`: its rows belong to the rows of C.
    Plain,
    /// `[k, m]`: its rows are steps of the summed dimension.
    Transposed,
}

/// The right operand.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Packed as a whole, before the product. Every block of C reads it.
    Packed(Panels<'a>),
    /// Stored as `[k, n]`. Every block of C packs it for itself, piece by piece.
    Plain(Dense<'a>),
}

/// The memory that a thread works in: a packed block of A, a packed block of B for [`Right::Plain`], and a block of C.
pub(crate) struct Scratch<'a> {
    a: &'a mut [f32],
    b: &'a mut [f32],
    c: &'a mut [f32],
}

/// The lengths of the parts `a`, `b` and `c` of a [`Scratch`].
#[derive(Clone, Copy)]
pub(crate) struct ScratchSize([usize; 3]);

impl ScratchSize {
    /// The lengths for blocks of C of `rows` rows and `columns` columns. `packs_right` is true for [`Right::Plain`].
    pub(crate) fn new(
        kernel: Kernel,
        stored: Stored,
        rows: usize,
        columns: usize,
        packs_right: bool,
    ) -> Self {
        let columns = columns.next_multiple_of(kernel.columns);
        let rows = rows.next_multiple_of(kernel.rows);
        let stored_rows = if stored == Stored::Plain { rows } else { DEPTH };
        Self([stored_rows * PACKED_STRIDE, if packs_right { DEPTH * columns } else { 0 }, rows * columns])
    }

    /// Elements for one thread.
    pub(crate) fn elements(self) -> usize {
        self.0.iter().sum()
    }

    /// Cuts `memory` into a scratch for each thread.
    pub(crate) fn cut(self, memory: &mut [f32]) -> impl Iterator<Item = Scratch<'_>> {
        let [a, b, _] = self.0;
        memory.chunks_exact_mut(self.elements()).map(move |memory| {
            let (a, rest) = memory.split_at_mut(a);
            let (b, c) = rest.split_at_mut(b);
            Scratch { a, b, c }
        })
    }
}

/// Rows of C in one block: a multiple of the micro-kernel's rows. If there are enough rows, they make at least 16 blocks.
pub(crate) fn block_rows(kernel: Kernel, rows: usize) -> usize {
    rows.div_ceil(16).next_multiple_of(kernel.rows).min(8 * kernel.rows)
}

/// Computes `rows` of C = op(A) · B, summed over `depth`.
pub(crate) fn multiply<'c>(
    kernel: Kernel,
    (stored, a): (Stored, &impl Matrix),
    b: Right<'_>,
    rows: Range<usize>,
    depth: Range<usize>,
    scratch: &'c mut Scratch<'_>,
) -> Tiles<'c> {
    let tiles = rows.len().div_ceil(kernel.rows);
    let columns = match b {
        Right::Packed(b) => b.columns,
        Right::Plain(b) => b.columns,
    };
    let mut c = Tiles::new(kernel, tiles * kernel.rows, columns, scratch.c);
    for (start, end) in pieces(&depth) {
        let (b, within) = match b {
            Right::Packed(b) => (b, start..end),
            Right::Plain(b) => {
                for (panel, to) in scratch.b.chunks_mut((end - start) * kernel.columns).enumerate() {
                    b.pack(panel, kernel.columns, start..end, to);
                }
                (Panels::new(kernel, end - start, columns, scratch.b), 0..end - start)
            }
        };
        // The number of tiles that a packed block of A holds.
        let (step, left) = match stored {
            Stored::Plain => (tiles, LeftLayout::Rows),
            Stored::Transposed => (DEPTH / kernel.rows, LeftLayout::Steps(PACKED_STRIDE)),
        };
        for first in (0..tiles).step_by(step) {
            let last = tiles.min(first + step);
            let part = rows.start + first * kernel.rows..rows.end.min(rows.start + last * kernel.rows);
            match stored {
                Stored::Plain => a.copy(part, start..end, scratch.a),
                Stored::Transposed => a.copy(start..end, part, scratch.a),
            }
            for panel in 0..b.count() {
                let b = b.piece(panel, within.clone());
                let c = c.tiles(panel, first..last);
                kernel.multiply(left, last - first, end - start, scratch.a, b, c, start > depth.start);
            }
        }
    }
    c
}

/// Cuts the summed dimension into pieces of nearly equal length, at most [`DEPTH`].
fn pieces(depth: &Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let length = depth.len().div_ceil(depth.len().div_ceil(DEPTH).max(1)).next_multiple_of(16).max(16);
    let Range { start, end } = *depth;
    (start..end).step_by(length).map(move |start| (start, end.min(start + length)))
}

/// C = alpha · op(A) · op(B) + beta · C
pub(crate) fn gemm(
    cpu: &Cpu,
    g: &Gemm,
    alpha: f32,
    a: &[f32],
    b: &[f32],
    beta: f32,
    c: &mut [f32],
) -> Result<()> {
    let kernel = cpu.kernel(g.n);
    let c = &mut c[g.c_offset..g.c_offset + g.m * g.n];
    if c.is_empty() {
        return Ok(());
    }
    if g.k == 0 {
        c.iter_mut().for_each(|c| *c = if beta == 0.0 { 0.0 } else { beta * *c });
        return Ok(());
    }
    let b = &b[g.b_offset..g.b_offset + g.k * g.n];
    let mut packed = cpu.allocate(Panels::elements(kernel, g.k, g.n))?;
    let b = if g.transpose_b {
        cpu.threads().each(packed.chunks_mut(g.k * kernel.columns).enumerate(), |(panel, to)| {
            Dense::new(b, g.k).pack_transposed(panel, kernel.columns, to);
        });
        Panels::new(kernel, g.k, g.n, &packed)
    } else {
        Dense::new(b, g.n).pack_all(cpu.threads(), kernel, &mut packed)
    };
    let b = Right::Packed(b);
    let a = &a[g.a_offset..g.a_offset + g.m * g.k];
    let a = match g.transpose_a {
        false => (Stored::Plain, &Dense::new(a, g.k)),
        true => (Stored::Transposed, &Dense::new(a, g.m)),
    };
    let block = block_rows(kernel, g.m);
    let size = ScratchSize::new(kernel, a.0, block, g.n, false);
    let mut memory = cpu.allocate(size.elements() * cpu.threads().count())?;
    let blocks = c.chunks_mut(block * g.n).enumerate();
    cpu.threads().each_with(blocks, size.cut(&mut memory), |(i, c), scratch| {
        let rows = i * block..g.m.min((i + 1) * block);
        let tiles = multiply(kernel, a, b, rows, 0..g.k, scratch);
        tiles.rows(c.len() / g.n, |row, from, values| {
            for (c, &v) in c[row * g.n + from..].iter_mut().zip(values) {
                *c = if beta == 0.0 { alpha * v } else { alpha * v + beta * *c };
            }
        });
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_close, each_isa, random, same_bits};

    fn naive(g: &Gemm, alpha: f32, a: &[f32], b: &[f32], beta: f32, c: &[f32]) -> Vec<f64> {
        let mut out: Vec<f64> = c.iter().map(|&c| f64::from(c)).collect();
        for i in 0..g.m {
            for j in 0..g.n {
                let sum: f64 = (0..g.k)
                    .map(|l| {
                        let a = a[g.a_offset + if g.transpose_a { l * g.m + i } else { i * g.k + l }];
                        let b = b[g.b_offset + if g.transpose_b { j * g.k + l } else { l * g.n + j }];
                        f64::from(a) * f64::from(b)
                    })
                    .sum();
                let c = &mut out[g.c_offset + i * g.n + j];
                *c = f64::from(alpha) * sum + if beta == 0.0 { 0.0 } else { f64::from(beta) * *c };
            }
        }
        out
    }

    #[test]
    fn a_product_agrees_with_plain_loops() {
        for (m, n, k) in [(1, 1, 1), (5, 7, 3), (14, 32, 16), (15, 33, 257), (40, 10, 300), (130, 65, 70)] {
            for bits in 0..4 {
                let g = Gemm {
                    transpose_a: bits & 1 > 0,
                    transpose_b: bits & 2 > 0,
                    a_offset: 3,
                    b_offset: 5,
                    c_offset: 7,
                    ..Gemm { m, n, k, ..Gemm::default() }
                };
                let (a, b) = (random(1, 3 + m * k), random(2, 5 + k * n));
                let c = random(3, 9 + m * n);
                for (alpha, beta) in [(1.0, 0.0), (-0.5, 2.0)] {
                    let expected = naive(&g, alpha, &a, &b, beta, &c);
                    each_isa(|cpu| {
                        let mut c = c.clone();
                        gemm(&cpu, &g, alpha, &a, &b, beta, &mut c).unwrap();
                        assert_close(&c, &expected, 1e-5);
                    });
                }
            }
        }
    }

    #[test]
    fn a_beta_of_zero_does_not_read_c() {
        let g = Gemm { m: 2, n: 2, k: 2, ..Gemm::default() };
        each_isa(|cpu| {
            let mut c = vec![f32::NAN; 4];
            gemm(&cpu, &g, 1.0, &[1.0; 4], &[1.0; 4], 0.0, &mut c).unwrap();
            assert_eq!(c, [2.0; 4]);
        });
    }

    #[test]
    fn threads_change_no_bit() {
        let g = Gemm { m: 301, n: 70, k: 600, transpose_a: true, ..Gemm::default() };
        let (a, b) = (random(1, g.m * g.k), random(2, g.k * g.n));
        same_bits(|cpu| {
            let mut c = vec![0.0; g.m * g.n];
            gemm(&cpu, &g, 1.0, &a, &b, 0.0, &mut c).unwrap();
            c
        });
    }
}
