//! The transforms over all channels of a tile.

use std::marker::PhantomData;
use std::ops::Range;

use crate::batch_norm::RectifiedBatchNorm;
use crate::shared_mut::SharedMut;
use crate::simd::{Job, Vector, WIDEST};

use super::layout::{Layout, Planes};
use super::transforms::{MOST, Transform};

/// The values of one tile in memory of fixed size. Values of pixels outside the image, and of channels beyond the last, are 0.
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

/// All vectors of a tile.
const fn whole(size: usize) -> [Range<usize>; 2] {
    [0..size, 0..size]
}

/// to = T · from · Tᵀ + bias for the vectors at these strides. With the operands `normal`, the vectors of `from` are normalised
/// first. Only a part of each tile, rows by columns, is in memory: vectors outside of this part are read as 0, and not written.
///
/// # Safety
///
/// The machine has V's instructions; the vectors from the parts' first to their last can be read and written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // rows and columns change places between the two halves: indices say it plainly
unsafe fn both_axes<T: Transform, V: Vector>(
    (from, [from_row, from_column], read): (*const f32, [usize; 2], [Range<usize>; 2]),
    normal: Option<[V; 3]>,
    (to, [to_row, to_column], written): (*mut f32, [usize; 2], [Range<usize>; 2]),
    bias: Option<V>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::zero();
        let mut half = [[zero; MOST]; MOST];
        for column in 0..T::FROM {
            if !read[1].contains(&column) {
                continue; // T · 0 = 0
            }
            let mut d = [zero; MOST];
            for row in 0..T::FROM {
                if read[0].contains(&row) {
                    let (row, column) = (row - read[0].start, column - read[1].start);
                    let value = V::load(from.add(row * from_row + column * from_column));
                    d[row + read[0].start] = match normal {
                        Some([mean, scale, beta]) => value.normalised(mean, scale, beta),
                        None => value,
                    };
                }
            }
            let d = T::apply(d);
            for row in 0..T::TO {
                half[row][column] = d[row];
            }
        }
        for row in 0..T::TO {
            if !written[0].contains(&row) {
                continue;
            }
            let d = T::apply(half[row]);
            for column in 0..T::TO {
                if written[1].contains(&column) {
                    let value = match bias {
                        Some(bias) => d[column] + bias,
                        None => d[column],
                    };
                    let (row, column) = (row - written[0].start, column - written[1].start);
                    value.store(to.add(row * to_row + column * to_column));
                }
            }
        }
    }
}

/// Pixels as a transform reads them: the stored values, or relu(batch_norm(x)) of the stored values x.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a> {
    values: &'a [f32],
    batch_norm: Option<&'a RectifiedBatchNorm<'a>>,
}

impl<'a> Pixels<'a> {
    pub(crate) fn stored(values: &'a [f32]) -> Self {
        Self { values, batch_norm: None }
    }

    pub(crate) fn rectified(z: &'a RectifiedBatchNorm<'a>) -> Self {
        Self { values: z.x, batch_norm: Some(z) }
    }
}

/// Transforms tiles of images; the values of each tile become one item of the layout.
pub(super) struct FromPlanes<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) planes: Planes,
    pub(super) x: Pixels<'a>,
    pub(super) tiles: Range<usize>,
    /// The first one is a multiple of [`WIDEST`].
    pub(super) channels: Range<usize>,
    pub(super) layout: Layout,
    pub(super) to: &'a mut [f32],
}

impl<T: Transform> Job for FromPlanes<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { planes, x, tiles, channels, layout, to, .. } = self;
        let (pixels, points) = (planes.strides(), layout.strides(T::TO));
        let to_extent = extent(T::TO, points, V::LANES);
        for (item, tile) in tiles.enumerate() {
            let inside = planes.tile(tile, T::FROM);
            let place = layout.item(item);
            for channel in channels.clone().step_by(V::LANES) {
                let at = place + layout.channel(channel - channels.start);
                let to = (to[at..at + to_extent].as_mut_ptr(), points, whole(T::TO));
                let lanes = V::LANES.min(channels.end - channel);
                let from = inside.first + channel;
                let from = &x.values[from..from + inside.extent(pixels, lanes)];
                // SAFETY: the operands are padded to the widest vector, and channels are counted in vectors.
                let normal = x.batch_norm.map(|z| unsafe { z.operands::<V>(channel) });
                let mut stage;
                let (from, strides) = match lanes == V::LANES {
                    true => (from.as_ptr(), pixels),
                    false => {
                        stage = Stage::new();
                        for (pixel, from) in inside.pixels(T::FROM, pixels) {
                            stage.place(pixel, lanes).copy_from_slice(&x.values[from + channel..][..lanes]);
                        }
                        let [rows, columns] = inside.part();
                        let first = rows.start * T::FROM + columns.start;
                        (stage.place(first, lanes).as_ptr(), Stage::strides(T::FROM))
                    }
                };
                // SAFETY: the slice taken above holds all vectors, and so does the stage. Each of the four is compiled by itself.
                unsafe {
                    match (inside.is_whole(T::FROM), normal) {
                        (true, None) => both_axes::<T, V>((from, strides, whole(T::FROM)), None, to, None),
                        (false, None) => both_axes::<T, V>((from, strides, inside.part()), None, to, None),
                        (true, normal) => {
                            both_axes::<T, V>((from, strides, whole(T::FROM)), normal, to, None)
                        }
                        (false, normal) => {
                            both_axes::<T, V>((from, strides, inside.part()), normal, to, None)
                        }
                    }
                }
            }
        }
    }
}

/// Transforms items to tiles of images and adds a bias. Pixels outside the image are not written.
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
        let from_extent = extent(T::FROM, points, V::LANES);
        for (item, tile) in tiles.enumerate() {
            let inside = planes.tile(tile, T::TO);
            let is_whole = inside.is_whole(T::TO);
            let place = layout.item(item);
            for channel in channels.clone().step_by(V::LANES) {
                let at = place + layout.channel(channel - channels.start);
                let from = (from[at..at + from_extent].as_ptr(), points, whole(T::FROM));
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
                let to = inside.first + channel;
                let to = y.at(to..to + inside.extent(pixels, lanes));
                if lanes == V::LANES {
                    // SAFETY: the slice and the range hold all vectors, and nobody else writes them.
                    unsafe {
                        if is_whole {
                            both_axes::<T, V>(from, None, (to, pixels, whole(T::TO)), bias);
                        } else {
                            both_axes::<T, V>(from, None, (to, pixels, inside.part()), bias);
                        }
                    }
                    continue;
                }
                let mut stage = Stage::new();
                let staged = (stage.0.as_mut_ptr(), Stage::strides(T::TO), whole(T::TO));
                // SAFETY: the slice and the stage hold all vectors.
                unsafe { both_axes::<T, V>(from, None, staged, bias) };
                for (pixel, to) in inside.pixels(T::TO, pixels) {
                    let from = stage.place(pixel, lanes).as_ptr();
                    let to = y.at(to + channel..to + channel + lanes);
                    // SAFETY: both hold so many elements, and nobody else writes them.
                    unsafe { to.copy_from_nonoverlapping(from, lanes) };
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
                    unsafe {
                        let (from, to) =
                            ((source.as_ptr(), taken, whole(T::FROM)), (to, given, whole(T::TO)));
                        both_axes::<T, V>(from, None, to, None);
                    }
                    continue;
                }
                let (mut before, mut after) = (Stage::new(), Stage::new());
                for (place, row, column) in square(T::FROM) {
                    let source = &source[row * taken[0] + column * taken[1]..][..lanes];
                    before.place(place, lanes).copy_from_slice(source);
                }
                let staged = (before.0.as_ptr(), Stage::strides(T::FROM), whole(T::FROM));
                let given_back = (after.0.as_mut_ptr(), Stage::strides(T::TO), whole(T::TO));
                // SAFETY: the stages hold all vectors.
                unsafe { both_axes::<T, V>(staged, None, given_back, None) };
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
