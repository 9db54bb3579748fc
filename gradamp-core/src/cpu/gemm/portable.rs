//! The micro-kernel in plain Rust, for any machine.

use super::{Kernel, STRIDE, Stored};

const ROWS: usize = 4;
const COLUMNS: usize = 8;

/// A tile of 4 by 8: eight vectors of four, which any machine with vectors can hold.
pub(in crate::cpu) const KERNELS: [Kernel; 2] = [Kernel { rows: ROWS, columns: COLUMNS, multiply }; 2];

fn multiply(stored: Stored, depth: usize, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    let b = b.as_chunks::<COLUMNS>().0;
    match stored {
        Stored::Plain => {
            let a: [&[f32]; ROWS] = std::array::from_fn(|r| &a[r * STRIDE..r * STRIDE + depth]);
            for (k, b) in b[..depth].iter().enumerate() {
                accumulate(&mut sums, std::array::from_fn(|r| a[r][k]), b);
            }
        }
        Stored::Transposed => {
            for (a, b) in a.chunks(STRIDE).zip(&b[..depth]) {
                accumulate(&mut sums, std::array::from_fn(|r| a[r]), b);
            }
        }
    }
    for (c, sums) in c.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(sums) {
        for (c, sum) in c.iter_mut().zip(sums) {
            *c = if add { *c + sum } else { sum };
        }
    }
}

#[inline(always)]
fn accumulate(sums: &mut [[f32; COLUMNS]; ROWS], a: [f32; ROWS], b: &[f32; COLUMNS]) {
    for (sums, a) in sums.iter_mut().zip(a) {
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum += a * b;
        }
    }
}
