//! Products whose results go to rows of memory that need not be whole tiles.

use crate::bf16::{Bf16, COLUMNS, Initial, Kernel, MOST_TILES, ROWS, Steps, Strides, Tile};
use crate::shared_mut::SharedMut;

/// Where the results of a product go.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub(super) values: SharedMut<'a>,
    /// Elements from one row of a tile to the next.
    pub(super) row: usize,
    /// The columns that exist from a tile's first on; at least one.
    pub(super) columns: usize,
}

/// A row tile of a product: the element of A with which it begins, the element of the result with which its first row begins, and how
/// many of its rows exist.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) a: usize,
    pub(super) start: usize,
    pub(super) rows: usize,
}

/// Multiplies row tiles of A, whose rows begin `a_row` elements apart, by a panel of B. The results begin with the row `initial`, or
/// are added to what the places hold if there is none.
///
/// # Safety
///
/// No other code accesses the places.
pub(super) unsafe fn multiply(
    kernel: Kernel,
    (a, a_row): (&[Bf16], usize),
    steps: &Steps,
    b: &[Bf16],
    initial: Option<&[f32]>,
    places: &[Place],
    to: Output<'_>,
) {
    let columns = to.columns.min(kernel.columns);
    let is_whole = |place: &Place| columns == kernel.columns && place.rows == ROWS;
    let whole: Vec<Tile> = places
        .iter()
        .filter(|place| is_whole(place))
        .map(|place| Tile {
            a: place.a,
            c: to.values.at(place.start..place.start + (ROWS - 1) * to.row + columns),
        })
        .collect();
    let strides = Strides { a: a_row, c: to.row };
    // SAFETY: the ranges are inside the result, and no other code accesses them: the caller's promise.
    unsafe { kernel.multiply((a, b), steps, initial.map_or(Initial::Target, Initial::Row), &whole, strides) }

    // The others are computed whole, and what exists of them is copied.
    const STAGED: usize = 2 * MOST_TILES;
    let mut rest = places.iter().filter(|place| !is_whole(place)).peekable();
    let zeros = [0.0; 2 * COLUMNS];
    let tile = ROWS * kernel.columns;
    let strides = Strides { a: a_row, c: kernel.columns };
    while rest.peek().is_some() {
        let mut stage = [0.0f32; STAGED * ROWS * 2 * COLUMNS];
        let start = SharedMut::new(&mut stage);
        let some: Vec<_> = rest.by_ref().take(STAGED).collect();
        let tiles: Vec<Tile> = some
            .iter()
            .enumerate()
            .map(|(i, place)| Tile { a: place.a, c: start.at(i * tile..(i + 1) * tile) })
            .collect();
        // SAFETY: the stage holds all tiles.
        unsafe { kernel.multiply((a, b), steps, Initial::Row(initial.unwrap_or(&zeros)), &tiles, strides) }
        for (place, stage) in some.iter().zip(stage.chunks(tile)) {
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
}
