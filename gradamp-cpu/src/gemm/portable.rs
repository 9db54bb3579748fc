//! The micro-kernel in plain Rust, for any machine.

use super::{Kernel, Kernels, LANES, Left, STRIDE};

const ROWS: usize = 4;
const COLUMNS: usize = 8;
const KERNEL: Kernel = Kernel { rows: ROWS, columns: COLUMNS, multiply };

/// A tile of 4 by 8: eight vectors of four, which any machine with vectors can hold.
pub(crate) const KERNELS: Kernels = Kernels { large: [KERNEL; 2], small: [KERNEL; 2] };

fn multiply(left: Left, tiles: usize, depth: usize, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
    let b = &b.as_chunks::<COLUMNS>().0[..depth];
    let tile = left.tile(ROWS, depth);
    for (i, c) in c.chunks_exact_mut(ROWS * COLUMNS).take(tiles).enumerate() {
        let a = &a[i * tile..];
        let mut sums = [[0.0f32; COLUMNS]; ROWS];
        match left {
            Left::Rows => {
                let a: [&[f32]; ROWS] = std::array::from_fn(|r| &a[r * STRIDE..r * STRIDE + depth]);
                for (k, b) in b.iter().enumerate() {
                    accumulate(&mut sums, std::array::from_fn(|r| a[r][k]), b);
                }
            }
            Left::Steps(step) => {
                for (a, b) in a.chunks(step).zip(b) {
                    accumulate(&mut sums, std::array::from_fn(|r| a[r]), b);
                }
            }
            Left::Lanes => {
                for (a, b) in a.chunks_exact(ROWS * LANES).zip(b.chunks(LANES)) {
                    for (k, b) in b.iter().enumerate() {
                        accumulate(&mut sums, std::array::from_fn(|r| a[r * LANES + k]), b);
                    }
                }
            }
        }
        for (c, sums) in c.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(sums) {
            for (c, sum) in c.iter_mut().zip(sums) {
                *c = if add { *c + sum } else { sum };
            }
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
