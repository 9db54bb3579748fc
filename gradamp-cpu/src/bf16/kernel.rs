//! The interface of a micro-kernel for factors in bf16, and the one in plain Rust.
//!
//! A micro-kernel computes tiles of C: for a tile of [`ROWS`] rows of A,
//! `c[i, j] = initial[i, j] + Σ_s Σ_k a[tile + steps[s].a + i · row + k] · b[steps[s].b + k, j]`, with [`DEPTH`] elements k a step.
//! The steps are a list, so that A can be the pixels of images as they lie in memory: a tap of a convolution is a step that begins at
//! another pixel.

use super::number::Bf16;

/// Rows of a tile of A and of C.
pub(crate) const ROWS: usize = 16;
/// Columns of a tile of B and of C.
pub(crate) const COLUMNS: usize = 16;
/// Elements of the summed dimension in a step.
pub(crate) const DEPTH: usize = 32;
/// Elements of a tile of B: `[DEPTH / 2, COLUMNS, 2]`, since the instructions multiply pairs.
pub(crate) const RIGHT_TILE: usize = DEPTH * COLUMNS;
/// The most row tiles of a micro-kernel.
pub(crate) const MOST_TILES: usize = 4;

/// Where the operands of a step begin: in A, relative to the beginning of a tile, and in B.
#[derive(Clone, Copy, Debug)]
#[repr(C)] // micro-kernels in assembly read the fields
pub(crate) struct Step {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// The steps of a product.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    list: Vec<Step>,
    furthest: [usize; 2],
}

impl Steps {
    /// Adds a step.
    pub(crate) fn push(&mut self, step: Step) {
        self.furthest = [self.furthest[0].max(step.a), self.furthest[1].max(step.b)];
        self.list.push(step);
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        let mut all = Self::default();
        steps.into_iter().for_each(|step| all.push(step));
        all
    }
}

/// Row tiles that a micro-kernel computes together: where each begins in A, its initial values, and its place in C.
#[derive(Clone, Copy)]
#[repr(C)] // micro-kernels in assembly read the fields
pub(super) struct Group {
    pub(super) a: [*const Bf16; MOST_TILES],
    pub(super) initial: [*const f32; MOST_TILES],
    pub(super) c: [*mut f32; MOST_TILES],
}

/// The operands of a micro-kernel as pointers. Strides are in bytes.
#[repr(C)] // micro-kernels in assembly read the fields
pub(super) struct Operands {
    pub(super) groups: *const Group,
    pub(super) groups_end: *const Group,
    pub(super) steps: *const Step,
    pub(super) steps_end: *const Step,
    pub(super) b: *const Bf16,
    pub(super) a_row: usize,
    pub(super) initial_row: usize,
    pub(super) c_row: usize,
}

impl Operands {
    /// The groups and the steps.
    ///
    /// # Safety
    ///
    /// The pointers are those of slices that still live.
    pub(super) unsafe fn lists(&self) -> (&[Group], &[Step]) {
        // SAFETY: the caller's promise.
        unsafe {
            let groups = self.groups_end.offset_from_unsigned(self.groups);
            let steps = self.steps_end.offset_from_unsigned(self.steps);
            (std::slice::from_raw_parts(self.groups, groups), std::slice::from_raw_parts(self.steps, steps))
        }
    }
}

/// A micro-kernel for `tiles` row tiles and `columns` columns: 2 by 32, or 4 by 16.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) tiles: usize,
    pub(crate) columns: usize,
    /// # Safety
    ///
    /// The machine has the instructions; the operands can be read, and C can be written.
    pub(super) run: unsafe fn(&Operands),
}

/// The micro-kernels of an instruction set, for products with many columns and for products with few.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    pub(crate) wide: Kernel,
    pub(crate) narrow: Kernel,
}

impl Kernels {
    /// The narrow kernel if its tile holds all `columns`, else the wide one.
    pub(crate) fn for_columns(&self, columns: usize) -> Kernel {
        if columns <= self.narrow.columns { self.narrow } else { self.wide }
    }
}

/// What the sums of a product begin with.
#[derive(Clone, Copy)]
pub(crate) enum Initial<'a> {
    /// The same row for each row of C: zeros or a bias, padded to the kernel's columns.
    Row(&'a [f32]),
    /// The values of C.
    Target,
}

/// A row tile: the element of A with which it begins, and its place in C.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) a: usize,
    pub(crate) c: *mut f32,
}

/// Elements from one row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) a: usize,
    pub(crate) c: usize,
}

impl Kernel {
    /// Computes the tiles of C, each with `self.columns` columns.
    ///
    /// **Panics:** if a step reads beyond `a` or `b`.
    ///
    /// # Safety
    ///
    /// Each tile of C can be written, and no other code accesses it.
    pub(crate) unsafe fn multiply(
        &self,
        (a, b): (&[Bf16], &[Bf16]),
        steps: &Steps,
        initial: Initial<'_>,
        tiles: &[Tile],
        strides: Strides,
    ) {
        /// Groups that are handed over at once, since to begin and to end takes as long as a few steps.
        const GROUPS: usize = 32;
        let [furthest_a, furthest_b] = steps.furthest;
        let furthest = tiles.iter().map(|tile| tile.a).max().unwrap_or(0);
        let last = furthest + furthest_a + (ROWS - 1) * strides.a + DEPTH;
        let reads = !steps.list.is_empty();
        assert!(!reads || last <= a.len() && furthest_b + self.columns * DEPTH <= b.len());
        let (initial, initial_row) = match initial {
            Initial::Row(row) => {
                assert!(row.len() >= self.columns);
                (Some(row.as_ptr()), 0)
            }
            Initial::Target => (None, strides.c * size_of::<f32>()),
        };
        let group = |tiles: &[Tile]| {
            // A missing tile is a copy of the first: it is computed twice, with the same result.
            let tile = |i: usize| tiles.get(i).unwrap_or(&tiles[0]);
            Group {
                a: std::array::from_fn(|i| a.as_ptr().wrapping_add(tile(i).a)),
                initial: std::array::from_fn(|i| initial.unwrap_or(tile(i).c.cast_const())),
                c: std::array::from_fn(|i| tile(i).c),
            }
        };
        for tiles in tiles.chunks(GROUPS * self.tiles) {
            let mut groups = [const { Group::EMPTY }; GROUPS];
            let count = tiles.len().div_ceil(self.tiles);
            for (to, tiles) in groups.iter_mut().zip(tiles.chunks(self.tiles)) {
                *to = group(tiles);
            }
            let groups = &groups[..count];
            let operands = Operands {
                groups: groups.as_ptr(),
                groups_end: groups.as_ptr_range().end,
                steps: steps.list.as_ptr(),
                steps_end: steps.list.as_ptr_range().end,
                b: b.as_ptr(),
                a_row: strides.a * size_of::<Bf16>(),
                initial_row,
                c_row: strides.c * size_of::<f32>(),
            };
            // SAFETY: a `Kernel` exists only where its instructions were detected; the assertions above cover A, B and the initial
            // row; the caller promises that C can be written.
            unsafe { (self.run)(&operands) }
        }
    }
}

impl Group {
    const EMPTY: Self = Self {
        a: [std::ptr::null(); MOST_TILES],
        initial: [std::ptr::null(); MOST_TILES],
        c: [std::ptr::null_mut(); MOST_TILES],
    };
}

/// The micro-kernels in plain Rust. They round in the same places as the matrix units of Intel's processors, so that both give the
/// same bits, unless a product is subnormal.
pub(crate) const PORTABLE: Kernels = Kernels {
    wide: Kernel { tiles: 2, columns: 2 * COLUMNS, run: portable::<2, 2> },
    narrow: Kernel { tiles: 4, columns: COLUMNS, run: portable::<4, 1> },
};

/// Within a step, the products of the even elements are summed, then those of the odd elements, and both sums are added to C. A
/// product of two numbers in bf16 is exact in f32.
///
/// # Safety
///
/// See [`Kernel::multiply`].
unsafe fn portable<const TILES: usize, const PANELS: usize>(o: &Operands) {
    // SAFETY: the caller's promise: every element that the steps name can be read, and C can be written.
    unsafe {
        let (groups, steps) = o.lists();
        for group in groups {
            // All sums are computed before any is stored, since a missing tile begins with the initial values of the first.
            let mut sums = [[[[0.0f32; COLUMNS]; PANELS]; ROWS]; TILES];
            for (tile, sums) in sums.iter_mut().enumerate() {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (panel, sums) in sums.iter_mut().enumerate() {
                        let initial = group.initial[tile].byte_add(row * o.initial_row);
                        *sums = *initial.add(panel * COLUMNS).cast();
                        for step in steps {
                            let a = group.a[tile].byte_add(row * o.a_row).add(step.a);
                            let b = o.b.add(step.b + panel * RIGHT_TILE);
                            add_step(sums, &*a.cast(), &*b.cast());
                        }
                    }
                }
            }
            for (tile, sums) in sums.iter().enumerate() {
                for (row, sums) in sums.iter().enumerate() {
                    *group.c[tile].byte_add(row * o.c_row).cast() = *sums;
                }
            }
        }
    }
}

fn add_step(sums: &mut [f32; COLUMNS], a: &[[Bf16; 2]; DEPTH / 2], b: &[[[Bf16; 2]; COLUMNS]; DEPTH / 2]) {
    let mut parts = [[0.0f32; COLUMNS]; 2];
    for (a, b) in a.iter().zip(b) {
        for (half, parts) in parts.iter_mut().enumerate() {
            for (part, b) in parts.iter_mut().zip(b) {
                *part += a[half].widen() * b[half].widen();
            }
        }
    }
    for (column, sum) in sums.iter_mut().enumerate() {
        *sum += parts[0][column] + parts[1][column];
    }
}
