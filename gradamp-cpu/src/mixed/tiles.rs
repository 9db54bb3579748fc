//! Products whose results go to rows of memory that need not be whole tiles.

use crate::bf16::{Bf16, COLUMNS, Initial, Kernel, MOST_TILES, ROWS, Steps, Target};
use crate::shared_mut::SharedMut;

/// Tiles of a result in memory.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) values: SharedMut<'a>,
    /// Elements from one row of a tile to the next.
    pub(super) row: usize,
    /// The columns that exist from a tile's first on; at least one.
    pub(super) columns: usize,
}

/// A tile of a result: where its first row begins, and how many of its rows exist.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) rows: usize,
}

/// Multiplies the tiles of A that begin at `starts` by a panel of B. The results begin with the row `initial`, or are added to what
/// the places hold if there is none.
///
/// # Safety
///
/// No other code accesses the places.
pub(super) unsafe fn multiply(
    kernel: Kernel,
    a: (&[Bf16], &[usize], usize),
    steps: &Steps,
    b: &[Bf16],
    initial: Option<&[f32]>,
    places: &[Place],
    to: Output<'_>,
) {
    let columns = to.columns.min(kernel.columns);
    let mut pointers = [std::ptr::null_mut(); MOST_TILES];
    if columns == kernel.columns && places.iter().all(|place| place.rows == ROWS) {
        for (pointer, place) in pointers.iter_mut().zip(places) {
            *pointer = to.values.at(place.start..place.start + (ROWS - 1) * to.row + columns);
        }
        let target = Target { tiles: &pointers[..places.len()], row: to.row };
        let initial = initial.map_or(Initial::Target, Initial::Row);
        // SAFETY: the ranges are inside the result, and no other code accesses them: the caller's promise.
        return unsafe { kernel.multiply(a, steps, b, initial, &target) };
    }
    let mut stage = [0.0f32; MOST_TILES * ROWS * COLUMNS];
    let zeros = [0.0; 2 * COLUMNS];
    let tile = ROWS * kernel.columns;
    for (pointer, stage) in pointers.iter_mut().zip(stage.chunks_mut(tile)) {
        *pointer = stage.as_mut_ptr();
    }
    let target = Target { tiles: &pointers[..places.len()], row: kernel.columns };
    // SAFETY: the stage holds all tiles.
    unsafe { kernel.multiply(a, steps, b, Initial::Row(initial.unwrap_or(&zeros)), &target) };
    for (place, stage) in places.iter().zip(stage.chunks(tile)) {
        for (row, from) in stage.chunks(kernel.columns).take(place.rows).enumerate() {
            let start = place.start + row * to.row;
            // SAFETY: the range is inside the result, and no other code accesses it: the caller's promise.
            let to = unsafe { to.values.written(start..start + columns) };
            match initial {
                Some(_) => to.copy_from_slice(&from[..columns]),
                None => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            }
        }
    }
}
