//! Kernels that apply a transform to all channels of tiles.

use std::marker::PhantomData;
use std::ops::Range;

use crate::batch_norm::RectifiedBatchNorm;
use crate::shared_mut::SharedMut;
use crate::simd::{Job, Vector, WIDEST};

use super::layout::{Layout, Planes};
use super::transforms::{MOST, Transform};

/// One vector of channels of each pixel of a tile. Values of pixels outside the image, and of channels beyond the last, are 0.
struct TileBuffer([f32; MOST * MOST * WIDEST]);

impl TileBuffer {
    fn new() -> Self {
        Self([0.0; MOST * MOST * WIDEST])
    }

    /// The first `lanes` channels of pixel number `place`.
    fn place(&mut self, place: usize, lanes: usize) -> &mut [f32] {
        &mut self.0[place * WIDEST..][..lanes]
    }

    fn strides(size: usize) -> [usize; 2] {
        [size * WIDEST, WIDEST]
    }
}

/// Elements from the first lane of the first vector to the last lane of the last vector, of `size` by `size` vectors.
fn extent(size: usize, [row, column]: [usize; 2], lanes: usize) -> usize {
    (size - 1) * (row + column) + lanes
}

/// The rows and the columns of a whole tile.
const fn whole(size: usize) -> [Range<usize>; 2] {
    [0..size, 0..size]
}

/// to = T · from · Tᵀ + bias, for tiles of vectors at the given strides. With the operands `normal`, the vectors of `from` are
/// normalised and rectified first.
///
/// Only some rows and columns of each tile are in memory: `read` of `from`, and `written` of `to`. Vectors outside of them are read
/// as 0, and are not written.
///
/// # Safety
///
/// The machine has V's instructions; the vectors in `read` can be read, and those in `written` can be written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices show that the second half transforms rows where the first transforms columns
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

    /// The stored values, and the batch norm that is computed of them, if there is one.
    pub(crate) fn parts(&self) -> (&'a [f32], Option<&'a RectifiedBatchNorm<'a>>) {
        (self.values, self.batch_norm)
    }
}

/// Transforms tiles of images; the values of each tile become one item of the layout.
pub(super) struct FromPlanes<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) planes: Planes,
    pub(super) x: Pixels<'a>,
    pub(super) tiles: Range<usize>,
    /// The first channel is a multiple of [`WIDEST`].
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
                        stage = TileBuffer::new();
                        for (pixel, from) in inside.pixels(T::FROM, pixels) {
                            stage.place(pixel, lanes).copy_from_slice(&x.values[from + channel..][..lanes]);
                        }
                        let [rows, columns] = inside.ranges();
                        let first = rows.start * T::FROM + columns.start;
                        (stage.place(first, lanes).as_ptr(), TileBuffer::strides(T::FROM))
                    }
                };
                // The four calls differ in constants, so that the compiler makes a loop for each of them.
                // SAFETY: the slice above holds all vectors of the tile, and so does `stage`.
                unsafe {
                    match (inside.is_whole(T::FROM), normal) {
                        (true, None) => both_axes::<T, V>((from, strides, whole(T::FROM)), None, to, None),
                        (false, None) => both_axes::<T, V>((from, strides, inside.ranges()), None, to, None),
                        (true, normal) => {
                            both_axes::<T, V>((from, strides, whole(T::FROM)), normal, to, None)
                        }
                        (false, normal) => {
                            both_axes::<T, V>((from, strides, inside.ranges()), normal, to, None)
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
    /// No other task accesses these channels of these tiles.
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
                        // SAFETY: `values` has as many elements as the widest vector.
                        Some(unsafe { V::load(values.as_ptr()) })
                    }
                    None => None,
                };
                let to = inside.first + channel;
                let to = y.at(to..to + inside.extent(pixels, lanes));
                if lanes == V::LANES {
                    // SAFETY: the slice and the range hold all vectors, and no other task accesses them.
                    unsafe {
                        if is_whole {
                            both_axes::<T, V>(from, None, (to, pixels, whole(T::TO)), bias);
                        } else {
                            both_axes::<T, V>(from, None, (to, pixels, inside.ranges()), bias);
                        }
                    }
                    continue;
                }
                let mut stage = TileBuffer::new();
                let staged = (stage.0.as_mut_ptr(), TileBuffer::strides(T::TO), whole(T::TO));
                // SAFETY: the slice and the stage hold all vectors.
                unsafe { both_axes::<T, V>(from, None, staged, bias) };
                for (pixel, to) in inside.pixels(T::TO, pixels) {
                    let from = stage.place(pixel, lanes).as_ptr();
                    let to = y.at(to + channel..to + channel + lanes);
                    // SAFETY: both hold `lanes` elements, and no other task accesses them.
                    unsafe { to.copy_from_nonoverlapping(from, lanes) };
                }
            }
        }
    }
}

/// Transforms items to items of another layout, for example weights to panels.
pub(super) struct BetweenLayouts<'a, T> {
    pub(super) transform: PhantomData<T>,
    pub(super) from: &'a [f32],
    pub(super) from_layout: Layout,
    pub(super) items: usize,
    pub(super) channels: usize,
    pub(super) to_layout: Layout,
    /// The position in `to` of the first channel of the first item.
    pub(super) start: usize,
    /// No other task accesses these channels of these items.
    pub(super) to: SharedMut<'a>,
}

impl<T: Transform> Job for BetweenLayouts<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { from, from_layout, items, channels, to_layout, start, to, .. } = self;
        let (from_strides, to_strides) = (from_layout.strides(T::FROM), to_layout.strides(T::TO));
        for item in 0..items {
            for channel in (0..channels).step_by(V::LANES) {
                let source = from_layout.item(item) + from_layout.channel(channel);
                let place = start + to_layout.item(item) + to_layout.channel(channel);
                let lanes = V::LANES.min(channels - channel);
                let source = &from[source..source + extent(T::FROM, from_strides, lanes)];
                let to = to.at(place..place + extent(T::TO, to_strides, lanes));
                if lanes == V::LANES {
                    // SAFETY: the slice and the range hold all vectors, and no other task accesses them.
                    unsafe {
                        let from = (source.as_ptr(), from_strides, whole(T::FROM));
                        let to = (to, to_strides, whole(T::TO));
                        both_axes::<T, V>(from, None, to, None);
                    }
                    continue;
                }
                let (mut before, mut after) = (TileBuffer::new(), TileBuffer::new());
                for (place, row, column) in square(T::FROM) {
                    let source = &source[row * from_strides[0] + column * from_strides[1]..][..lanes];
                    before.place(place, lanes).copy_from_slice(source);
                }
                let staged = (before.0.as_ptr(), TileBuffer::strides(T::FROM), whole(T::FROM));
                let transformed = (after.0.as_mut_ptr(), TileBuffer::strides(T::TO), whole(T::TO));
                // SAFETY: `before` and `after` hold all vectors.
                unsafe { both_axes::<T, V>(staged, None, transformed, None) };
                for (place, row, column) in square(T::TO) {
                    let from = after.place(place, lanes).as_ptr();
                    // SAFETY: the range holds `lanes` elements there, and no other task accesses them.
                    unsafe {
                        to.add(row * to_strides[0] + column * to_strides[1])
                            .copy_from_nonoverlapping(from, lanes);
                    }
                }
            }
        }
    }
}

/// Number, row and column of each place of a square.
fn square(size: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..size * size).map(move |place| (place, place / size, place % size))
}
