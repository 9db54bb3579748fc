//! Sums over blocks of rows: computed by a kernel of their own, or by the kernel that writes the rows, while they are in cache.

use std::ops::Range;

use gradamp_core::geometry::Rows;

use super::rectified::{AddedGradient, RectifiedBatchNorm};
use crate::channel_sums::{add_channels, add_rows, together};
use crate::device::Cpu;
use crate::elementwise::row_block;
use crate::simd::vectorised;

/// Which sums are computed: two numbers for each channel.
#[derive(Clone, Copy)]
pub(crate) enum Quantity<'a> {
    /// The mean, and the sum of squared deviations from it.
    Moments,
    /// The two sums with which the backward of a rectified batch norm begins. The rows are the gradient of its output; the
    /// gradient from other readers, if any, is added to them first.
    Gradients(&'a RectifiedBatchNorm<'a>, Option<AddedGradient<'a>>),
}

/// The sums of all blocks. All blocks have the same number of rows, except the last one, which may have fewer.
pub(crate) struct BlockSums<'a> {
    quantity: Quantity<'a>,
    rows: usize,
    values: Vec<f64>,
}

/// The sums of one block, to be computed by the task that writes the rows.
pub(crate) struct BlockSum<'a> {
    quantity: Quantity<'a>,
    pub(crate) rows: Range<usize>,
    to: &'a mut [f64],
}

impl BlockSum<'_> {
    /// Computes the sums of the block's rows, which are complete.
    pub(crate) fn compute(self, cpu: &Cpu, rows: &mut [f32]) {
        match self.quantity {
            Quantity::Moments => add_block(cpu, rows, self.to),
            Quantity::Gradients(z, others) => {
                if let Some(others) = others {
                    others.add_to(cpu, self.rows.start * self.to.len() / 2, rows);
                }
                z.add_sums(cpu, self.rows, rows, self.to);
            }
        }
    }
}

impl<'a> BlockSums<'a> {
    pub(crate) fn new(quantity: Quantity<'a>) -> Self {
        Self { quantity, rows: 0, values: Vec::new() }
    }

    /// One output for each block of `block` rows.
    fn outputs(&mut self, g: &Rows, block: usize) -> impl Iterator<Item = BlockSum<'_>> + Send {
        self.rows = block;
        self.values = vec![0.0; g.rows.div_ceil(block) * 2 * g.channels];
        let (quantity, rows) = (self.quantity, g.rows);
        self.values.chunks_mut(2 * g.channels).enumerate().map(move |(i, to)| BlockSum {
            quantity,
            rows: i * block..rows.min((i + 1) * block),
            to,
        })
    }

    /// One output for each task that writes a block; `None` for every task where no sums are wanted.
    pub(crate) fn for_tasks<'b>(
        wanted: Option<&'b mut BlockSums<'_>>,
        g: &Rows,
        block: usize,
    ) -> impl Iterator<Item = Option<BlockSum<'b>>> + Send {
        let outputs = wanted.map(|blocks| blocks.outputs(g, block));
        outputs.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None))
    }

    /// The sums of all blocks. Computes them now where the tasks did not.
    pub(crate) fn finish(mut self, cpu: &Cpu, g: &Rows, rows: &mut [f32]) -> Self {
        if self.values.is_empty() {
            let block = row_block(g);
            let parts = self.outputs(g, block).zip(rows[..g.len()].chunks_mut(block * g.channels));
            cpu.threads().each(parts, |(block, rows)| block.compute(cpu, rows));
        }
        self
    }

    /// The moments of complete rows.
    pub(super) fn moments(cpu: &Cpu, g: &Rows, rows: &[f32]) -> Self {
        let (block, mut blocks) = (row_block(g), Self::new(Quantity::Moments));
        let parts = blocks.outputs(g, block).zip(rows[..g.len()].chunks(block * g.channels));
        cpu.threads().each(parts, |(block, rows)| add_block(cpu, rows, block.to));
        blocks
    }

    /// dgamma and dbeta of a rectified batch norm, from the sums of all blocks, added in their order.
    pub(crate) fn gradients(
        &self,
        g: &Rows,
        z: &RectifiedBatchNorm<'_>,
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        for c in 0..g.channels {
            let sum = |at: usize| self.each(g).map(|(_, sums)| sums[at]).sum::<f64>();
            dbeta[c] = sum(c) as f32;
            dgamma[c] = (sum(g.channels + c) * f64::from(z.inverse_deviation[c])) as f32;
        }
    }

    /// Each block's number of rows, and its sums.
    pub(super) fn each(&self, g: &Rows) -> impl Iterator<Item = (usize, &[f64])> {
        let (all, rows) = (g.rows, self.rows);
        let found = self.values.chunks(2 * g.channels).enumerate();
        found.map(move |(i, found)| ((all - i * rows).min(rows), found))
    }
}

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
pub(crate) fn batch_norm_statistics(cpu: &Cpu, g: &Rows, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    join_moments(&BlockSums::moments(cpu, g, x), g, mean, variance);
}

/// The moments of all rows, in f64 (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979).
pub(crate) fn join_moments(blocks: &BlockSums<'_>, g: &Rows, mean: &mut [f32], variance: &mut [f32]) {
    let c = g.channels;
    for (channel, (mean, variance)) in mean[..c].iter_mut().zip(&mut variance[..c]).enumerate() {
        let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
        for (rows, moments) in blocks.each(g) {
            let rows = rows as f64;
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

/// `[mean | Σ (x − mean)²]` of a block of rows, in two passes, the second one in cache: its mean, then the squares around that mean.
pub(super) fn add_block(cpu: &Cpu, x: &[f32], moments: &mut [f64]) {
    let c = moments.len() / 2;
    let rows = (x.len() / c) as f64;
    add_rows::<false>(cpu, x, &mut moments[..c]);
    let centre: Vec<f32> = moments[..c].iter().map(|sum| (sum / rows) as f32).collect();
    // The second pass also finds by how much the first one's mean is off.
    moments[..c].fill(0.0);
    add_deviations(cpu, x, &centre.repeat(together(c)), moments);
    let (means, squares) = moments.split_at_mut(c);
    for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
        let rest = *mean / rows;
        *square -= rest * rest * rows;
        *mean = f64::from(centre) + rest;
    }
}

vectorised! {
    /// sums[c] += Σ_r (x[r, c] − centre[c]); squares[c] += Σ_r (x[r, c] − centre[c])²; centre for some rows [`together`].
    fn add_deviations<'a>(x: &'a [f32], centre: &'a [f32], sums: &'a mut [f64]) {
        let found = |[x]: [V; 1], [centre]: [V; 1]| {
            let deviation = x - centre;
            [deviation, deviation * deviation]
        };
        // SAFETY: the machine has V's instructions: a job's promise.
        unsafe { add_channels(sums.len() / 2, [x], [centre], sums, found) };
    }
}
