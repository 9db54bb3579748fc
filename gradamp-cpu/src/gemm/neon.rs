//! The micro-kernels for NEON.

use std::arch::aarch64::*;

use super::registers::micro_kernel;
use super::{Kernel, Kernels, LANES, Left, STRIDE};
use crate::simd::neon::{multiply_add, zero};

/// 24 sums, up to 4 vectors of B, and a broadcast fit the 32 registers of NEON.
pub(super) fn neon() -> Option<Kernels> {
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
