//! Vectors of f32, and kernels that are compiled once for each instruction set.
//!
//! A [`Job`] is a kernel written once over [`Vector`]. [`Cpu::run`] calls the copy for the instructions in use: the job is
//! inlined into a function that may use them, so that plain loops in it are vectorised for them too.

#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod registers;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, Mul, Sub};

use super::{Cpu, Isa};

/// The most lanes of a vector.
pub(super) const WIDEST: usize = 16;

/// Some f32 next to each other in a register.
///
/// Values exist only where the machine has the instructions for them: [`Vector::zero`] and [`Vector::load`] make them.
pub(super) trait Vector: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// How many.
    const LANES: usize;

    /// # Safety
    ///
    /// The machine has the instructions.
    unsafe fn zero() -> Self;

    /// # Safety
    ///
    /// The machine has the instructions; [`Vector::LANES`] elements can be read.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    ///
    /// [`Vector::LANES`] elements can be written.
    unsafe fn store(self, to: *mut f32);

    /// self · factor
    fn times(self, factor: f32) -> Self;

    /// relu((self − mean) · scale + beta), each step rounded; NaN where self is NaN.
    fn normalised(self, mean: Self, scale: Self, beta: Self) -> Self;

    /// self where `mask` is above 0, else 0.
    fn where_positive(self, mask: Self) -> Self;

    /// self + factor · other
    fn plus(self, factor: f32, other: Self) -> Self;
}

/// A kernel over vectors.
pub(super) trait Job {
    /// Does it all. Implementations are `#[inline(always)]`, as is everything they call with a vector.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    unsafe fn run<V: Vector>(self);
}

impl Cpu {
    /// Runs the job with the instructions in use.
    pub(super) fn run(&self, job: impl Job) {
        // SAFETY: a `Cpu` is made with instructions that were detected, or with the portable ones.
        unsafe {
            match self.isa() {
                Isa::Portable => job.run::<Portable>(),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => neon::run_neon(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::run_avx2(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::run_avx512(job),
                #[allow(unreachable_patterns)] // those of other machines
                Isa::Neon | Isa::Avx2 | Isa::Avx512 => job.run::<Portable>(),
            }
        }
    }
}

/// Makes a function over slices that takes the [`Cpu`] as its first argument, and whose plain loops are compiled for each
/// instruction set. Lengths that the compiler sees to be equal are what it needs.
macro_rules! vectorised {
    ($(#[$about:meta])* $visibility:vis fn $name:ident<$a:lifetime $(, const $flag:ident: bool)?>($($argument:ident: $kind:ty),* $(,)?)
     $body:block) => {
        $(#[$about])*
        $visibility fn $name<$a $(, const $flag: bool)?>(cpu: &$crate::Cpu, $($argument: $kind),*) {
            struct Arguments<$a $(, const $flag: bool)?> { $($argument: $kind),* }
            impl<$a $(, const $flag: bool)?> $crate::simd::Job for Arguments<$a $(, $flag)?> {
                #[inline(always)]
                unsafe fn run<V: $crate::simd::Vector>(self) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            cpu.run(Arguments $(::<$flag>)? { $($argument),* });
        }
    };
}
pub(super) use vectorised;

/// Four lanes that the compiler maps to whatever the machine has.
#[derive(Clone, Copy)]
struct Portable([f32; 4]);

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
        // SAFETY: the caller's promise; an array of f32 is aligned as one is.
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
