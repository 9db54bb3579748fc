//! Convolutions by Winograd's algorithms: the forward pass, and the input gradient, which is a convolution of dy.

use std::marker::PhantomData;
use std::ops::Range;

use crate::batch_norm::BlockSums;
use crate::device::Cpu;
use crate::kernel::{Kernel, LANES, LeftLayout};
use crate::shared_mut::SharedMut;
use crate::simd::WIDEST;
use gradamp_core::Result;
use gradamp_core::backend::Memory;

use super::layout::{Layout, Planes};
use super::tiles::{FromPlanes, Pixels, ToPlanes};
use super::transforms::{Algorithm, Transform};
use super::weights::{Panel, Weights};

/// Height, width and channels.
type Size = (usize, usize, usize);

/// The images that a convolution reads and those that it writes, in tiles.
#[derive(Clone, Copy)]
pub(super) struct Images {
    pub(super) from: Planes,
    pub(super) to: Planes,
    pub(super) tiles: usize,
}

impl Images {
    /// The number of output pixels in a block of tiles, provided that each block is whole rows of pixels and that all blocks have
    /// equally many; `None` otherwise.
    fn rows_per_block(&self, block: usize) -> Option<usize> {
        let Planes { h, w, across, step, .. } = self.to;
        (h.is_multiple_of(step) && block.is_multiple_of(across)).then_some(block / across * step * w)
    }

    /// n images of the size `from`, and n images of the size `to`. The first window begins at pixel `start` along both axes.
    pub(super) fn new<A: Algorithm>((n, from, to, start): (usize, Size, Size, isize)) -> Self {
        let step = A::Output::TO;
        let (down, across) = (to.0.div_ceil(step), to.1.div_ceil(step));
        let planes = |(h, w, channels), step, start| Planes { h, w, channels, down, across, step, start };
        let start = start + A::SKIPPED as isize;
        Self { from: planes(from, A::STEP, start), to: planes(to, step, 0), tiles: n * down * across }
    }
}

/// The layouts of a block of transformed tiles (v), and of its products with a panel of weights (m).
#[derive(Clone, Copy)]
struct Block {
    kernel: Kernel,
    tiles: usize,
    depth: usize,
    v: Layout,
    v_len: usize,
    m: Layout,
    m_len: usize,
}

impl Block {
    fn new<A: Algorithm>(kernel: Kernel, depth: usize, tiles: usize) -> Self {
        /// Elements of a block of transformed tiles: they fill a quarter of a second-level cache of 1 MiB.
        const BLOCK: usize = 64 * 1024;
        let padded = depth.next_multiple_of(LANES);
        let block = (BLOCK / (A::POINTS * padded)).clamp(32, 128).min(tiles).next_multiple_of(kernel.rows);
        let v = Layout {
            group: kernel.rows,
            group_stride: kernel.rows * padded,
            item_stride: LANES,
            run: LANES,
            run_stride: kernel.rows * LANES,
            point_stride: block * padded + WIDEST,
        };
        let m = Layout::matrices(kernel.columns, block * kernel.columns + WIDEST);
        let (v_len, m_len) = (A::POINTS * v.point_stride, A::POINTS * m.point_stride);
        Self { kernel, tiles: block, depth, v, v_len, m, m_len }
    }
}

/// What the tasks of a convolution share.
struct Convolution<'a> {
    cpu: &'a Cpu,
    images: Images,
    block: Block,
    panel: Panel,
    bias: Option<&'a [f32]>,
    y: SharedMut<'a>,
}

/// y = the convolution of x with the weights, plus bias. If there are `sums`, computes those of y too, provided that each block is
/// whole rows of pixels.
pub(super) fn convolve<A: Algorithm>(
    cpu: &Cpu,
    images: (usize, Size, Size, isize),
    x: Pixels<'_>,
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    let images = Images::new::<A>(images);
    let (depth, columns) = weights.shape();
    let kernel = cpu.small_kernel(columns);
    let block = Block::new::<A>(kernel, depth, images.tiles);
    let panel = Panel::new::<A>(kernel, depth);
    let (blocks, panels) = (images.tiles.div_ceil(block.tiles), columns.div_ceil(kernel.columns));
    let convolution = Convolution { cpu, images, block, panel, bias, y: SharedMut::new(y) };
    let threads = cpu.threads();
    // If there are fewer output channels than tiles, all weights are transformed first, and each task transforms its block of tiles.
    // Otherwise all tiles are transformed first, and each task transforms its panel of weights.
    if columns <= images.tiles {
        let mut u = cpu.allocate(panels * panel.len)?;
        threads.each(u.chunks_mut(panel.len).enumerate(), |(i, u)| {
            weights.transform::<A>(cpu, panel, i, u);
        });
        let mut memory = cpu.allocate(threads.count() * (block.v_len + block.m_len))?;
        let scratches = memory.chunks_mut(block.v_len + block.m_len);
        let rows = images.rows_per_block(block.tiles);
        let g = images.to.rows(images.tiles);
        let outputs = BlockSums::for_tasks(sums.filter(|_| rows.is_some()), &g, rows.unwrap_or(1));
        threads.each_with((0..blocks).zip(outputs), scratches, |(i, sums), scratch| {
            let (v, m) = scratch.split_at_mut(block.v_len);
            convolution.transform_tiles::<A>(x, convolution.tiles(i), v);
            for (panel, u) in u.chunks(panel.len).enumerate() {
                convolution.multiply::<A>(convolution.tiles(i), v, panel, u, m);
            }
            if let Some(sums) = sums {
                let elements = sums.rows.start * columns..sums.rows.end * columns;
                // SAFETY: this task has written all of these elements, and no other task reads or writes them.
                sums.compute(cpu, unsafe { convolution.y.written(elements) });
            }
        });
    } else {
        let mut v = cpu.allocate(blocks * block.v_len)?;
        threads.each(v.chunks_mut(block.v_len).enumerate(), |(i, v)| {
            convolution.transform_tiles::<A>(x, convolution.tiles(i), v);
        });
        let mut memory = cpu.allocate(threads.count() * (panel.len + block.m_len))?;
        let scratches = memory.chunks_mut(panel.len + block.m_len);
        threads.each_with(0..panels, scratches, |i, scratch| {
            let (u, m) = scratch.split_at_mut(panel.len);
            weights.transform::<A>(cpu, panel, i, u);
            for (block, v) in v.chunks(block.v_len).enumerate() {
                convolution.multiply::<A>(convolution.tiles(block), v, i, u, m);
            }
        });
    }
    Ok(())
}

impl Convolution<'_> {
    /// The tiles of block number `block`.
    fn tiles(&self, block: usize) -> Range<usize> {
        block * self.block.tiles..self.images.tiles.min((block + 1) * self.block.tiles)
    }

    fn transform_tiles<A: Algorithm>(&self, x: Pixels<'_>, tiles: Range<usize>, v: &mut [f32]) {
        let (planes, layout) = (self.images.from, self.block.v);
        let channels = 0..planes.channels;
        let transform = PhantomData::<A::Input>;
        self.cpu.run(FromPlanes { transform, planes, x, tiles, channels, layout, to: v });
    }

    /// Computes these tiles of y, in the channels of panel number `panel`.
    fn multiply<A: Algorithm>(&self, tiles: Range<usize>, v: &[f32], panel: usize, u: &[f32], m: &mut [f32]) {
        let Block { kernel, depth, .. } = self.block;
        let first = panel * kernel.columns;
        let channels = first..self.images.to.channels.min(first + kernel.columns);
        let points = v.chunks(self.block.v.point_stride).zip(u.chunks(self.panel.point));
        let points = points.zip(m.chunks_mut(self.block.m.point_stride));
        for ((v, u), m) in points {
            kernel.multiply(LeftLayout::Lanes, tiles.len().div_ceil(kernel.rows), depth, v, u, m, false);
        }
        let (layout, planes, bias, y) = (self.block.m, self.images.to, self.bias, self.y);
        let transform = PhantomData::<A::Output>;
        self.cpu.run(ToPlanes { transform, from: m, layout, planes, tiles, channels, bias, y });
    }
}
