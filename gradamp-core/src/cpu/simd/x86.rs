//! Vectors of AVX2 and AVX-512.

use std::arch::x86_64::*;
use std::ops::{Add, Sub};

use super::registers::vector;
use super::{Job, Vector};

/// # Safety
///
/// The machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_avx2(job: impl Job) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Avx2>() }
}

/// # Safety
///
/// The machine has AVX-512F, of which AVX2 and FMA are parts.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn run_avx512(job: impl Job) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Avx512>() }
}

vector!(
    Avx2,
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    _mm256_set1_ps,
    _mm256_max_ps
);
vector!(
    Avx512,
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    _mm512_set1_ps,
    _mm512_max_ps
);
