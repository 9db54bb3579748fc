//! The micro-kernels for AVX-512 and for AVX2 with FMA.

use std::arch::x86_64::*;

use super::registers::micro_kernel;
use super::{Kernel, Kernels, LANES, Left, STRIDE};

/// 28 sums, 2 vectors of B, and a broadcast fit the 32 registers of AVX-512; 16 sums keep the adders busy.
pub(super) fn avx512() -> Option<Kernels> {
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
pub(super) fn avx2() -> Option<Kernels> {
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
