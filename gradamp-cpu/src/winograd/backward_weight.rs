//! The weight gradient by Winograd's algorithms: at each point, a sum over tiles.

use std::marker::PhantomData;

use crate::device::Cpu;
use crate::elementwise::add_parts;
use crate::kernel::LeftLayout;
use crate::shared_mut::SharedMut;
use crate::simd::WIDEST;
use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::Conv2d;

use super::forward::Images;
use super::layout::Layout;
use super::tiles::{BetweenLayouts, FromPlanes, Pixels};
use super::transforms::Algorithm;

/// Tiles that are transformed at a time. Together with the sums they fit a second-level cache of 1 MiB.
const TILES: usize = 32;
/// The largest number of input channels of a block of dw, and of output channels.
const CHANNELS: usize = 64;
/// The number of tasks that keeps many threads busy.
const TASKS: usize = 32;
/// The smallest number of tiles for which a separate chunk pays.
const CHUNK: usize = 128;

/// dw = Gᵀ[ Σ_tiles (Bᵀ x) ⊗ (A dy) ], a block of channels at a time. The sum over tiles is cut into chunks, so that many threads
/// have work even if dw is small. The sums of the chunks are added in the order of the chunks.
pub(super) fn backward_weight<A: Algorithm>(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    let kernel = cpu.small_kernel(g.c_out);
    let (from, to) = ((g.h_in, g.w_in, g.c_in), (g.h_out, g.w_out, g.c_out));
    let images = Images::new::<A>((g.n, from, to, -(g.padding as isize)));

    let even = |channels: usize| channels.div_ceil(channels.div_ceil(CHANNELS)).next_multiple_of(WIDEST);
    let (rows, columns) = (even(g.c_in), even(g.c_out));
    let blocks = (g.c_in.div_ceil(rows), g.c_out.div_ceil(columns));
    let chunks = TASKS.div_ceil(blocks.0 * blocks.1).min(images.tiles.div_ceil(CHUNK));
    let chunk = images.tiles.div_ceil(chunks);
    let chunks = images.tiles.div_ceil(chunk);

    // At each point: Bᵀ x is [tile, channel], A dy is [panel, tile, width], their product is [panel, channel, width].
    let (width, panels) = (kernel.columns, columns.div_ceil(kernel.columns));
    let step = rows + WIDEST;
    let padded = rows.next_multiple_of(kernel.rows);
    let x_layout = Layout::matrices(step, TILES * step + WIDEST);
    let panelled = |items: usize| Layout {
        run: width,
        run_stride: items * width,
        ..Layout::matrices(width, panels * items * width + WIDEST)
    };
    let (dy_layout, sum_layout) = (panelled(TILES), panelled(padded));
    let dw_layout = Layout::matrices(g.c_out, g.c_in * g.c_out);

    let elements = 9 * g.c_in * g.c_out;
    let mut parts = cpu.allocate(if chunks > 1 { chunks * elements } else { 0 })?;
    let dw = &mut dw[..elements];
    let to = SharedMut::new(if chunks > 1 { &mut parts } else { &mut *dw });

    let lengths = [x_layout, dy_layout, sum_layout].map(|layout| A::POINTS * layout.point_stride);
    let length: usize = lengths.iter().sum();
    let mut memory = cpu.allocate(cpu.threads().count() * length)?;
    let tasks = (0..chunks * blocks.0 * blocks.1)
        .map(|task| (task / (blocks.0 * blocks.1), task / blocks.1 % blocks.0, task % blocks.1));
    cpu.threads().each_with(tasks, memory.chunks_mut(length), |(part, row, column), scratch| {
        let (v, rest) = scratch.split_at_mut(lengths[0]);
        let (m, sums) = rest.split_at_mut(lengths[1]);
        let rows = row * rows..g.c_in.min((row + 1) * rows);
        let columns = column * columns..g.c_out.min((column + 1) * columns);
        let tiles = part * chunk..images.tiles.min((part + 1) * chunk);
        for start in tiles.clone().step_by(TILES) {
            let some = start..tiles.end.min(start + TILES);
            cpu.run(FromPlanes::<A::Input> {
                transform: PhantomData,
                planes: images.from,
                x: Pixels::stored(x),
                tiles: some.clone(),
                channels: rows.clone(),
                layout: x_layout,
                to: v,
            });
            cpu.run(FromPlanes::<A::OutputGradient> {
                transform: PhantomData,
                planes: images.to,
                x: Pixels::stored(dy),
                tiles: some.clone(),
                channels: columns.clone(),
                layout: dy_layout,
                to: m,
            });
            let points = v.chunks(x_layout.point_stride).zip(m.chunks(dy_layout.point_stride));
            for ((v, m), sums) in points.zip(sums.chunks_mut(sum_layout.point_stride)) {
                let panels = m.chunks_exact(dy_layout.run_stride).take(columns.len().div_ceil(width));
                for (m, sums) in panels.zip(sums.chunks_exact_mut(sum_layout.run_stride)) {
                    let (tiles, add) = (rows.len().div_ceil(kernel.rows), start > tiles.start);
                    kernel.multiply(LeftLayout::Steps(step), tiles, some.len(), v, m, sums, add);
                }
            }
        }
        cpu.run(BetweenLayouts::<A::WeightGradient> {
            transform: PhantomData,
            from: sums,
            from_layout: sum_layout,
            items: rows.len(),
            channels: columns.len(),
            to_layout: dw_layout,
            start: part * elements + rows.start * g.c_out + columns.start,
            to,
        });
    });
    if chunks > 1 {
        add_parts(cpu.threads(), &parts, dw);
    }
    Ok(())
}
