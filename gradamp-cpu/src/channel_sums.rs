//! Sums over rows, channel by channel.
//!
//! The sums of a few vectors of channels stay in registers while the rows are read. If they were in memory, each addition would
//! wait for the store of the previous one. A few rows are read at a time, so that they stay in the first-level cache for all
//! channels. Each channel is summed in the order of the rows.

use crate::simd::{Vector, WIDEST, vectorised};

/// Rows that are summed in f32 before their sum is added to an f64. The rounding error of so few additions is negligible.
pub(crate) const ROWS_IN_F32: usize = 64;

/// Vectors whose sums are in registers at a time.
const VECTORS: usize = 4;

/// Rows that are summed at a time, for all channels, before the next rows are read.
const ROWS: usize = 8;

/// How many rows a kernel treats as one long row. With few channels, one row alone has too few sums to keep the adders busy.
pub(crate) fn joined_rows(channels: usize) -> usize {
    const ELEMENTS: usize = 128;
    (ELEMENTS / channels).max(1)
}

vectorised! {
    /// sums[c] += Σ_r x[r, c]; if SQUARED, sums[c] += Σ_r x[r, c]².
    pub(crate) fn add_rows<'a, const SQUARED: bool>(x: &'a [f32], sums: &'a mut [f64]) {
        let terms = |[x]: [V; 1], _: [V; 0]| [if SQUARED { x * x } else { x }];
        // SAFETY: the machine has V's instructions, as the caller of `Job::run` promises.
        unsafe { add_channels(sums.len(), [x], [], sums, terms) };
    }
}

/// sums[k, c] += Σ_r f(inputs[r, c], operands[c])[k], in f32 over [`ROWS_IN_F32`] values at a time, then in f64.
///
/// **Shapes:** inputs `[rows, channels]`, operands `[channels]` repeated for [`joined_rows`] rows, sums `[K, channels]`.
///
/// # Safety
///
/// The machine has V's instructions.
#[inline(always)]
pub(crate) unsafe fn add_channels<V: Vector, const N: usize, const M: usize, const K: usize>(
    channels: usize,
    inputs: [&[f32]; N],
    operands: [&[f32]; M],
    sums: &mut [f64],
    f: impl Fn([V; N], [V; M]) -> [V; K],
) {
    let (len, wide) = (inputs[0].len(), channels * joined_rows(channels));
    let inputs = inputs.map(|input| &input[..len]);
    let padded = wide.next_multiple_of(WIDEST);
    let mut room = vec![0.0f32; (M + K) * padded];
    let (room, short) = room.split_at_mut(M * padded);
    for (room, operand) in room.chunks_exact_mut(padded).zip(operands) {
        room[..wide].copy_from_slice(&operand[..wide]);
    }
    for start in (0..len).step_by(ROWS_IN_F32 * wide) {
        let end = len.min(start + ROWS_IN_F32 * wide);
        short.fill(0.0);
        for start in (start..end).step_by(ROWS * wide) {
            let inputs = inputs.map(|input| &input[start..end.min(start + ROWS * wide)]);
            let part = Part { wide, padded, inputs, operands: &*room };
            // SAFETY: the caller's promise.
            unsafe { part.add_to(short, &f) };
        }
        for (short, sums) in short.chunks_exact(padded).zip(sums.chunks_exact_mut(channels)) {
            for row in short[..wide].chunks_exact(channels) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(value);
                }
            }
        }
    }
}

/// A few long rows of `wide` numbers; the last row may be shorter. Operands and sums have rows of `padded` numbers, which are
/// whole vectors.
struct Part<'a, const N: usize> {
    wide: usize,
    padded: usize,
    inputs: [&'a [f32]; N],
    operands: &'a [f32],
}

impl<const N: usize> Part<'_, N> {
    /// Adds all rows of the part to the sums `short`.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    #[inline(always)]
    unsafe fn add_to<V: Vector, const M: usize, const K: usize>(
        &self,
        short: &mut [f32],
        f: &impl Fn([V; N], [V; M]) -> [V; K],
    ) {
        let whole = self.wide - self.wide % V::LANES;
        let mut column = 0;
        // SAFETY: the caller's promise; whole vectors lie in each row.
        unsafe {
            while column + VECTORS * V::LANES <= whole {
                self.add_whole::<V, M, K, VECTORS>(column, short, f);
                column += VECTORS * V::LANES;
            }
            while column < whole {
                self.add_whole::<V, M, K, 1>(column, short, f);
                column += V::LANES;
            }
        }
        let len = self.inputs[0].len();
        for start in (0..len).step_by(self.wide) {
            // The columns behind the whole vectors. A last row that is shorter has not been added yet: all of its columns.
            let first = if start + self.wide > len { 0 } else { whole };
            for column in (first..self.wide.min(len - start)).step_by(V::LANES) {
                let count = V::LANES.min(self.wide.min(len - start) - column);
                // SAFETY: the caller's promise.
                unsafe { self.add_some(start + column, column, count, short, f) };
            }
        }
    }

    /// The operands of a vector of columns.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    #[inline(always)]
    unsafe fn operands<V: Vector, const M: usize>(&self, column: usize) -> [V; M] {
        // SAFETY: the padding reaches to the end of the vector.
        std::array::from_fn(|m| unsafe { V::load(self.operands[m * self.padded + column..].as_ptr()) })
    }

    /// Adds C vectors of columns, from `column` on, of all rows but a shorter last one.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions; the columns lie in a row.
    #[inline(always)]
    unsafe fn add_whole<V: Vector, const M: usize, const K: usize, const C: usize>(
        &self,
        column: usize,
        short: &mut [f32],
        f: &impl Fn([V; N], [V; M]) -> [V; K],
    ) {
        let at = |vector: usize| column + vector * V::LANES;
        let rows = self.inputs[0].len() / self.wide;
        // SAFETY: the caller's promise: the columns lie within each row of `wide` numbers, and `short` has as many.
        unsafe {
            let operands: [[V; M]; C] = std::array::from_fn(|i| self.operands(at(i)));
            let mut sums: [[V; K]; C] = std::array::from_fn(|i| {
                std::array::from_fn(|k| V::load(short[k * self.padded + at(i)..].as_ptr()))
            });
            for row in 0..rows {
                for i in 0..C {
                    let place = row * self.wide + at(i);
                    let found = f(self.inputs.map(|input| V::load(input.as_ptr().add(place))), operands[i]);
                    for k in 0..K {
                        sums[i][k] = sums[i][k] + found[k];
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (k, sum) in sums.iter().enumerate() {
                    sum.store(short[k * self.padded + at(i)..].as_mut_ptr());
                }
            }
        }
    }

    /// Adds `count` numbers, fewer than a vector has, from the place `place` of the inputs to the column `column` of the sums.
    ///
    /// # Safety
    ///
    /// The machine has V's instructions.
    #[inline(always)]
    unsafe fn add_some<V: Vector, const M: usize, const K: usize>(
        &self,
        place: usize,
        column: usize,
        count: usize,
        short: &mut [f32],
        f: &impl Fn([V; N], [V; M]) -> [V; K],
    ) {
        let mut room = [0.0; WIDEST];
        // SAFETY: the caller's promise; `room` is as large as the widest vector.
        unsafe {
            let inputs = self.inputs.map(|input| {
                room[..count].copy_from_slice(&input[place..place + count]);
                V::load(room.as_ptr())
            });
            for (k, found) in f(inputs, self.operands(column)).into_iter().enumerate() {
                found.store(room.as_mut_ptr());
                for (sum, found) in short[k * self.padded + column..].iter_mut().zip(&room[..count]) {
                    *sum += found;
                }
            }
        }
    }
}
