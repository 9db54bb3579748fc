//! Vectors of AVX2 and AVX-512.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

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

/// The value where the mask is above 0, else 0.
#[target_feature(enable = "avx2")]
#[inline]
fn keep_avx2(value: __m256, mask: __m256) -> __m256 {
    _mm256_and_ps(value, _mm256_cmp_ps::<_CMP_GT_OQ>(mask, _mm256_setzero_ps()))
}

/// The value where the mask is above 0, else 0.
#[target_feature(enable = "avx512f")]
#[inline]
fn keep_avx512(value: __m512, mask: __m512) -> __m512 {
    _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(mask, _mm512_setzero_ps()), value)
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
    _mm256_max_ps,
    keep_avx2
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
    _mm512_max_ps,
    keep_avx512
);
