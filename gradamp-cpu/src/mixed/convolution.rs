//! A convolution and its input gradient with factors in bf16.
//!
//! Images are rounded to a grid in which a tap is an offset, so that no windows are copied: a row of A is a pixel, or several
//! pixels side by side if a kernel row is summed at once. A tile of 16 rows is 16 pixels of a row of the image ([`Order::Rows`]) or,
//! where images are small, the same pixel of 16 images ([`Order::Pixels`]), whose taps outside the image are skipped.

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::{Conv2d, Rows};

use super::grid::{Axis, Grid, Source};
use super::tiles::{Output, Place, multiply};
use super::weights::{Matrices, step_elements, steps};
use crate::arena::Buffer;
use crate::batch_norm::BlockSums;
use crate::bf16::{Bf16, DEPTH, Instructions, Kernel, ROWS, Step, Steps, halves, halves_of};
use crate::device::Cpu;
use crate::residue::Residue;
use crate::shared_mut::SharedMut;
use crate::winograd::Pixels;

/// y = conv2d(x, w) + bias. If there are `sums`, computes those of y too where a task writes whole rows of pixels; otherwise
/// [`BlockSums::finish`] has to.
pub(crate) fn conv2d(
    cpu: &Cpu,
    instructions: &Instructions,
    g: &Conv2d,
    x: Pixels<'_>,
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    let start = -(g.padding as isize);
    let phase = Phase {
        taps: [g.kh, g.kw],
        start: [start, start],
        out: [g.h_out, g.w_out],
        matrices: (0..g.kh * g.kw).map(|tap| tap * g.c_in * g.c_out).collect(),
        place: [0, g.w_out * g.c_out, g.c_out],
    };
    let convolution = Convolution {
        instructions,
        n: g.n,
        from: [g.h_in, g.w_in, g.c_in],
        to: [g.h_out, g.w_out, g.c_out],
        step: g.stride,
        scale: 1,
        phases: vec![phase],
        weights: Weights { w, row: g.c_out, transposed: false },
    };
    convolution.run(cpu, x, bias, y, sums)
}

/// dx of a convolution: for each remainder of the pixels of dx modulo the stride a convolution of dy. The `sums` are those of dx, and
/// are computed as by [`conv2d`].
pub(crate) fn backward_input(
    cpu: &Cpu,
    instructions: &Instructions,
    g: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) -> Result<()> {
    let residues = (0..g.stride).flat_map(|a| (0..g.stride).map(move |b| (a, b)));
    let phases = residues.map(|(a, b)| {
        let (rows, columns) = (Residue::new(g, a, g.h_in, g.kh), Residue::new(g, b, g.w_in, g.kw));
        let taps = (0..rows.taps).flat_map(|p| (0..columns.taps).map(move |q| (p, q)));
        let places = taps.map(|(p, q)| rows.place(g, p) * g.kw + columns.place(g, q));
        Phase {
            taps: [rows.taps, columns.taps],
            start: [rows.start, columns.start],
            out: [rows.pixels, columns.pixels],
            matrices: places.map(|place| place * g.c_in * g.c_out).collect(),
            place: [(a * g.w_in + b) * g.c_in, g.stride * g.w_in * g.c_in, g.stride * g.c_in],
        }
    });
    let convolution = Convolution {
        instructions,
        n: g.n,
        from: [g.h_out, g.w_out, g.c_out],
        to: [g.h_in, g.w_in, g.c_in],
        step: 1,
        scale: g.stride,
        phases: phases.collect(),
        weights: Weights { w, row: g.c_out, transposed: true },
    };
    convolution.run(cpu, Pixels::stored(dy), None, dx, sums)
}

/// Output pixel (u, v) is Σ_{p, q} x[u · step + p + start₀, v · step + q + start₁] · W[p, q].
struct Phase {
    taps: [usize; 2],
    start: [isize; 2],
    out: [usize; 2],
    /// Where in w the matrix of each tap begins.
    matrices: Vec<usize>,
    /// Where pixel (0, 0) begins in an image of the result, and elements from one row of pixels to the next and from one pixel to
    /// the next.
    place: [usize; 3],
}

/// How the matrices of taps lie in memory; see [`Matrices`].
#[derive(Clone, Copy)]
struct Weights<'a> {
    w: &'a [f32],
    row: usize,
    transposed: bool,
}

/// Convolutions of the same images, each of which writes other pixels of the result.
struct Convolution<'a> {
    instructions: &'a Instructions,
    n: usize,
    /// Height, width and channels of what is read.
    from: [usize; 3],
    /// Height, width and channels of the result.
    to: [usize; 3],
    step: usize,
    /// Rows of pixels of the result for each row of a phase.
    scale: usize,
    phases: Vec<Phase>,
    weights: Weights<'a>,
}

/// What the rows of a tile are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Pixels of a row of an image.
    Rows,
    /// The same pixel of several images.
    Pixels,
}

impl Convolution<'_> {
    /// The order with fewer steps. Rows have the advantage, since their pixels are neighbours in memory already.
    fn order(&self) -> Order {
        let c = self.from[2];
        let by_rows: usize = self
            .phases
            .iter()
            .map(|phase| {
                let tiles = self.n * phase.out[0] * phase.out[1].div_ceil(ROWS);
                tiles * phase.taps[0] * steps(phase.taps[1] * c)
            })
            .sum();
        let by_pixels: usize = self
            .phases
            .iter()
            .map(|phase| {
                let taps = |axis: usize| {
                    (0..phase.out[axis]).map(|u| self.inside(phase, axis, u).count()).sum::<usize>()
                };
                self.n.div_ceil(ROWS) * taps(0) * taps(1) * steps(c)
            })
            .sum();
        if 5 * by_pixels < 4 * by_rows { Order::Pixels } else { Order::Rows }
    }

    /// The taps along an axis that read a pixel of the image, for output pixel `u`, each with this pixel.
    fn inside(&self, phase: &Phase, axis: usize, u: usize) -> impl Iterator<Item = (usize, usize)> {
        let (start, pixels) = (phase.start[axis], self.from[axis]);
        let first = u * self.step;
        (0..phase.taps[axis]).filter_map(move |tap| {
            let pixel = usize::try_from(start.checked_add_unsigned(first + tap)?).ok()?;
            (pixel < pixels).then_some((tap, pixel))
        })
    }

    fn run(
        &self,
        cpu: &Cpu,
        x: Pixels<'_>,
        bias: Option<&[f32]>,
        y: &mut [f32],
        sums: Option<&mut BlockSums<'_>>,
    ) -> Result<()> {
        let columns = self.to[2];
        let kernel = self.instructions.kernels.for_columns(columns);
        let panels = columns.div_ceil(kernel.columns);
        let order = self.order();
        let packed: Vec<_> =
            self.phases.iter().map(|phase| self.pack(cpu, kernel, phase, order)).collect::<Result<_>>()?;
        let mut initial = vec![0.0; panels * kernel.columns];
        if let Some(bias) = bias {
            initial[..columns].copy_from_slice(&bias[..columns]);
        }
        let shared =
            Shared { kernel, columns, panels, packed: &packed, initial: &initial, y: SharedMut::new(y) };
        let x = Source::new(x);
        match order {
            Order::Rows => self.by_rows(cpu, &x, &shared, sums),
            Order::Pixels => self.by_pixels(cpu, &x, &shared),
        }
    }

    /// The weights of a phase in panels. In [`Order::Rows`] the taps of a kernel row are summed at once.
    fn pack(&self, cpu: &Cpu, kernel: Kernel, phase: &Phase, order: Order) -> Result<Packed> {
        let taps = match order {
            Order::Rows => phase.taps[1].max(1),
            Order::Pixels => 1,
        };
        let (depth, columns) = (self.from[2], self.to[2]);
        let Weights { w, row, transposed } = self.weights;
        let parts: Vec<_> = phase
            .matrices
            .chunks(taps)
            .map(|taps| Matrices { values: w, taps, depth, columns, row, transposed })
            .collect();
        let part = steps(taps * depth) * step_elements(kernel);
        let panel = parts.len() * part;
        let panels = columns.div_ceil(kernel.columns);
        let mut memory = cpu.allocate((panels * panel).div_ceil(2))?;
        if panel > 0 {
            let tasks = halves(&mut memory)[..panels * panel].chunks_mut(part).enumerate();
            cpu.threads().each(tasks, |(i, to)| {
                parts[i % parts.len()].pack(self.instructions, kernel, i / parts.len(), to);
            });
        }
        Ok(Packed { memory, panel })
    }

    /// The steps of a kernel row at a time, from the first tap's pixel on.
    fn row_steps(&self, kernel: Kernel, phase: &Phase, grid: &Grid) -> Steps {
        let each = steps(phase.taps[1] * self.from[2]);
        let all = (0..phase.taps[0]).flat_map(|p| (0..each).map(move |step| (p, step)));
        all.map(|(p, step)| Step {
            a: p * grid.across + step * DEPTH,
            b: (p * each + step) * step_elements(kernel),
        })
        .collect()
    }

    /// Each task computes rows of pixels of one image.
    fn by_rows(
        &self,
        cpu: &Cpu,
        x: &Source<'_>,
        shared: &Shared<'_>,
        sums: Option<&mut BlockSums<'_>>,
    ) -> Result<()> {
        /// Elements of the rounded rows of a task: they fill an eighth of a second-level cache of 2 MiB.
        const BLOCK: usize = 128 * 1024;
        let Self { n, from: [h, w, c], to: [h_to, w_to, c_to], step, scale, .. } = *self;
        let Shared { kernel, panels, .. } = *shared;
        let most = |f: &dyn Fn(&Phase) -> isize| self.phases.iter().map(f).max().unwrap_or(0);
        let (top, left) = (-most(&|phase| -phase.start[0]), -most(&|phase| -phase.start[1]));
        let reach =
            |axis: usize, start: isize| most(&|phase| phase.start[axis] + phase.taps[axis] as isize) - start;
        let (down, across) = (reach(0, top).max(0).unsigned_abs(), reach(1, left).max(0).unsigned_abs());
        let [rows, width] =
            [0, 1].map(|axis| self.phases.iter().map(|phase| phase.out[axis]).max().unwrap_or(0));
        if rows == 0 || width == 0 {
            return Ok(());
        }
        let columns = Axis { first: left, step: 1, len: (width - 1) * step + across, pixels: w };
        let row = columns.len * c;
        // Rows of a block: all of them, or as many as fit, in blocks of equal size if there are such.
        let fit = (BLOCK / row.max(1)).saturating_sub(down).div_ceil(step).clamp(1, rows);
        let block = (fit.div_ceil(2)..=fit).rev().find(|block| rows.is_multiple_of(*block)).unwrap_or(fit);
        let blocks = rows.div_ceil(block);
        let whole = blocks == 1 || (rows.is_multiple_of(block) && h_to == rows * scale);
        let per_task = if blocks == 1 { h_to * w_to } else { block * scale * w_to };
        let axis = |first: usize| Axis {
            first: top.saturating_add_unsigned(first * step),
            step: 1,
            len: (block - 1) * step + down,
            pixels: h,
        };
        let grid = Grid::by_image(axis(0), columns, c);
        let all_steps: Vec<Steps> =
            self.phases.iter().map(|phase| self.row_steps(kernel, phase, &grid)).collect();
        // A tile of missing rows, or a step of missing channels, reads beyond the last pixel.
        let len = grid.images + ROWS * step * c + row + DEPTH;
        let mut memory = cpu.allocate(cpu.threads().count() * len.div_ceil(2))?;
        let scratches = memory.chunks_mut(len.div_ceil(2));
        let g = Rows { rows: n * h_to * w_to, channels: c_to };
        let outputs = BlockSums::for_tasks(sums.filter(|_| whole), &g, per_task);
        cpu.threads().each_with((0..n * blocks).zip(outputs), scratches, |(task, sums), scratch| {
            let (image, first) = (task / blocks, task % blocks * block);
            let scratch = halves(scratch);
            scratch[grid.images..].fill(Bf16::default());
            let grid = Grid { rows: axis(first), ..grid };
            grid.fill(self.instructions.rows, x, image..image + 1, scratch);
            for (phase, (steps, packed)) in self.phases.iter().zip(all_steps.iter().zip(shared.packed)) {
                let [start, down, along] = phase.place;
                let start = image * h_to * w_to * c_to + start;
                let across = phase.out[1].div_ceil(ROWS);
                let last = phase.out[0].min(first + block);
                let corner = (phase.start[0] - top).unsigned_abs() * grid.across
                    + (phase.start[1] - left).unsigned_abs() * c;
                for panel in 0..panels {
                    let tiles = (first..last).flat_map(|u| (0..across).map(move |tile| (u, tile * ROWS)));
                    let tiles = tiles.map(|(u, v)| {
                        let a = corner + (u - first) * step * grid.across + v * step * c;
                        Place { a, start: start + u * down + v * along, rows: ROWS.min(phase.out[1] - v) }
                    });
                    shared.multiply(packed, panel, (scratch, step * c), steps, tiles, along);
                }
            }
            if let Some(sums) = sums {
                let elements = sums.rows.start * c_to..sums.rows.end * c_to;
                // SAFETY: this task has written all of these elements, and no other task accesses them.
                sums.compute(cpu, unsafe { shared.y.written(elements) });
            }
        });
        Ok(())
    }

    /// All images are rounded first. Each task computes a panel of columns for some of them.
    fn by_pixels(&self, cpu: &Cpu, x: &Source<'_>, shared: &Shared<'_>) -> Result<()> {
        let Self { n, from: [h, w, c], to: [h_to, w_to, c_to], .. } = *self;
        let Shared { kernel, panels, .. } = *shared;
        let grid = Grid::by_pixel(Axis::plain(h), Axis::plain(w), c, n.next_multiple_of(ROWS));
        let len = h * grid.across;
        let mut memory = cpu.allocate((len + DEPTH).div_ceil(2))?;
        let memory = halves(&mut memory);
        memory[len..].fill(Bf16::default());
        cpu.threads().each(memory[..len].chunks_mut(grid.across).enumerate(), |(row, to)| {
            for image in 0..n {
                grid.fill_row(self.instructions.rows, x, image, row, &mut to[image * c..]);
            }
            // A step of missing channels reads the next image.
            to.chunks_mut(grid.along).for_each(|pixel| pixel[n * c..].fill(Bf16::default()));
        });
        let memory = &*memory;
        /// Tasks that keep many threads busy.
        const TASKS: usize = 8;
        let each = steps(c);
        for (phase, packed) in self.phases.iter().zip(shared.packed) {
            let pixels: Vec<_> =
                (0..phase.out[0]).flat_map(|u| (0..phase.out[1]).map(move |v| (u, v))).collect();
            let all_steps: Vec<Steps> = pixels
                .iter()
                .map(|&(u, v)| {
                    let mut list = Steps::default();
                    for (p, row) in self.inside(phase, 0, u) {
                        for (q, column) in self.inside(phase, 1, v) {
                            for step in 0..each {
                                list.push(Step {
                                    a: row * grid.across + column * grid.along + step * DEPTH,
                                    b: ((p * phase.taps[1] + q) * each + step) * step_elements(kernel),
                                });
                            }
                        }
                    }
                    list
                })
                .collect();
            let [start, down, along] = phase.place;
            let group = kernel.tiles * ROWS;
            // Images of a task: all of them, if there are enough panels to keep many threads busy.
            let most = n.div_ceil(TASKS.div_ceil(panels)).next_multiple_of(group);
            let parts = n.div_ceil(most);
            let image = h_to * w_to * c_to;
            cpu.threads().each(0..panels * parts, |task| {
                let (panel, first) = (task / parts, task % parts * most);
                for (&(u, v), steps) in pixels.iter().zip(&all_steps) {
                    let places = (first..n.min(first + most)).step_by(ROWS).map(|i| Place {
                        a: i * c,
                        start: i * image + start + u * down + v * along,
                        rows: ROWS.min(n - i),
                    });
                    shared.multiply(packed, panel, (memory, c), steps, places, image);
                }
            });
        }
        Ok(())
    }
}

/// The weights of a phase in panels `[panel, part, step, tile, ..]`.
struct Packed {
    memory: Buffer,
    panel: usize,
}

/// What the tasks share.
struct Shared<'a> {
    kernel: Kernel,
    /// Columns of the result.
    columns: usize,
    panels: usize,
    packed: &'a [Packed],
    /// What each sum begins with, for all columns.
    initial: &'a [f32],
    y: SharedMut<'a>,
}

impl Shared<'_> {
    /// Multiplies tiles of A, whose rows begin `a_row` elements apart, by a panel of weights. The places are those of the result's
    /// first column; the rows of a place are `row` elements apart.
    fn multiply(
        &self,
        packed: &Packed,
        panel: usize,
        a: (&[Bf16], usize),
        steps: &Steps,
        places: impl Iterator<Item = Place>,
        row: usize,
    ) {
        let Self { kernel, initial, .. } = *self;
        let first = panel * kernel.columns;
        let b = &halves_of(&packed.memory)[panel * packed.panel..(panel + 1) * packed.panel];
        let to = Output { values: self.y, row, columns: self.columns - first };
        let places: Vec<_> = places.map(|place| Place { start: place.start + first, ..place }).collect();
        // SAFETY: each pixel of the result is in one tile of one task.
        unsafe { multiply(kernel, a, steps, b, Some(&initial[first..]), &places, to) }
    }
}
