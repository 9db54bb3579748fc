//! The interface of a micro-kernel: how its operands lie in memory, and the size of its tile.

/// The summed dimension is cut into pieces of at most this length, so that a panel of B fits the first-level cache.
pub(crate) const DEPTH: usize = 256;

/// Elements from one row of a packed block of A to the next: [`DEPTH`] and one cache line more, so that rows do not share cache
/// sets.
pub(crate) const PACKED_STRIDE: usize = DEPTH + 16;

/// How a block of A lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftLayout {
    /// Rows [`PACKED_STRIDE`] elements apart.
    Rows,
    /// One step of the summed dimension after the other, this number of elements apart. Each step holds an element of every row.
    Steps(usize),
    /// `[tile, depth / LANES, rows of a tile, LANES]`. The micro-kernel reads a tile from its first element to its last.
    Lanes,
}

impl LeftLayout {
    /// Elements from one tile of `rows` rows to the next.
    pub(crate) fn tile(self, rows: usize, depth: usize) -> usize {
        match self {
            LeftLayout::Rows => rows * PACKED_STRIDE,
            LeftLayout::Steps(_) => rows,
            LeftLayout::Lanes => rows * depth.next_multiple_of(LANES),
        }
    }

    /// Checks that every element which a micro-kernel with tiles of `rows` by `columns` reads or writes lies in its slice.
    ///
    /// **Panics:** if an element does not.
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
                LeftLayout::Rows => (rows - 1) * PACKED_STRIDE + depth,
                LeftLayout::Steps(step) => (depth - 1) * step + rows,
                LeftLayout::Lanes => self.tile(rows, depth),
            };
        assert!(a.len() >= last && b.len() >= depth * columns && c.len() >= tiles * rows * columns);
    }
}

/// Elements of a cache line: as many neighbours along the summed dimension lie side by side in [`LeftLayout::Lanes`].
pub(crate) const LANES: usize = 16;

/// Computes the product of a block of A and a panel of B.
///
/// The arguments: the layout of A, the number of tiles, the length `depth` of the summed dimension, A, B `[depth, columns]`, C
/// `[tiles, rows, columns]`, and whether to add the product to C. If not, the product overwrites C.
pub(crate) type Multiply = fn(LeftLayout, usize, usize, &[f32], &[f32], &mut [f32], bool);

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
        left: LeftLayout,
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

/// The micro-kernels of an instruction set. Each field holds one for products with many columns and one for products with few.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// Tiles as large as the registers hold: for products with many rows.
    pub(crate) large: [Kernel; 2],
    /// Smaller tiles, of which fewer rows are wasted if there are few rows: for Winograd's products.
    pub(crate) small: [Kernel; 2],
}

impl Kernels {
    /// The narrow kernel if its tile holds all `columns`, else the wide one.
    pub(crate) fn for_columns([wide, narrow]: [Kernel; 2], columns: usize) -> Kernel {
        if columns <= narrow.columns { narrow } else { wide }
    }
}
