//! Tiles of images, and the transforms over all channels of a tile.

use std::marker::PhantomData;
use std::ops::Range;

use crate::cpu::shared_mut::SharedMut;
use crate::cpu::simd::{Job, Vector};

use super::transforms::{MOST, Transform};

/// The most lanes of a vector; channels are padded to a multiple of it wherever they are transformed.
pub(super) const WIDEST: usize = 16;

/// Images cut into tiles that begin `step` pixels apart, the first one `start` pixels from the corner.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) channels: usize,
    pub(super) down: usize,
    pub(super) across: usize,
    pub(super) step: usize,
    pub(super) start: isize,
}

/// The part of a tile that is inside its image: which of its pixels, and where the first one's channels are.
struct Inside {
    rows: Range<usize>,
    columns: Range<usize>,
    first: usize,
}

impl Planes {
    /// A tile of `size` by `size` pixels.
    fn tile(&self, tile: usize, size: usize) -> Inside {
        let (line, j) = (tile / self.across, tile % self.across);
        let (image, i) = (line / self.down, line % self.down);
        let inside = |i: usize, length: usize| {
            let start = (i * self.step) as isize + self.start;
            let first = (-start).clamp(0, size as isize);
            let end = (length as isize - start).clamp(first, size as isize);
            (first.unsigned_abs()..end.unsigned_abs(), (start + first).max(0).unsigned_abs())
        };
        let ((rows, row), (columns, column)) = (inside(i, self.h), inside(j, self.w));
        Inside { rows, columns, first: ((image * self.h + row) * self.w + column) * self.channels }
    }

    /// From a row of pixels to the next, and from a pixel to the next.
    fn strides(&self) -> [usize; 2] {
        [self.w * self.channels, self.channels]
    }
}

impl Inside {
    fn is_whole(&self, size: usize) -> bool {
        self.rows.len() == size && self.columns.len() == size
    }

    /// Each pixel: its place in a tile of `size` by `size`, and in the images.
    fn pixels(&self, size: usize, [row, column]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = (self.rows.clone(), self.columns.clone());
        let first = self.first;
        rows.enumerate().flat_map(move |(i, r)| {
            let columns = columns.clone().enumerate();
            columns.map(move |(j, c)| (r * size + c, first + i * row + j * column))
        })
    }
}

/// Where values lie: by item (a tile, or a row of a matrix), channel and point (a product, or a tap).
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Items lie in groups of so many.
    pub(super) group: usize,
    /// From one group to the next.
    pub(super) group_stride: usize,
    /// From one item of a group to the next.
    pub(super) item_stride: usize,
    /// Channels lie in runs of so many, a multiple of [`WIDEST`].
    pub(super) run: usize,
    /// From one run to the next.
    pub(super) run_stride: usize,
    /// From one point to the next.
    pub(super) point_stride: usize,
}

impl Layout {
    /// A matrix for each point, `[item, item_stride]`.
    pub(super) fn matrices(item_stride: usize, point_stride: usize) -> Self {
        Self {
            group: usize::MAX,
            group_stride: 0,
            item_stride,
            run: usize::MAX / WIDEST * WIDEST,
            run_stride: 0,
            point_stride,
        }
    }

    fn item(&self, item: usize) -> usize {
        item / self.group * self.group_stride + item % self.group * self.item_stride
    }

    fn channel(&self, channel: usize) -> usize {
        channel / self.run * self.run_stride + channel % self.run
    }

    fn strides(&self, size: usize) -> [usize; 2] {
        [size * self.point_stride, self.point_stride]
    }
}

/// Values of one tile on their way: those of pixels outside the image, or of channels beyond the last, are 0.
struct Stage([f32; MOST * MOST * WIDEST]);

impl Stage {
    fn new() -> Self {
        Self([0.0; MOST * MOST * WIDEST])
    }

    fn place(&mut self, place: usize, lanes: usize) -> &mut [f32] {
        &mut self.0[place * WIDEST..][..lanes]
    }

    fn strides(size: usize) -> [usize; 2] {
        [size * WIDEST, WIDEST]
    }
}

/// Elements from the first to the last of `size` by `size` vectors.
fn extent(size: usize, [row, column]: [usize; 2], lanes: usize) -> usize {
    (size - 1) * (row + column) + lanes
}

/// to = T · from · Tᵀ + bias for the vectors at these strides.
///
/// # Safety
///
/// The machine has V's instructions; the vectors of [`extent`] can be read and written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // counted loops, which the compiler unrolls into registers
unsafe fn both_axes<T: Transform, V: Vector>(
    from: *const f32,
    [from_row, from_column]: [usize; 2],
    to: *mut f32,
    [to_row, to_column]: [usize; 2],
    bias: Option<V>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let any = V::load(from);
        let mut half = [[any; MOST]; MOST];
        for column in 0..T::FROM {
            let mut d = [any; MOST];
            for row in 0..T::FROM {
                d[row] = V::load(from.add(row * from_row + column * from_column));
            }
            let d = T::apply(d);
            for row in 0..T::TO {
                half[row][column] = d[row];
            }
        }
        for row in 0..T::TO {
            let d = T::apply(half[row]);
            for column in 0..T::TO {
                let value = match bias {
                    Some(bias) => d[column] + bias,
                    None => d[column],
                };
                value.store(to.add(row * to_row + column * to_column));
            }
        }
    }
}

/// Transforms tiles of images: each one's values go to the places of an item.
pub(super) struct FromPlanes<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) planes: Planes,
    pub(super) x: &'a [f32],
    pub(super) tiles: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) layout: Layout,
    pub(super) to: &'a mut [f32],
}

impl<T: Transform> Job for FromPlanes<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { planes, x, tiles, channels, layout, to, .. } = self;
        let (pixels, points) = (planes.strides(), layout.strides(T::TO));
        let (from_extent, to_extent) = (extent(T::FROM, pixels, V::LANES), extent(T::TO, points, V::LANES));
        let mut stage = Stage::new();
        for (item, tile) in tiles.enumerate() {
            let inside = planes.tile(tile, T::FROM);
            let whole = inside.is_whole(T::FROM);
            let place = layout.item(item);
            if !whole {
                stage = Stage::new(); // what is inside is overwritten channel by channel, what is outside stays 0
            }
            for channel in channels.clone().step_by(V::LANES) {
                let at = place + layout.channel(channel - channels.start);
                let to = to[at..at + to_extent].as_mut_ptr();
                let lanes = V::LANES.min(channels.end - channel);
                if whole && lanes == V::LANES {
                    let from = inside.first + channel;
                    let from = x[from..from + from_extent].as_ptr();
                    // SAFETY: the slices just taken hold all vectors.
                    unsafe { both_axes::<T, V>(from, pixels, to, points, None) };
                    continue;
                }
                for (pixel, from) in inside.pixels(T::FROM, pixels) {
                    let from = &x[from + channel..][..lanes];
                    if lanes == V::LANES {
                        // SAFETY: the slice holds a vector, and so does each place of the stage.
                        unsafe { V::load(from.as_ptr()).store(stage.place(pixel, lanes).as_mut_ptr()) };
                    } else {
                        stage.place(pixel, lanes).copy_from_slice(from);
                    }
                }
                // SAFETY: the slice just taken holds all vectors, and so does the stage.
                unsafe {
                    both_axes::<T, V>(stage.0.as_ptr(), Stage::strides(T::FROM), to, points, None);
                }
            }
        }
    }
}

/// Transforms items to tiles of images and adds a bias; of a tile only what is inside its image is written.
pub(super) struct ToPlanes<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) from: &'a [f32],
    pub(super) layout: Layout,
    pub(super) planes: Planes,
    pub(super) tiles: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) bias: Option<&'a [f32]>,
    /// Nobody else writes these channels of these tiles.
    pub(super) y: SharedMut<'a>,
}

impl<T: Transform> Job for ToPlanes<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { from, layout, planes, tiles, channels, bias, y, .. } = self;
        let (pixels, points) = (planes.strides(), layout.strides(T::FROM));
        let (from_extent, to_extent) = (extent(T::FROM, points, V::LANES), extent(T::TO, pixels, V::LANES));
        let mut stage = Stage::new();
        for (item, tile) in tiles.enumerate() {
            let inside = planes.tile(tile, T::TO);
            let whole = inside.is_whole(T::TO);
            let place = layout.item(item);
            for channel in channels.clone().step_by(V::LANES) {
                let at = place + layout.channel(channel - channels.start);
                let from = from[at..at + from_extent].as_ptr();
                let lanes = V::LANES.min(channels.end - channel);
                let bias = match bias {
                    Some(bias) => {
                        let mut values = [0.0; WIDEST];
                        values[..lanes].copy_from_slice(&bias[channel..channel + lanes]);
                        // SAFETY: as many as the widest vector has.
                        Some(unsafe { V::load(values.as_ptr()) })
                    }
                    None => None,
                };
                if whole && lanes == V::LANES {
                    let to = inside.first + channel;
                    let to = y.at(to..to + to_extent);
                    // SAFETY: the slice and the range hold all vectors, and nobody else writes them.
                    unsafe { both_axes::<T, V>(from, points, to, pixels, bias) };
                    continue;
                }
                // SAFETY: the slice and the stage hold all vectors.
                unsafe {
                    both_axes::<T, V>(from, points, stage.0.as_mut_ptr(), Stage::strides(T::TO), bias);
                }
                for (pixel, to) in inside.pixels(T::TO, pixels) {
                    let from = stage.place(pixel, lanes).as_ptr();
                    let to = y.at(to + channel..to + channel + lanes);
                    // SAFETY: both hold so many elements, and nobody else writes them.
                    unsafe {
                        if lanes == V::LANES {
                            V::load(from).store(to);
                        } else {
                            to.copy_from_nonoverlapping(from, lanes);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms items to items, as weights are.
pub(super) struct Between<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) from: &'a [f32],
    pub(super) from_layout: Layout,
    pub(super) items: usize,
    pub(super) channels: usize,
    pub(super) to_layout: Layout,
    /// Where the first item's first channel goes.
    pub(super) start: usize,
    /// Nobody else writes these channels of these items.
    pub(super) to: SharedMut<'a>,
}

impl<T: Transform> Job for Between<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { from, from_layout, items, channels, to_layout, start, to, .. } = self;
        let (taken, given) = (from_layout.strides(T::FROM), to_layout.strides(T::TO));
        for item in 0..items {
            for channel in (0..channels).step_by(V::LANES) {
                let source = from_layout.item(item) + from_layout.channel(channel);
                let place = start + to_layout.item(item) + to_layout.channel(channel);
                let lanes = V::LANES.min(channels - channel);
                let source = &from[source..source + extent(T::FROM, taken, lanes)];
                let to = to.at(place..place + extent(T::TO, given, lanes));
                if lanes == V::LANES {
                    // SAFETY: the slice and the range hold all vectors, and nobody else writes them.
                    unsafe { both_axes::<T, V>(source.as_ptr(), taken, to, given, None) };
                    continue;
                }
                let (mut before, mut after) = (Stage::new(), Stage::new());
                for (place, row, column) in square(T::FROM) {
                    let source = &source[row * taken[0] + column * taken[1]..][..lanes];
                    before.place(place, lanes).copy_from_slice(source);
                }
                let strides = [Stage::strides(T::FROM), Stage::strides(T::TO)];
                // SAFETY: the stages hold all vectors.
                unsafe {
                    both_axes::<T, V>(before.0.as_ptr(), strides[0], after.0.as_mut_ptr(), strides[1], None);
                }
                for (place, row, column) in square(T::TO) {
                    let from = after.place(place, lanes).as_ptr();
                    // SAFETY: the range holds so many elements there, and nobody else writes them.
                    unsafe {
                        to.add(row * given[0] + column * given[1]).copy_from_nonoverlapping(from, lanes);
                    }
                }
            }
        }
    }
}

/// All places of `size` by `size`, with row and column.
fn square(size: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..size * size).map(move |place| (place, place / size, place % size))
}
