//! The micro-kernels for AVX512-BF16: an instruction multiplies 32 pairs of factors and adds them to 16 sums.

use std::arch::x86_64::*;

use super::kernel::{COLUMNS, DEPTH, Group, Kernel, Kernels, Operands, RIGHT_TILE, ROWS, Step};

/// The micro-kernels, if the machine has these instructions.
pub(crate) fn kernels() -> Option<Kernels> {
    let kernels = Kernels {
        wide: Kernel { tiles: 2, columns: 2 * COLUMNS, run: multiply::<2, 2, 8> },
        narrow: Kernel { tiles: 4, columns: COLUMNS, run: multiply::<4, 1, 16> },
    };
    is_available().then_some(kernels)
}

/// Whether the machine has AVX512-BF16, and the parts of AVX-512 that rounding and transposing take.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Computes `PART` rows of a tile at a time: 16 sums in registers keep the multipliers busy.
///
/// # Safety
///
/// The machine has AVX512-BF16; the operands can be read, and C can be written.
unsafe fn multiply<const TILES: usize, const PANELS: usize, const PART: usize>(o: &Operands) {
    // SAFETY: the caller's promise.
    unsafe {
        let (groups, steps) = o.lists();
        for group in groups {
            for tile in 0..TILES {
                // A missing tile is a copy of the first one. Computed again, it would begin with the first one's result.
                if tile == 0 || group.c[tile] != group.c[0] {
                    for first in (0..ROWS).step_by(PART) {
                        part::<PANELS, PART>(o, group, steps, tile, first);
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// As for [`multiply`].
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn part<const PANELS: usize, const PART: usize>(
    o: &Operands,
    group: &Group,
    steps: &[Step],
    tile: usize,
    first: usize,
) {
    // SAFETY: the caller's promise: every element that the steps name can be read, and C can be written.
    unsafe {
        let mut sums: [[__m512; PANELS]; PART] = std::array::from_fn(|row| {
            let initial = group.initial[tile].byte_add((first + row) * o.initial_row);
            std::array::from_fn(|panel| _mm512_loadu_ps(initial.add(panel * COLUMNS)))
        });
        for step in steps {
            let a = group.a[tile].add(step.a).byte_add(first * o.a_row);
            let b = o.b.add(step.b);
            for pair in 0..DEPTH / 2 {
                let b: [__m512bh; PANELS] = std::array::from_fn(|panel| {
                    let b = b.add(panel * RIGHT_TILE + pair * 2 * COLUMNS);
                    std::mem::transmute(_mm512_loadu_si512(b.cast()))
                });
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a: *const i32 = a.byte_add(row * o.a_row).add(2 * pair).cast();
                    let a: __m512bh = std::mem::transmute(_mm512_set1_epi32(a.read_unaligned()));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = _mm512_dpbf16_ps(*sum, a, b);
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let c = group.c[tile].byte_add((first + row) * o.c_row);
            for (panel, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.add(panel * COLUMNS), sum);
            }
        }
    }
}
