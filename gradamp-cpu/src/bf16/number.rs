//! Numbers in bf16: the upper half of an f32, so 8 bits of exponent and 8 bits of precision.

use std::slice;

/// A number in bf16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

impl Bf16 {
    /// The nearest number in bf16, and of two that are equally near the one whose last bit is 0.
    ///
    /// As the processors' instructions do, a subnormal number becomes a zero of its sign, and a NaN a quiet NaN.
    #[inline(always)]
    pub(crate) fn round(value: f32) -> Self {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let magnitude = bits & 0x7fff_ffff;
        Self(match magnitude {
            0x7f80_0001.. => bits >> 16 | 0x40,
            0x0080_0000.. => nearest,
            _ => bits >> 16 & 0x8000,
        } as u16)
    }

    /// The same number in f32.
    #[inline(always)]
    pub(crate) fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// Memory for f32 as memory for twice as many numbers in bf16.
pub(crate) fn halves(memory: &mut [f32]) -> &mut [Bf16] {
    // SAFETY: the memory holds twice as many numbers of half the size and of a weaker alignment, and all bits are numbers.
    unsafe { slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), 2 * memory.len()) }
}

/// See [`halves`].
pub(crate) fn halves_of(memory: &[f32]) -> &[Bf16] {
    // SAFETY: as above.
    unsafe { slice::from_raw_parts(memory.as_ptr().cast(), 2 * memory.len()) }
}

#[cfg(test)]
mod tests {
    use super::Bf16;

    #[test]
    fn numbers_round_to_the_nearest_and_ties_to_even() {
        for (value, rounded) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),               // halfway, to even
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0), // halfway, to even
            (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
            (-2.5, -2.5),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
        ] {
            assert_eq!(Bf16::round(value).widen(), rounded, "{value}");
        }
        assert_eq!(Bf16::round(-f32::MIN_POSITIVE / 2.0).widen().to_bits(), (-0.0f32).to_bits());
        assert!(Bf16::round(f32::from_bits(0x7f80_0001)).widen().is_nan());
    }
}
