//! Vectors of f32: the trait that kernels are written over, and its implementations in plain Rust and for each instruction set.

use std::ops::{Add, Mul, Sub};

/// The number of lanes of the widest vector.
pub(crate) const WIDEST: usize = 16;

/// A vector of f32 in a register.
///
/// A value exists only on a machine that has the instructions for it. Only [`Vector::zero`] and [`Vector::load`] make values, and
/// their callers promise that the machine has these instructions.
pub(crate) trait Vector: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// The number of elements.
    const LANES: usize;

    /// A vector of zeros.
    ///
    /// # Safety
    ///
    /// The machine has the instructions for this vector.
    unsafe fn zero() -> Self;

    /// Reads [`Vector::LANES`] elements.
    ///
    /// # Safety
    ///
    /// The machine has the instructions for this vector; the elements can be read.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes [`Vector::LANES`] elements.
    ///
    /// # Safety
    ///
    /// The elements can be written.
    unsafe fn store(self, to: *mut f32);

    /// self · factor
    fn times(self, factor: f32) -> Self;

    /// relu((self − mean) · scale + beta), rounded after each operation. NaN where self is NaN.
    fn normalised(self, mean: Self, scale: Self, beta: Self) -> Self;

    /// self where `mask` is above 0, and 0 elsewhere.
    fn where_positive(self, mask: Self) -> Self;

    /// self + factor · other
    fn plus(self, factor: f32, other: Self) -> Self;
}

/// A kernel over vectors.
pub(crate) trait Job {
    /// Runs the kernel. Implementations are `#[inline(always)]`, and so are all functions that they call with a vector.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    unsafe fn run<V: Vector>(self);
}

/// Four lanes in plain Rust. The compiler maps them to the vectors that the machine has.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Add for Portable {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.plus(1.0, other)
    }
}

impl Sub for Portable {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.plus(-1.0, other)
    }
}

impl Mul for Portable {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
}

impl Vector for Portable {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of f32 has the alignment of f32.
        Self(unsafe { *from.cast::<[f32; 4]>() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { *to.cast::<[f32; 4]>() = self.0 }
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        let [a, b, c, d] = self.0;
        Self([a * factor, b * factor, c * factor, d * factor])
    }

    #[inline(always)]
    fn normalised(self, mean: Self, scale: Self, beta: Self) -> Self {
        Self(std::array::from_fn(|i| {
            let y = (self.0[i] - mean.0[i]) * scale.0[i] + beta.0[i];
            if y <= 0.0 { 0.0 } else { y }
        }))
    }

    #[inline(always)]
    fn where_positive(self, mask: Self) -> Self {
        Self(std::array::from_fn(|i| if mask.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }

    #[inline(always)]
    fn plus(self, factor: f32, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a + factor * e, b + factor * f, c + factor * g, d + factor * h])
    }
}

/// Defines `$name`, a [`Vector`] that is one register of an instruction set.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
macro_rules! vector {
    ($name:ident, $vector:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident,
     $fma:ident, $broadcast:ident, $max:ident, $keep:ident) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name($vector);

        impl Add for $name {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $add(self.0, other.0) })
            }
        }

        impl Sub for $name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $sub(self.0, other.0) })
            }
        }

        impl Mul for $name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $mul(self.0, other.0) })
            }
        }

        impl Vector for $name {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $zero() })
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            fn times(self, factor: f32) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $mul(self.0, $broadcast(factor)) })
            }

            #[inline(always)]
            fn normalised(self, mean: Self, scale: Self, beta: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                // The result is NaN where y is NaN: NEON's maximum is NaN then, and x86's is the second operand.
                unsafe {
                    let y = $add($mul($sub(self.0, mean.0), scale.0), beta.0);
                    Self($max($zero(), y))
                }
            }

            #[inline(always)]
            fn where_positive(self, mask: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $keep(self.0, mask.0) })
            }

            #[inline(always)]
            fn plus(self, factor: f32, other: Self) -> Self {
                // SAFETY: a value exists, so the machine has its instructions.
                Self(unsafe { $fma($broadcast(factor), other.0, self.0) })
            }
        }
    };
}

/// Vectors of AVX2 and AVX-512.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;
    use std::ops::{Add, Mul, Sub};

    use super::{Job, Vector};

    /// # Safety
    ///
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn run_avx2(job: impl Job) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<Avx2>() }
    }

    /// # Safety
    ///
    /// The machine has AVX-512F, of which AVX2 and FMA are parts.
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn run_avx512(job: impl Job) {
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
}

/// Vectors of NEON.
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon {
    use std::arch::aarch64::*;
    use std::ops::{Add, Mul, Sub};

    use super::{Job, Vector};

    /// # Safety
    ///
    /// The machine has NEON.
    #[target_feature(enable = "neon")]
    pub(crate) unsafe fn run_neon(job: impl Job) {
        // SAFETY: the caller's promise.
        unsafe { job.run::<Neon>() }
    }

    /// 0
    #[target_feature(enable = "neon")]
    #[inline]
    pub(crate) fn zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    /// a · b + c, with the operands in the order in which x86's instruction takes them.
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
}
