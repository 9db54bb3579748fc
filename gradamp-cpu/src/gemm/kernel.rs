//! What a micro-kernel is given: how its operands lie in memory, and the size of its tile.

/// The summed dimension is cut into pieces of this length: a panel of B then fits the first-level cache.
pub(crate) const DEPTH: usize = 256;

/// Elements between two rows of a packed block of A: [`DEPTH`] and a line, so that rows do not share cache sets.
pub(crate) const STRIDE: usize = DEPTH + 16;

/// How a block of A lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Rows [`STRIDE`] elements apart.
    Rows,
    /// Steps of the summed dimension so many elements apart, each with the elements of all rows.
    Steps(usize),
    /// `[tile, depth / LANES, tile's rows, LANES]`: a tile is read from its first element to its last.
    Lanes,
}

impl Left {
    /// From one tile to the next.
    pub(crate) fn tile(self, rows: usize, depth: usize) -> usize {
        match self {
            Left::Rows => rows * STRIDE,
            Left::Steps(_) => rows,
            Left::Lanes => rows * depth.next_multiple_of(LANES),
        }
    }

    /// What the micro-kernels may assume about their operands.
    pub(crate) fn check(
        self,
        [rows, columns]: [usize; 2],
        tiles: usize,
        depth: usize,
        a: &[f32],
        b: &[f32],
        c: &[f32],
    ) {
        assert!(depth > 0 && tiles > 0);
        let last = (tiles - 1) * self.tile(rows, depth)
            + match self {
                Left::Rows => (rows - 1) * STRIDE + depth,
                Left::Steps(step) => (depth - 1) * step + rows,
                Left::Lanes => self.tile(rows, depth),
            };
        assert!(a.len() >= last && b.len() >= depth * columns && c.len() >= tiles * rows * columns);
    }
}

/// Neighbours along the summed dimension in [`Left::Lanes`]: a cache line.
pub(crate) const LANES: usize = 16;

/// Adds the product of a block of A and a panel of B to tiles of C, or writes it there.
///
/// The arguments: how A lies, how many tiles, the summed dimension's length, A, B `[depth, columns]`, C
/// `[tiles, rows, columns]`, and whether to add.
pub(crate) type Multiply = fn(Left, usize, usize, &[f32], &[f32], &mut [f32], bool);

/// A micro-kernel and the size of its tile of C.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) multiply: Multiply,
}

impl Kernel {
    /// See [`Multiply`].
    pub(crate) fn multiply(
        &self,
        left: Left,
        tiles: usize,
        depth: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        add: bool,
    ) {
        (self.multiply)(left, tiles, depth, a, b, c, add);
    }
}

/// The micro-kernels of an instruction set; each for products with many columns and with few.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// As large as the registers hold: for long products.
    pub(crate) large: [Kernel; 2],
    /// Smaller, of which little is wasted where rows are few: for Winograd's products.
    pub(crate) small: [Kernel; 2],
}

impl Kernels {
    /// Of the two, the one that wastes less on so many columns.
    pub(crate) fn for_columns([wide, narrow]: [Kernel; 2], columns: usize) -> Kernel {
        if columns <= narrow.columns { narrow } else { wide }
    }
}
