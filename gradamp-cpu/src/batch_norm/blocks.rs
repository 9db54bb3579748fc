//! What is found in rows block by block: by a kernel of its own, or in the output of a convolution while it is in cache.

use std::ops::Range;

use crate::Cpu;
use crate::elementwise::row_block;
use gradamp_core::geometry::Rows;

use super::moments::add_block;
use super::rectified::{Rectified, Share};

/// What is looked for: two numbers a channel.
#[derive(Clone, Copy)]
pub(crate) enum Find<'a> {
    /// The mean and the sum of squares around it.
    Moments,
    /// The sums that the backward of a rectified batch norm begins with, the rows being its output's gradient when others have
    /// given their share.
    Gradients(&'a Rectified<'a>, Option<Share<'a>>),
}

/// What was found in blocks of rows, as many rows in each but for the last.
pub(crate) struct Blocks<'a> {
    find: Find<'a>,
    rows: usize,
    values: Vec<f64>,
}

/// One block, to be filled by the task that has its rows.
pub(crate) struct Block<'a> {
    find: Find<'a>,
    pub(crate) rows: Range<usize>,
    to: &'a mut [f64],
}

impl Block<'_> {
    /// Finds what is wanted in the block's rows, once they are complete.
    pub(crate) fn fill(self, cpu: &Cpu, rows: &mut [f32]) {
        match self.find {
            Find::Moments => add_block(cpu, rows, self.to),
            Find::Gradients(z, others) => {
                if let Some(others) = others {
                    others.add_to(cpu, self.rows.start * self.to.len() / 2, rows);
                }
                z.add_sums(cpu, self.rows, rows, self.to);
            }
        }
    }
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(find: Find<'a>) -> Self {
        Self { find, rows: 0, values: Vec::new() }
    }

    /// All blocks of `block` rows.
    fn room(&mut self, g: &Rows, block: usize) -> impl Iterator<Item = Block<'_>> + Send {
        self.rows = block;
        self.values = vec![0.0; g.rows.div_ceil(block) * 2 * g.channels];
        let (find, rows) = (self.find, g.rows);
        self.values.chunks_mut(2 * g.channels).enumerate().map(move |(i, to)| Block {
            find,
            rows: i * block..rows.min((i + 1) * block),
            to,
        })
    }

    /// [`Blocks::room`] for each task that writes a block, if anybody wants it.
    pub(crate) fn room_if_wanted<'b>(
        wanted: Option<&'b mut Blocks<'_>>,
        g: &Rows,
        block: usize,
    ) -> impl Iterator<Item = Option<Block<'b>>> + Send {
        let room = wanted.map(|blocks| blocks.room(g, block));
        room.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None))
    }

    /// With all blocks filled: now, if no task has asked for room.
    pub(crate) fn complete(mut self, cpu: &Cpu, g: &Rows, rows: &mut [f32]) -> Self {
        if self.values.is_empty() {
            let block = row_block(g);
            let parts = self.room(g, block).zip(rows[..g.len()].chunks_mut(block * g.channels));
            cpu.threads().each(parts, |(block, rows)| block.fill(cpu, rows));
        }
        self
    }

    /// The moments of rows that are complete.
    pub(super) fn moments(cpu: &Cpu, g: &Rows, rows: &[f32]) -> Self {
        let (block, mut blocks) = (row_block(g), Self::new(Find::Moments));
        let parts = blocks.room(g, block).zip(rows[..g.len()].chunks(block * g.channels));
        cpu.threads().each(parts, |(block, rows)| add_block(cpu, rows, block.to));
        blocks
    }

    /// Each block's number of rows, and what was found in them.
    pub(super) fn each(&self, g: &Rows) -> impl Iterator<Item = (usize, &[f64])> {
        let (all, rows) = (g.rows, self.rows);
        let found = self.values.chunks(2 * g.channels).enumerate();
        found.map(move |(i, found)| ((all - i * rows).min(rows), found))
    }
}
