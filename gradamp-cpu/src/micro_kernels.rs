//! The micro-kernels, in plain Rust and in vector instructions.
//!
//! A micro-kernel sums outer products in registers. A tile of C is R rows of V vectors, all in registers. At each step along the
//! summed dimension, V vectors of B are loaded and R elements of A are broadcast.

use crate::kernel::{Kernel, Kernels, LANES, LeftLayout, PACKED_STRIDE};

const ROWS: usize = 4;
const COLUMNS: usize = 8;
const KERNEL: Kernel = Kernel { rows: ROWS, columns: COLUMNS, multiply: multiply_portable };

/// A tile of 4 by 8. Any machine with vectors can hold its eight vectors of four in registers.
pub(crate) const PORTABLE: Kernels = Kernels { large: [KERNEL; 2], small: [KERNEL; 2] };

/// See [`Multiply`](crate::kernel::Multiply).
fn multiply_portable(
    left: LeftLayout,
    tiles: usize,
    depth: usize,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    add: bool,
) {
    let b = &b.as_chunks::<COLUMNS>().0[..depth];
    let tile = left.tile(ROWS, depth);
    for (i, c) in c.chunks_exact_mut(ROWS * COLUMNS).take(tiles).enumerate() {
        let a = &a[i * tile..];
        let mut sums = [[0.0f32; COLUMNS]; ROWS];
        match left {
            LeftLayout::Rows => {
                let a: [&[f32]; ROWS] =
                    std::array::from_fn(|r| &a[r * PACKED_STRIDE..r * PACKED_STRIDE + depth]);
                for (k, b) in b.iter().enumerate() {
                    accumulate(&mut sums, std::array::from_fn(|r| a[r][k]), b);
                }
            }
            LeftLayout::Steps(step) => {
                for (a, b) in a.chunks(step).zip(b) {
                    accumulate(&mut sums, std::array::from_fn(|r| a[r]), b);
                }
            }
            LeftLayout::Lanes => {
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

/// Defines `$name`, a [`Multiply`](crate::kernel::Multiply) in one instruction set.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
macro_rules! micro_kernel {
    ($name:ident, $tile:ident, $feature:literal, $lanes:literal, $vector:ty, $zero:ident, $load:ident, $store:ident,
     $broadcast:ident, $fma:ident, $add:ident) => {
        fn $name<const R: usize, const V: usize>(
            left: LeftLayout,
            tiles: usize,
            depth: usize,
            a: &[f32],
            b: &[f32],
            c: &mut [f32],
            add: bool,
        ) {
            left.check([R, V * $lanes], tiles, depth, a, b, c);
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            for tile in 0..tiles {
                // SAFETY: this function leaves the module only inside a `Kernel` that was made after its instructions
                // were detected; `check` has asserted that every element the tiles read or write lies in its slice.
                unsafe {
                    let a = a.add(tile * left.tile(R, depth));
                    let c = c.add(tile * R * V * $lanes);
                    match left {
                        LeftLayout::Rows => $tile::<R, V, PACKED_STRIDE, 1>(depth, 1, LANES, a, b, c, add),
                        LeftLayout::Steps(step) => {
                            $tile::<R, V, 1, 0>(depth, step, LANES * step, a, b, c, add)
                        }
                        LeftLayout::Lanes => $tile::<R, V, LANES, 1>(depth, 1, LANES * R, a, b, c, add),
                    }
                }
            }
        }

        /// A's element of row r at step k lies at r · ROW + k / LANES · block + k % LANES · step. STEP equals `step` if it is known
        /// when the kernel is compiled, and is 0 otherwise.
        ///
        /// # Safety
        ///
        /// The machine has the instructions; a, b and c hold the elements that [`LeftLayout::check`] asks for.
        #[target_feature(enable = $feature)]
        unsafe fn $tile<const R: usize, const V: usize, const ROW: usize, const STEP: usize>(
            depth: usize,
            step: usize,
            block: usize,
            a: *const f32,
            b: *const f32,
            c: *mut f32,
            add: bool,
        ) {
            let step = if STEP == 0 { step } else { STEP };
            let mut sums = [[$zero(); V]; R];
            let (mut a, mut b, mut left) = (a, b, depth);
            while left > 0 {
                let steps = left.min(LANES);
                for k in 0..steps {
                    // SAFETY: the step is below depth, r < R, v < V: the caller's promise.
                    unsafe {
                        let b: [$vector; V] = std::array::from_fn(|v| $load(b.add((k * V + v) * $lanes)));
                        for r in 0..R {
                            let a = $broadcast(*a.add(r * ROW + k * step));
                            for v in 0..V {
                                sums[r][v] = $fma(a, b[v], sums[r][v]);
                            }
                        }
                    }
                }
                // After the last step the pointers may point behind their slices. Nothing is read through them then.
                (a, b) = (a.wrapping_add(block), b.wrapping_add(LANES * V * $lanes));
                left -= steps;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: r < R and v < V: the caller's promise.
                    unsafe {
                        let c = c.add((r * V + v) * $lanes);
                        $store(c, if add { $add($load(c), sum) } else { sum });
                    }
                }
            }
        }
    };
}

/// The micro-kernels for AVX-512 and for AVX2 with FMA.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Kernels, LANES, LeftLayout, PACKED_STRIDE};

    /// 28 sums, 2 vectors of B, and a broadcast fit the 32 registers of AVX-512; 16 sums keep the adders busy.
    pub(crate) fn avx512() -> Option<Kernels> {
        is_x86_feature_detected!("avx512f").then_some(Kernels {
            large: [
                Kernel { rows: 14, columns: 32, multiply: multiply_avx512::<14, 2> },
                Kernel { rows: 28, columns: 16, multiply: multiply_avx512::<28, 1> },
            ],
            small: [
                Kernel { rows: 8, columns: 32, multiply: multiply_avx512::<8, 2> },
                Kernel { rows: 16, columns: 16, multiply: multiply_avx512::<16, 1> },
            ],
        })
    }

    /// 12 sums, 2 vectors of B, and a broadcast fit the 16 registers of AVX2.
    pub(crate) fn avx2() -> Option<Kernels> {
        let kernels = [
            Kernel { rows: 6, columns: 16, multiply: multiply_avx2::<6, 2> },
            Kernel { rows: 12, columns: 8, multiply: multiply_avx2::<12, 1> },
        ];
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
            .then_some(Kernels { large: kernels, small: kernels })
    }

    micro_kernel!(
        multiply_avx512,
        tile_avx512,
        "avx512f",
        16,
        __m512,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps
    );
    micro_kernel!(
        multiply_avx2,
        tile_avx2,
        "avx2,fma",
        8,
        __m256,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps
    );
}

/// The micro-kernels for NEON.
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon {
    use std::arch::aarch64::*;

    use super::{Kernel, Kernels, LANES, LeftLayout, PACKED_STRIDE};
    use crate::simd::vector::neon::{multiply_add, zero};

    /// 24 sums, up to 4 vectors of B, and a broadcast fit the 32 registers of NEON.
    pub(crate) fn kernels() -> Option<Kernels> {
        let kernels = [
            Kernel { rows: 6, columns: 16, multiply: multiply_neon::<6, 4> },
            Kernel { rows: 12, columns: 8, multiply: multiply_neon::<12, 2> },
        ];
        std::arch::is_aarch64_feature_detected!("neon").then_some(Kernels { large: kernels, small: kernels })
    }

    micro_kernel!(
        multiply_neon,
        tile_neon,
        "neon",
        4,
        float32x4_t,
        zero,
        vld1q_f32,
        vst1q_f32,
        vdupq_n_f32,
        multiply_add,
        vaddq_f32
    );
}
