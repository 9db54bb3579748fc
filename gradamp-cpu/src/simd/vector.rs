//! What a kernel that is written once sees of vectors.

use std::ops::{Add, Mul, Sub};

/// The most lanes of a vector.
pub(crate) const WIDEST: usize = 16;

/// Some f32 next to each other in a register.
///
/// Values exist only where the machine has the instructions for them: [`Vector::zero`] and [`Vector::load`] make them.
pub(crate) trait Vector: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
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
pub(crate) trait Job {
    /// Does it all. Implementations are `#[inline(always)]`, as is everything they call with a vector.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    unsafe fn run<V: Vector>(self);
}
