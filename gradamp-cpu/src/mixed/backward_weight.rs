//! The weight gradient of a convolution with factors in bf16: dw\[p, q\] = Σ_pixels x[pixel · stride + (p, q) − padding]ᵀ · dy[pixel].
//!
//! The summed dimension is the pixels, so that x is transposed: `[channel, pixel]`. Its pixels lie in an order in which a tap is an
//! offset. Either the images follow each other with zeros between them, and dy is 0 there too, so that the sum goes over all places
//! ([`by_image`]). Or the same pixels of all images follow each other, and the sum goes over those that are in the image
//! ([`by_pixel`]).

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::Conv2d;

use super::grid::{Axis, Grid, Source};
use super::tiles::{Output, Place, multiply};
use super::weights::step_elements;
use crate::bf16::{Bf16, COLUMNS, DEPTH, Instructions, Kernel, RIGHT_TILE, ROWS, Step, Steps, halves};
use crate::device::Cpu;
use crate::elementwise::add_parts;
use crate::shared_mut::SharedMut;
use crate::winograd::Pixels;

/// Tasks that keep many threads busy.
const TASKS: usize = 32;

/// dw of a convolution.
pub(crate) fn backward_weight(
    cpu: &Cpu,
    instructions: &Instructions,
    g: &Conv2d,
    x: Pixels<'_>,
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    let gradient = Gradient {
        cpu,
        instructions,
        g,
        kernel: instructions.kernels.for_columns(g.c_out),
        x: Source::new(x),
        dy: Source::new(Pixels::stored(dy)),
    };
    let phases = gradient.phases();
    let places: usize = phases.iter().map(|phase| phase.places() * phase.taps()).sum();
    let taps = |size_in: usize, size_out: usize, kernel: usize| -> usize {
        let axis = Axis {
            first: -(g.padding as isize),
            step: 1,
            len: (size_out - 1) * g.stride + kernel,
            pixels: size_in,
        };
        (0..size_out)
            .flat_map(|u| (0..kernel).map(move |p| u * g.stride + p))
            .filter(|&i| axis.pixel(i).is_some())
            .count()
    };
    let dw = &mut dw[..g.kh * g.kw * g.c_in * g.c_out];
    if g.n * g.pixels() == 0 {
        dw.fill(0.0);
        return Ok(());
    }
    let by_pixel = g.n.next_multiple_of(DEPTH) * taps(g.h_in, g.h_out, g.kh) * taps(g.w_in, g.w_out, g.kw);
    if 5 * by_pixel < 4 * g.n * places { gradient.by_pixel(dw) } else { gradient.by_image(&phases, dw) }
}

struct Gradient<'a> {
    cpu: &'a Cpu,
    instructions: &'a Instructions,
    g: &'a Conv2d,
    kernel: Kernel,
    x: Source<'a>,
    dy: Source<'a>,
}

/// The taps (p, q) with the same remainders modulo the stride. They read the same pixels of x, at offsets.
struct Phase {
    /// The first tap, and the number of taps, along each axis.
    taps: [(usize, usize); 2],
    x: Grid,
    dy: Grid,
}

impl Phase {
    /// Places of an image in the grid.
    fn places(&self) -> usize {
        self.x.rows.len * self.x.columns.len
    }

    fn taps(&self) -> usize {
        self.taps[0].1 * self.taps[1].1
    }
}

/// The pixels `first + i · step` along an axis, so many that the zeros behind one row are those before the next one.
fn shared_zeros(first: isize, step: usize, pixels: usize, outputs: usize, taps: usize) -> Axis {
    let needed = outputs + taps - 1;
    let inside = Axis { first, step, len: needed, pixels }.inside();
    Axis { first, step, len: outputs.max(inside.end).max(needed - inside.start.min(needed)), pixels }
}

impl Gradient<'_> {
    fn phases(&self) -> Vec<Phase> {
        let g = self.g;
        let remainders =
            |kernel: usize| (0..g.stride.min(kernel)).map(move |p| (p, (kernel - p).div_ceil(g.stride)));
        let first = |tap: usize| tap as isize - g.padding as isize;
        let mut phases = Vec::new();
        for (p, down) in remainders(g.kh) {
            for (q, across) in remainders(g.kw) {
                let rows = shared_zeros(first(p), g.stride, g.h_in, g.h_out, down);
                let columns = shared_zeros(first(q), g.stride, g.w_in, g.w_out, across);
                let outputs = |axis: Axis, pixels| Axis { first: 0, step: 1, len: axis.len, pixels };
                phases.push(Phase {
                    taps: [(p, down), (q, across)],
                    x: Grid::by_image(rows, columns, g.c_in),
                    dy: Grid::by_image(outputs(rows, g.h_out), outputs(columns, g.w_out), g.c_out),
                });
            }
        }
        phases
    }

    /// Each task sums over some images; their sums are added in the order of the tasks.
    fn by_image(&self, phases: &[Phase], dw: &mut [f32]) -> Result<()> {
        /// Elements of what is summed at a time, of x or of dy: all together they fill half of a second-level cache of 2 MiB.
        const BLOCK: usize = 128 * 1024;
        /// Elements of all sums together.
        const SUMS: usize = 1 << 20;
        let (g, kernel) = (self.g, self.kernel);
        // A power of two, so that few threads share the chunks evenly.
        let chunks = (SUMS / dw.len().max(1)).clamp(4, TASKS).next_power_of_two();
        let chunk = g.n.div_ceil(chunks);
        let chunks = g.n.div_ceil(chunk);
        let most = phases.iter().map(Phase::places).max().unwrap_or(1).max(1);
        let together = (BLOCK / (most * g.c_in.max(g.c_out))).clamp(1, chunk);
        let places = (together * most).next_multiple_of(DEPTH);
        let [rows, panels] = [g.c_in.next_multiple_of(ROWS), g.c_out.div_ceil(kernel.columns)];
        // A tap's last step reads this far beyond the places.
        let furthest = phases
            .iter()
            .map(|phase| (phase.taps[0].1 - 1) * phase.x.columns.len + phase.taps[1].1 - 1)
            .max();
        let row = places + (furthest.unwrap_or(0) + DEPTH).next_multiple_of(DEPTH) + DEPTH;
        // Rounded pixels, then x transposed, then dy in tiles.
        let lengths = [
            (places + DEPTH) * g.c_in.max(g.c_out) + DEPTH,
            rows * row,
            panels * places / DEPTH * step_elements(kernel),
        ];
        let length = lengths.iter().sum::<usize>().div_ceil(2);
        let mut memory = self.cpu.allocate(self.cpu.threads().count() * length)?;
        let elements = dw.len();
        let mut parts = self.cpu.allocate(if chunks > 1 { chunks * elements } else { 0 })?;
        let to = SharedMut::new(if chunks > 1 { &mut parts } else { &mut *dw });
        self.cpu.threads().each_with(0..chunks, memory.chunks_mut(length), |part, scratch| {
            let (rounded, rest) = halves(scratch).split_at_mut(lengths[0]);
            let (left, right) = rest.split_at_mut(lengths[1]);
            let right = &mut right[..lengths[2]];
            let images = part * chunk..g.n.min((part + 1) * chunk);
            for start in images.clone().step_by(together) {
                let some = start..images.end.min(start + together);
                for phase in phases {
                    let count = some.len() * phase.places();
                    let steps = count.div_ceil(DEPTH);
                    self.round(&phase.x, &self.x, some.clone(), count, rounded);
                    self.transpose(rounded, g.c_in, steps, left, row);
                    self.round(&phase.dy, &self.dy, some.clone(), count, rounded);
                    self.pair(rounded, g.c_out, steps, right);
                    let list =
                        (0..steps).map(|s| Step { a: s * DEPTH, b: s * step_elements(kernel) }).collect();
                    let [(p, down), (q, across)] = phase.taps;
                    let taps = (0..down).flat_map(|i| (0..across).map(move |j| (i, j)));
                    let places: Vec<_> = taps
                        .flat_map(|(i, j)| {
                            let tap = (p + i * g.stride) * g.kw + q + j * g.stride;
                            let start = part * elements + tap * g.c_in * g.c_out;
                            self.places(start, i * phase.x.columns.len + j, row)
                        })
                        .collect();
                    for panel in 0..panels {
                        let b = &right[panel * steps * step_elements(kernel)..];
                        self.multiply((left, row), &list, b, &places, panel, start == images.start, to);
                    }
                }
            }
        });
        if chunks > 1 {
            add_parts(self.cpu.threads(), &parts, dw);
        }
        Ok(())
    }

    /// Rounds the pixels of images, and appends zeros to whole steps.
    fn round(
        &self,
        grid: &Grid,
        x: &Source<'_>,
        images: std::ops::Range<usize>,
        count: usize,
        to: &mut [Bf16],
    ) {
        grid.fill(self.instructions.rows, x, images, to);
        let end = count * grid.channels;
        to[end..end + DEPTH * grid.channels + DEPTH].fill(Bf16::default());
    }

    /// From `[place, channel]` to `[channel, place]`, where rows begin `row` elements apart. Zeros follow the last place.
    fn transpose(&self, from: &[Bf16], channels: usize, steps: usize, to: &mut [Bf16], row: usize) {
        let mut pairs = [Bf16::default(); RIGHT_TILE];
        for step in 0..steps {
            for channel in (0..channels).step_by(COLUMNS) {
                (self.instructions.rows.pair)(
                    &from[step * DEPTH * channels + channel..],
                    channels,
                    &mut pairs,
                );
                let to = &mut to[channel * row + step * DEPTH..];
                (self.instructions.rows.transpose)(&pairs, 2 * COLUMNS, to, row);
            }
        }
        for to in to.chunks_mut(row) {
            to[steps * DEPTH..].fill(Bf16::default());
        }
    }

    /// From `[place, channel]` to the tiles of B: `[panel, step, tile, DEPTH / 2, COLUMNS, 2]`.
    fn pair(&self, from: &[Bf16], channels: usize, steps: usize, to: &mut [Bf16]) {
        let panels = to.chunks_mut(steps * step_elements(self.kernel));
        for (panel, to) in panels.take(channels.div_ceil(self.kernel.columns)).enumerate() {
            for (step, to) in to.chunks_mut(step_elements(self.kernel)).enumerate() {
                self.pair_step(&from[step * DEPTH * channels..], channels, panel, to);
            }
        }
    }

    /// A step of [`Gradient::pair`]: the tiles of a panel, from the places that `from` begins with. Zeros fill a tile without channels.
    fn pair_step(&self, from: &[Bf16], channels: usize, panel: usize, to: &mut [Bf16]) {
        for (tile, to) in to.chunks_mut(RIGHT_TILE).enumerate() {
            let channel = panel * self.kernel.columns + tile * COLUMNS;
            match channel < channels {
                true => (self.instructions.rows.pair)(&from[channel..], channels, to),
                false => to.fill(Bf16::default()),
            }
        }
    }

    /// The row tiles of the gradient of a tap, which begins at the element `start` of the result and reads x from the place `shift` on.
    fn places(&self, start: usize, shift: usize, row: usize) -> impl Iterator<Item = Place> + use<> {
        let Conv2d { c_in, c_out, .. } = *self.g;
        (0..c_in).step_by(ROWS).map(move |channel| Place {
            a: channel * row + shift,
            start: start + channel * c_out,
            rows: ROWS.min(c_in - channel),
        })
    }

    /// Multiplies x by a panel of dy. The result overwrites the panel's columns of the places, or is added to them.
    fn multiply(
        &self,
        a: (&[Bf16], usize),
        steps: &Steps,
        b: &[Bf16],
        places: &[Place],
        panel: usize,
        first: bool,
        values: SharedMut<'_>,
    ) {
        let (g, kernel) = (self.g, self.kernel);
        let column = panel * kernel.columns;
        let to = Output { values, row: g.c_out, columns: g.c_out - column };
        let places: Vec<_> =
            places.iter().map(|place| Place { start: place.start + column, ..*place }).collect();
        let zeros = [0.0; 2 * COLUMNS];
        // SAFETY: the gradient of a tap, or a panel of it, belongs to one task.
        unsafe { multiply(kernel, a, steps, b, first.then_some(&zeros[..]), &places, to) }
    }

    /// All images are rounded first. Each task sums over all of them, for a tap and a panel of columns.
    fn by_pixel(&self, dw: &mut [f32]) -> Result<()> {
        let (g, kernel, cpu) = (self.g, self.kernel, self.cpu);
        let n = g.n.next_multiple_of(DEPTH);
        let panels = g.c_out.div_ceil(kernel.columns);
        let (pixels_in, pixels_out) = (g.h_in * g.w_in, g.h_out * g.w_out);
        let [rows, row] = [g.c_in.next_multiple_of(ROWS), pixels_in * n + DEPTH];
        let mut left = cpu.allocate((rows * row).div_ceil(2))?;
        let mut right =
            cpu.allocate((panels * pixels_out * n / DEPTH * step_elements(kernel)).div_ceil(2))?;
        let (left, right) = (SharedMut::new(halves(&mut left)), SharedMut::new(halves(&mut right)));
        let length = n * g.c_in.max(g.c_out) + DEPTH;
        let mut memory = cpu.allocate(cpu.threads().count() * length.div_ceil(2))?;
        // Each task rounds a pixel of all images, of x or of dy.
        let scratches = memory.chunks_mut(length.div_ceil(2));
        cpu.threads().each_with(0..pixels_in + pixels_out, scratches, |task, scratch| {
            let scratch = halves(scratch);
            let (x, pixel, [h, w], c) = match task.checked_sub(pixels_in) {
                None => (&self.x, task, [g.h_in, g.w_in], g.c_in),
                Some(pixel) => (&self.dy, pixel, [g.h_out, g.w_out], g.c_out),
            };
            let only = |pixel: usize, pixels| Axis { first: pixel as isize, step: 1, len: 1, pixels };
            let grid = Grid::by_pixel(only(pixel / w, h), only(pixel % w, w), c, n);
            grid.fill(self.instructions.rows, x, 0..g.n, scratch);
            scratch[g.n * c..n * c + DEPTH].fill(Bf16::default());
            if task < pixels_in {
                let mut pairs = [Bf16::default(); RIGHT_TILE];
                for (step, channel) in
                    (0..n / DEPTH).flat_map(|s| (0..c).step_by(COLUMNS).map(move |i| (s, i)))
                {
                    (self.instructions.rows.pair)(&scratch[step * DEPTH * c + channel..], c, &mut pairs);
                    let mut columns = [Bf16::default(); RIGHT_TILE];
                    (self.instructions.rows.transpose)(&pairs, 2 * COLUMNS, &mut columns, DEPTH);
                    for (lane, from) in columns.chunks(DEPTH).enumerate() {
                        let start = (channel + lane) * row + pixel * n + step * DEPTH;
                        // SAFETY: the columns of a pixel belong to one task.
                        unsafe { left.written(start..start + DEPTH) }.copy_from_slice(from);
                    }
                }
                return;
            }
            for (panel, step) in (0..panels).flat_map(|panel| (0..n / DEPTH).map(move |step| (panel, step))) {
                let start = ((panel * pixels_out + pixel) * (n / DEPTH) + step) * step_elements(kernel);
                // SAFETY: the steps of a pixel belong to one task.
                let to = unsafe { right.written(start..start + step_elements(kernel)) };
                self.pair_step(&scratch[step * DEPTH * c..], c, panel, to);
            }
        });
        let per_panel = pixels_out * (n / DEPTH) * step_elements(kernel);
        // SAFETY: all tasks that write have ended, and none reads beyond what they wrote but for rows whose results are dropped.
        let (left, right) = unsafe { (left.written(0..rows * row), right.written(0..panels * per_panel)) };
        let steps_of = |p: usize, q: usize| {
            let axis = |tap: usize, pixels: usize, outputs: usize| {
                let axis =
                    Axis { first: tap as isize - g.padding as isize, step: g.stride, len: outputs, pixels };
                (0..outputs).filter_map(move |u| Some((u, axis.pixel(u)?)))
            };
            let rows = axis(p, g.h_in, g.h_out);
            let places = rows.flat_map(|(u, i)| {
                axis(q, g.w_in, g.w_out).map(move |(v, j)| (u * g.w_out + v, i * g.w_in + j))
            });
            let steps = places.flat_map(|(output, input)| {
                (0..n / DEPTH).map(move |step| Step {
                    a: input * n + step * DEPTH,
                    b: (output * (n / DEPTH) + step) * step_elements(kernel),
                })
            });
            steps.collect::<Steps>()
        };
        let taps: Vec<Steps> =
            (0..g.kh).flat_map(|p| (0..g.kw).map(move |q| (p, q))).map(|(p, q)| steps_of(p, q)).collect();
        let to = SharedMut::new(dw);
        cpu.threads().each(0..panels * taps.len(), |task| {
            let (panel, tap) = (task / taps.len(), task % taps.len());
            let b = &right[panel * per_panel..][..per_panel];
            let places: Vec<_> = self.places(tap * g.c_in * g.c_out, 0, row).collect();
            self.multiply((left, row), &taps[tap], b, &places, panel, true, to);
        });
        Ok(())
    }
}
