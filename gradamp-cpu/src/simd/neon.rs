//! Vectors of NEON.

use std::arch::aarch64::*;
use std::ops::{Add, Mul, Sub};

use super::registers::vector;
use super::{Job, Vector};

/// # Safety
///
/// The machine has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run_neon(job: impl Job) {
    // SAFETY: the caller's promise.
    unsafe { job.run::<Neon>() }
}

/// 0
#[target_feature(enable = "neon")]
#[inline]
pub(crate) fn zero() -> float32x4_t {
    vdupq_n_f32(0.0)
}

/// a · b + c, in the order of the other machines' instruction.
#[target_feature(enable = "neon")]
#[inline]
pub(crate) fn multiply_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmaq_f32(c, a, b)
}

/// The value where the mask is above 0, else 0.
#[target_feature(enable = "neon")]
#[inline]
pub(crate) fn keep(value: float32x4_t, mask: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(value), vcgtq_f32(mask, zero())))
}

vector!(
    Neon,
    float32x4_t,
    4,
    zero,
    vld1q_f32,
    vst1q_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    multiply_add,
    vdupq_n_f32,
    vmaxq_f32,
    keep
);
