//! Mean and variance of each channel: block by block, each around its own mean, then joined.

use crate::cpu::Cpu;
use crate::cpu::elementwise::{SHORT, add_folded, add_rows, row_block, together};
use crate::cpu::simd::vectorised;
use crate::geometry::Rows;

/// Moments of blocks of rows, as many rows in each but for the last: `[mean | Σ (x − mean)²]` of every one.
#[derive(Default)]
pub(in crate::cpu) struct BlockMoments {
    rows: usize,
    values: Vec<f64>,
}

impl BlockMoments {
    /// Room for the moments of all blocks of `block` rows, to be filled by [`add_block`].
    pub(in crate::cpu) fn room(&mut self, g: &Rows, block: usize) -> impl Iterator<Item = &mut [f64]> + Send {
        self.rows = block;
        self.values = vec![0.0; g.rows.div_ceil(block) * 2 * g.channels];
        self.values.chunks_mut(2 * g.channels)
    }

    /// [`BlockMoments::room`] for each task that writes a block, if anybody wants moments.
    pub(in crate::cpu) fn room_if_wanted<'a>(
        wanted: Option<&'a mut Self>,
        g: &Rows,
        block: usize,
    ) -> impl Iterator<Item = Option<&'a mut [f64]>> + Send {
        let room = wanted.map(|moments| moments.room(g, block));
        room.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None))
    }

    /// Whether nobody asked for room.
    pub(in crate::cpu) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The moments of all rows, in f64 (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
    /// computing sample variances", 1979).
    pub(in crate::cpu) fn join(&self, g: &Rows, mean: &mut [f32], variance: &mut [f32]) {
        let c = g.channels;
        for (channel, (mean, variance)) in mean[..c].iter_mut().zip(&mut variance[..c]).enumerate() {
            let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
            for (i, moments) in self.values.chunks(2 * c).enumerate() {
                let rows = (g.rows - i * self.rows).min(self.rows) as f64;
                let delta = moments[channel] - centre;
                squares += moments[c + channel] + delta * delta * count * rows / (count + rows);
                count += rows;
                centre += delta * rows / count;
            }
            *mean = centre as f32;
            *variance = (squares / count).max(0.0) as f32;
            if squares.is_nan() {
                *variance = f32::NAN; // max above would hide it
            }
        }
    }
}

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
pub(in crate::cpu) fn batch_norm_statistics(
    cpu: &Cpu,
    g: &Rows,
    x: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let (block, mut moments) = (row_block(g), BlockMoments::default());
    let parts = moments.room(g, block).zip(x[..g.len()].chunks(block * g.channels));
    cpu.threads().each(parts, |(moments, x)| add_block(cpu, x, moments));
    moments.join(g, mean, variance);
}

/// The moments of a block of rows, in two passes, the second one in cache: its mean, then the squares around that mean.
pub(in crate::cpu) fn add_block(cpu: &Cpu, x: &[f32], moments: &mut [f64]) {
    let c = moments.len() / 2;
    let rows = (x.len() / c) as f64;
    let (means, squares) = moments.split_at_mut(c);
    add_rows_to(cpu, x, means);
    let centre: Vec<f32> = means.iter().map(|sum| (sum / rows) as f32).collect();
    // The second pass also finds by how much the first one's mean is off.
    means.fill(0.0);
    add_deviations(cpu, x, &centre.repeat(together(c)), means, squares);
    for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
        let rest = *mean / rows;
        *square -= rest * rest * rows;
        *mean = f64::from(centre) + rest;
    }
}

vectorised! {
    /// sums[c] += Σ_r x[r, c]
    fn add_rows_to<'a>(x: &'a [f32], sums: &'a mut [f64]) {
        add_rows(x, sums.len(), sums, |x| x);
    }
}

vectorised! {
    /// sums[c] += Σ_r (x[r, c] − centre[c]); squares[c] += Σ_r (x[r, c] − centre[c])²; centre for some rows [`together`].
    fn add_deviations<'a>(x: &'a [f32], centre: &'a [f32], sums: &'a mut [f64], squares: &'a mut [f64]) {
        let wide = centre.len();
        let mut short = vec![0.0f32; 2 * wide];
        for x in x.chunks(SHORT * wide) {
            short.fill(0.0);
            let (plain, square) = short.split_at_mut(wide);
            for x in x.chunks(wide) {
                let n = x.len();
                let (plain, square, centre) = (&mut plain[..n], &mut square[..n], &centre[..n]);
                for i in 0..n {
                    let deviation = x[i] - centre[i];
                    plain[i] += deviation;
                    square[i] += deviation * deviation;
                }
            }
            add_folded(plain, sums);
            add_folded(square, squares);
        }
    }
}
