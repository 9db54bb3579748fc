//! A vector as a register, written once for all instruction sets.

macro_rules! vector {
    ($name:ident, $vector:ty, $lanes:literal, $zero:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident,
     $fma:ident, $broadcast:ident, $max:ident, $keep:ident) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name($vector);

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
                // SAFETY: a value exists, so the machine has its instructions. The maximum is its second operand where one is NaN.
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
pub(super) use vector;
