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

    /// The number of steps.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        let mut all = Self::default();
        steps.into_iter().for_each(|step| all.push(step));
        all
    }
}

/// The operands of a micro-kernel as pointers. Strides are in bytes.
#[repr(C)] // micro-kernels in assembly read the fields
pub(super) struct Operands {
    pub(super) a: [*const Bf16; MOST_TILES],
    pub(super) initial: [*const f32; MOST_TILES],
    pub(super) c: [*mut f32; MOST_TILES],
    pub(super) b: *const Bf16,
    pub(super) steps: *const Step,
    pub(super) end: *const Step,
    pub(super) a_row: usize,
    pub(super) initial_row: usize,
    pub(super) c_row: usize,
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

/// Rows of C in memory: where each row tile begins, and elements from a row to the next.
pub(crate) struct Target<'a> {
    pub(crate) tiles: &'a [*mut f32],
    pub(crate) row: usize,
}

impl Kernel {
    /// Computes tiles of C. `a` and `row` are A and the number of elements from one of its rows to the next; each tile begins at an
    /// element of `starts`, of which there are `self.tiles` at most. Missing tiles are not computed.
    ///
    /// **Panics:** if a step reads beyond `a` or `b`.
    ///
    /// # Safety
    ///
    /// Each tile of the target can be written, and no other code accesses it.
    pub(crate) unsafe fn multiply(
        &self,
        (a, starts, row): (&[Bf16], &[usize], usize),
        steps: &Steps,
        b: &[Bf16],
        initial: Initial<'_>,
        target: &Target<'_>,
    ) {
        let (Some(&first), Some(&start)) = (target.tiles.first(), starts.first()) else { return };
        assert!(starts.len() == target.tiles.len() && starts.len() <= self.tiles);
        let [furthest_a, furthest_b] = steps.furthest;
        let last = starts.iter().max().unwrap_or(&0) + furthest_a + (ROWS - 1) * row + DEPTH;
        let reads = steps.len() > 0;
        assert!(!reads || last <= a.len() && furthest_b + self.columns * DEPTH <= b.len());
        let mut operands = Operands {
            // A missing tile is a copy of the first: it is computed twice, with the same result.
            a: [a[start..].as_ptr(); MOST_TILES],
            initial: [first.cast_const(); MOST_TILES],
            c: [first; MOST_TILES],
            b: b.as_ptr(),
            steps: steps.list.as_ptr(),
            end: steps.list.as_ptr_range().end,
            a_row: row * size_of::<Bf16>(),
            initial_row: target.row * size_of::<f32>(),
            c_row: target.row * size_of::<f32>(),
        };
        for (tile, (&start, &to)) in starts.iter().zip(target.tiles).enumerate() {
            operands.a[tile] = a[start..].as_ptr();
            operands.initial[tile] = to;
            operands.c[tile] = to;
        }
        if let Initial::Row(initial) = initial {
            assert!(initial.len() >= self.columns);
            operands.initial = [initial.as_ptr(); MOST_TILES];
            operands.initial_row = 0;
        }
        // SAFETY: a `Kernel` exists only where its instructions were detected; the assertions above cover A, B and the initial row;
        // the caller promises that C can be written.
        unsafe { (self.run)(&operands) }
    }
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
    let count = (o.end as usize - o.steps as usize) / size_of::<Step>();
    // All sums are computed before any is stored: missing tiles are copies of the first, which may also be the initial values.
    let mut sums = [[[[0.0f32; COLUMNS]; PANELS]; ROWS]; TILES];
    // SAFETY: the caller's promise: every element that the steps name can be read, and C can be written.
    unsafe {
        let steps = std::slice::from_raw_parts(o.steps, count);
        for (tile, sums) in sums.iter_mut().enumerate() {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (panel, sums) in sums.iter_mut().enumerate() {
                    let initial = o.initial[tile].byte_add(row * o.initial_row).add(panel * COLUMNS);
                    *sums = *initial.cast();
                    for step in steps {
                        let a: &[[Bf16; 2]; DEPTH / 2] =
                            &*o.a[tile].byte_add(row * o.a_row).add(step.a).cast();
                        let b: &[[[Bf16; 2]; COLUMNS]; DEPTH / 2] =
                            &*o.b.add(step.b + panel * RIGHT_TILE).cast();
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
                }
            }
        }
        for (tile, sums) in sums.iter().enumerate() {
            for (row, sums) in sums.iter().enumerate() {
                *o.c[tile].byte_add(row * o.c_row).cast() = *sums;
            }
        }
    }
}
