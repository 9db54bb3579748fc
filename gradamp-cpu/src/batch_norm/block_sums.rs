//! Sums over blocks of rows. Either a separate kernel computes them, or the kernel that writes the rows does, while the rows are
//! in cache.

use std::ops::Range;

use gradamp_core::geometry::Rows;

use super::rectified::{AddedGradient, RectifiedBatchNorm};
use crate::channel_sums::{add_channels, add_rows, joined_rows};
use crate::device::Cpu;
use crate::elementwise::row_block;
use crate::simd::vectorised;

/// Which two numbers are computed for each channel.
#[derive(Clone, Copy)]
pub(crate) enum Quantity<'a> {
    /// The mean, and the sum of squared deviations from it.
    Moments,
    /// The two sums with which the backward of a rectified batch norm begins: Σ_r dz and Σ_r dz · (x − mean). The rows are the
    /// gradient of the rectifier's output. If other operations read this output, their gradient is added to the rows first.
    Gradients(&'a RectifiedBatchNorm<'a>, Option<AddedGradient<'a>>),
}

/// The sums of all blocks. All blocks have the same number of rows, except the last one, which may have fewer.
pub(crate) struct BlockSums<'a> {
    quantity: Quantity<'a>,
    rows: usize,
    values: Vec<f64>,
}

/// Where the sums of one block go. The task that writes the block's rows computes them.
pub(crate) struct BlockSum<'a> {
    quantity: Quantity<'a>,
    pub(crate) rows: Range<usize>,
    to: &'a mut [f64],
}

impl BlockSum<'_> {
    /// Computes the sums of the block's rows. All of `rows` must have been written.
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

    /// One [`BlockSum`] for each block of `block` rows.
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

    /// One [`BlockSum`] for each task that writes a block of `block` rows. If `wanted` is `None`, every task gets `None`.
    pub(crate) fn for_tasks<'b>(
        wanted: Option<&'b mut BlockSums<'_>>,
        g: &Rows,
        block: usize,
    ) -> impl Iterator<Item = Option<BlockSum<'b>>> + Send {
        let outputs = wanted.map(|blocks| blocks.outputs(g, block));
        outputs.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None))
    }

    /// Computes the sums of all blocks now, unless the tasks that wrote the rows have computed them.
    pub(crate) fn finish(mut self, cpu: &Cpu, g: &Rows, rows: &mut [f32]) -> Self {
        if self.values.is_empty() {
            let block = row_block(g);
            let parts = self.outputs(g, block).zip(rows[..g.len()].chunks_mut(block * g.channels));
            cpu.threads().each(parts, |(block, rows)| block.compute(cpu, rows));
        }
        self
    }

    /// The moments of rows that have been written before.
    pub(super) fn moments(cpu: &Cpu, g: &Rows, rows: &[f32]) -> Self {
        let (block, mut blocks) = (row_block(g), Self::new(Quantity::Moments));
        let parts = blocks.outputs(g, block).zip(rows[..g.len()].chunks(block * g.channels));
        cpu.threads().each(parts, |(block, rows)| add_block(cpu, rows, block.to));
        blocks
    }

    /// dgamma and dbeta of a rectified batch norm: the sums of all blocks, added in the order of the blocks.
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

    /// For each block the number of its rows, and its sums.
    pub(super) fn each(&self, g: &Rows) -> impl Iterator<Item = (usize, &[f64])> {
        let (all, rows) = (g.rows, self.rows);
        let blocks = self.values.chunks(2 * g.channels).enumerate();
        blocks.map(move |(i, sums)| ((all - i * rows).min(rows), sums))
    }
}

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
pub(crate) fn batch_norm_statistics(cpu: &Cpu, g: &Rows, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    join_moments(&BlockSums::moments(cpu, g, x), g, mean, variance);
}

/// Joins the moments of all blocks in f64 and gives mean and variance (Chan, Golub, LeVeque, "Updating formulae and a pairwise
/// algorithm for computing sample variances", 1979).
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
            *variance = f32::NAN; // `max` above has turned the NaN into 0
        }
    }
}

/// `[mean | Σ (x − mean)²]` of a block of rows. The first pass computes the mean, the second pass the squared deviations from it.
/// The second pass reads the block from cache.
pub(super) fn add_block(cpu: &Cpu, x: &[f32], moments: &mut [f64]) {
    let c = moments.len() / 2;
    let rows = (x.len() / c) as f64;
    add_rows::<false>(cpu, x, &mut moments[..c]);
    let centre: Vec<f32> = moments[..c].iter().map(|sum| (sum / rows) as f32).collect();
    // The second pass also sums the deviations themselves, which corrects the rounding error of the first pass's mean.
    moments[..c].fill(0.0);
    add_deviations(cpu, x, &centre.repeat(joined_rows(c)), moments);
    let (means, squares) = moments.split_at_mut(c);
    for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
        let rest = *mean / rows;
        *square -= rest * rest * rows;
        *mean = f64::from(centre) + rest;
    }
}

vectorised! {
    /// sums += [Σ_r (x[r, c] − centre[c]) | Σ_r (x[r, c] − centre[c])²]. The centre is repeated for [`joined_rows`] rows.
    fn add_deviations<'a>(x: &'a [f32], centre: &'a [f32], sums: &'a mut [f64]) {
        let terms = |[x]: [V; 1], [centre]: [V; 1]| {
            let deviation = x - centre;
            [deviation, deviation * deviation]
        };
        // SAFETY: the machine has V's instructions, as the caller of `Job::run` promises.
        unsafe { add_channels(sums.len() / 2, [x], [centre], sums, terms) };
    }
}
