//! Rows of numbers as factors in bf16: rounded, in pairs, and transposed. Each is one function in plain Rust and one in vector
//! instructions, with the same bits.

use super::kernel::{COLUMNS, DEPTH, RIGHT_TILE};
use super::number::Bf16;

/// Mean, scale and beta of a rectified batch norm, for one or more rows of channels.
pub(crate) type Normal<'a> = [&'a [f32]; 3];

/// Rows of values: how many, their length, and elements from one to the next where they are read and where they are written.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) len: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Rows {
    /// A single row.
    pub(crate) fn one(len: usize) -> Self {
        Self { count: 1, len, from: len, to: len }
    }

    /// Elements from the first of the first row to the last of the last, where they are read and where they are written.
    fn extents(&self) -> [usize; 2] {
        [self.from, self.to].map(|stride| match self.count {
            0 => 0,
            count => (count - 1) * stride + self.len,
        })
    }
}

/// The functions in one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct RowFunctions {
    /// Rounds rows of values, or max(0, (x − mean) · scale + beta) of them. The operands repeat as often as a row needs them.
    pub(crate) round: fn(&[f32], Rows, Option<Normal<'_>>, &mut [Bf16]),
    /// Copies [`DEPTH`] rows of [`COLUMNS`] elements, which begin the given number of elements apart, to a tile of B.
    pub(crate) pair: fn(&[Bf16], usize, &mut [Bf16]),
    /// Transposes 16 rows of 16 pairs. The two numbers are the elements from one row to the next of what is read and what is written.
    pub(crate) transpose: fn(&[Bf16], usize, &mut [Bf16], usize),
}

/// The functions in plain Rust.
pub(crate) const PORTABLE: RowFunctions = RowFunctions { round, pair, transpose };

fn round(x: &[f32], rows: Rows, normal: Option<Normal<'_>>, to: &mut [Bf16]) {
    for row in 0..rows.count {
        let (x, to) = (&x[row * rows.from..][..rows.len], &mut to[row * rows.to..][..rows.len]);
        let Some([mean, scale, beta]) = normal else {
            x.iter().zip(to).for_each(|(&x, to)| *to = Bf16::round(x));
            continue;
        };
        for (x, to) in x.chunks(mean.len()).zip(to.chunks_mut(mean.len())) {
            for ((x, to), ((mean, scale), beta)) in x.iter().zip(to).zip(mean.iter().zip(scale).zip(beta)) {
                let y = (x - mean) * scale + beta;
                *to = Bf16::round(if y <= 0.0 { 0.0 } else { y }); // NaN where y is NaN
            }
        }
    }
}

fn pair(from: &[Bf16], stride: usize, to: &mut [Bf16]) {
    for (k, to) in to[..RIGHT_TILE].chunks_exact_mut(2 * COLUMNS).enumerate() {
        for (column, to) in to.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *to = [from[2 * k * stride + column], from[(2 * k + 1) * stride + column]];
        }
    }
}

fn transpose(from: &[Bf16], stride: usize, to: &mut [Bf16], to_stride: usize) {
    for row in 0..16 {
        for (place, pair) in from[row * stride..][..DEPTH].as_chunks::<2>().0.iter().enumerate() {
            to[place * to_stride + 2 * row..][..2].copy_from_slice(pair);
        }
    }
}

/// The functions in AVX-512 with AVX512-BF16.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::super::avx512::is_available;
    use super::{Bf16, COLUMNS, DEPTH, Normal, RIGHT_TILE, RowFunctions, Rows};

    /// The functions, if the machine has the instructions.
    pub(crate) fn functions() -> Option<RowFunctions> {
        is_available().then_some(RowFunctions { round, pair, transpose })
    }

    fn round(x: &[f32], rows: Rows, normal: Option<Normal<'_>>, to: &mut [Bf16]) {
        let [from, until] = rows.extents();
        assert!(x.len() >= from && to.len() >= until);
        if rows.len == 0 {
            return;
        }
        let period =
            normal.map_or(rows.len, |normal| normal.map(<[f32]>::len).into_iter().min().unwrap_or(0));
        assert!(period > 0);
        // SAFETY: this function leaves the module only after the instructions were detected; the assertions cover all rows, and the
        // operands have as many elements as a part of a row.
        unsafe {
            match normal {
                None => round_rows::<false>(x, rows, [x; 3], period, to),
                Some(normal) => round_rows::<true>(x, rows, normal, period, to),
            }
        }
    }

    /// # Safety
    ///
    /// x and `to` hold the rows; if NORMAL, each of the operands has at least `period` elements.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn round_rows<const NORMAL: bool>(
        x: &[f32],
        rows: Rows,
        normal: Normal<'_>,
        period: usize,
        to: &mut [Bf16],
    ) {
        // The processor prefetches a stream within a page of memory only.
        let ahead = if rows.count > 1 { 4 * rows.from } else { 512 };
        let normal = normal.map(<[f32]>::as_ptr);
        for row in 0..rows.count {
            for first in (0..rows.len).step_by(period) {
                let part = period.min(rows.len - first);
                for start in (0..part).step_by(16) {
                    let mask = rest(part - start);
                    // SAFETY: the mask has as many bits as there are elements from here on, at most 16: the caller's promise.
                    unsafe {
                        let at = row * rows.from + first + start;
                        _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at + ahead).cast());
                        let mut value = _mm512_maskz_loadu_ps(mask, x.as_ptr().add(at));
                        if NORMAL {
                            let [mean, scale, beta] =
                                normal.map(|values| _mm512_maskz_loadu_ps(mask, values.add(start)));
                            let y = _mm512_add_ps(_mm512_mul_ps(_mm512_sub_ps(value, mean), scale), beta);
                            value = _mm512_max_ps(_mm512_setzero_ps(), y);
                        }
                        store(to.as_mut_ptr().add(row * rows.to + first + start), mask, value);
                    }
                }
            }
        }
    }

    /// A mask of the first `count` lanes.
    fn rest(count: usize) -> __mmask16 {
        if count >= 16 { !0 } else { (1 << count) - 1 }
    }

    /// Rounds the lanes of the mask and stores them.
    ///
    /// # Safety
    ///
    /// As many elements as the mask has bits can be written.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    #[inline]
    unsafe fn store(to: *mut Bf16, mask: __mmask16, value: __m512) {
        // SAFETY: both types are 256 bits that have no meaning of their own.
        let rounded: __m256i = unsafe { std::mem::transmute(_mm512_cvtneps_pbh(value)) };
        // SAFETY: the caller's promise.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), mask, rounded) }
    }

    fn pair(from: &[Bf16], stride: usize, to: &mut [Bf16]) {
        assert!(from.len() >= (DEPTH - 1) * stride + COLUMNS && to.len() >= RIGHT_TILE);
        // SAFETY: this function leaves the module only after the instructions were detected; the assertion covers all rows.
        unsafe { pair_rows(from.as_ptr(), stride, to.as_mut_ptr()) }
    }

    /// # Safety
    ///
    /// [`DEPTH`] rows of [`COLUMNS`] elements can be read, and [`RIGHT_TILE`] elements can be written.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn pair_rows(from: *const Bf16, stride: usize, to: *mut Bf16) {
        for k in (0..DEPTH).step_by(2) {
            // SAFETY: the caller's promise.
            unsafe {
                let wide =
                    |row: usize| _mm512_cvtepu16_epi32(_mm256_loadu_epi16(from.add(row * stride).cast()));
                let pairs = _mm512_or_si512(wide(k), _mm512_slli_epi32::<16>(wide(k + 1)));
                _mm512_storeu_si512(to.add(k * COLUMNS).cast(), pairs);
            }
        }
    }

    fn transpose(from: &[Bf16], stride: usize, to: &mut [Bf16], to_stride: usize) {
        assert!(from.len() >= 15 * stride + DEPTH && to.len() >= 15 * to_stride + DEPTH);
        // SAFETY: this function leaves the module only after the instructions were detected; the assertion covers all rows.
        unsafe { transpose_pairs(from.as_ptr(), stride, to.as_mut_ptr(), to_stride) }
    }

    /// # Safety
    ///
    /// 16 rows of [`DEPTH`] elements can be read, and as many can be written.
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose_pairs(from: *const Bf16, stride: usize, to: *mut Bf16, to_stride: usize) {
        // SAFETY: the caller's promise.
        let rows: [__m512i; 16] =
            std::array::from_fn(|row| unsafe { _mm512_loadu_si512(from.add(row * stride).cast()) });
        // Within the four quarters of the vectors, squares of 2 by 2 and then of 4 by 4 pairs are transposed.
        let twos: [__m512i; 16] = std::array::from_fn(|i| match i % 2 {
            0 => _mm512_unpacklo_epi32(rows[i], rows[i + 1]),
            _ => _mm512_unpackhi_epi32(rows[i - 1], rows[i]),
        });
        let fours: [__m512i; 16] = std::array::from_fn(|i| {
            let (group, column) = (i / 4 * 4, i % 4);
            let (a, b) = (twos[group + column / 2], twos[group + 2 + column / 2]);
            if column % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
        });
        // Vector 4g + j holds column j of each quarter, for the rows of group g: the quarters are transposed now.
        for j in 0..4 {
            let even = |g: usize| _mm512_shuffle_i32x4::<0x88>(fours[4 * g + j], fours[4 * g + 4 + j]);
            let odd = |g: usize| _mm512_shuffle_i32x4::<0xdd>(fours[4 * g + j], fours[4 * g + 4 + j]);
            let columns = [
                (0, _mm512_shuffle_i32x4::<0x88>(even(0), even(2))),
                (8, _mm512_shuffle_i32x4::<0xdd>(even(0), even(2))),
                (4, _mm512_shuffle_i32x4::<0x88>(odd(0), odd(2))),
                (12, _mm512_shuffle_i32x4::<0xdd>(odd(0), odd(2))),
            ];
            for (first, column) in columns {
                // SAFETY: the caller's promise.
                unsafe { _mm512_storeu_si512(to.add((first + j) * to_stride).cast(), column) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of every kind: ordinary ones, ties, subnormal ones, infinities and NaNs.
    fn numbers(len: usize) -> Vec<f32> {
        let odd = [0.0, -0.0, 1e-40, -1e-39, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -3.0 - 3.0 / 128.0, f32::from_bits(0x3f80_7fff)];
        let mut numbers = crate::tests::random(1, len);
        for (number, special) in numbers.iter_mut().zip(odd.into_iter().chain(ties)) {
            *number = special;
        }
        numbers[17] = f32::NAN;
        numbers[18] = f32::from_bits(0xff80_0001);
        numbers
    }

    /// Calls `test` with each set of functions that the machine has besides the portable one.
    fn each_set(test: impl Fn(RowFunctions)) {
        #[cfg(target_arch = "x86_64")]
        match x86::functions() {
            Some(functions) => test(functions),
            None => eprintln!("skipped: this machine has no AVX512-BF16"),
        }
        let _ = test;
    }

    #[test]
    fn vectors_round_as_plain_rust_does() {
        let x = numbers(131);
        let bits = |functions: RowFunctions, normal: Option<Normal<'_>>| {
            let mut to = vec![Bf16::default(); x.len()];
            (functions.round)(&x, Rows { count: 3, len: 41, from: 45, to: 43 }, normal, &mut to);
            to
        };
        let [mean, scale, beta] = [2, 3, 4].map(|seed| crate::tests::random(seed, 19));
        each_set(|functions| {
            assert_eq!(bits(functions, None), bits(PORTABLE, None));
            let normal = Some([&mean[..], &scale, &beta]);
            assert_eq!(bits(functions, normal), bits(PORTABLE, normal));
        });
    }

    #[test]
    fn vectors_pair_and_transpose_as_plain_rust_does() {
        let from: Vec<Bf16> = crate::tests::random(1, 2000).into_iter().map(Bf16::round).collect();
        each_set(|functions| {
            let mut to = [(); 2].map(|()| vec![Bf16::default(); 2000]);
            (PORTABLE.pair)(&from, 19, &mut to[0]);
            (functions.pair)(&from, 19, &mut to[1]);
            assert_eq!(to[0], to[1]);
            (PORTABLE.transpose)(&from, 37, &mut to[0], 41);
            (functions.transpose)(&from, 37, &mut to[1], 41);
            assert_eq!(to[0], to[1]);
        });
        let mut to = vec![Bf16::default(); 2000];
        (PORTABLE.transpose)(&from, 37, &mut to, 41);
        assert_eq!((to[3 * 41 + 2 * 5], to[3 * 41 + 2 * 5 + 1]), (from[5 * 37 + 6], from[5 * 37 + 7]));
        (PORTABLE.pair)(&from, 19, &mut to);
        assert_eq!((to[3 * 32 + 2 * 5], to[3 * 32 + 2 * 5 + 1]), (from[6 * 19 + 5], from[7 * 19 + 5]));
    }
}
