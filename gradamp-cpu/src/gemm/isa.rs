//! Which instructions the machine has, and the micro-kernel that uses them.

use std::fmt;
use std::str::FromStr;

use super::{STRIDE, portable};
use gradamp_core::Error;

/// How a block of A lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Rows [`super::STRIDE`] elements apart.
    Rows,
    /// Steps of the summed dimension so many elements apart, each with the elements of all rows.
    Steps(usize),
    /// `[tile, depth / LANES, tile's rows, LANES]`: a tile is read from its first element to its last.
    Lanes,
}

impl Left {
    /// From one tile to the next.
    pub(super) fn tile(self, rows: usize, depth: usize) -> usize {
        match self {
            Left::Rows => rows * STRIDE,
            Left::Steps(_) => rows,
            Left::Lanes => rows * depth.next_multiple_of(LANES),
        }
    }

    /// What the micro-kernels may assume about their operands.
    pub(super) fn check(
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
pub(super) type Multiply = fn(Left, usize, usize, &[f32], &[f32], &mut [f32], bool);

/// A micro-kernel and the size of its tile of C.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(super) multiply: Multiply,
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

/// The vector instructions a product is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What the compiler makes of plain Rust.
    Portable,
    /// NEON of 64-bit ARM: vectors of 4.
    Neon,
    /// AVX2 and FMA: vectors of 8.
    Avx2,
    /// AVX-512F: vectors of 16.
    Avx512,
}

impl Isa {
    /// All of them, the best last.
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// The best that this machine has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        self.kernels().is_some()
    }

    /// Its micro-kernels; `None` where the machine has no such instructions.
    pub(crate) fn kernels(self) -> Option<Kernels> {
        match self {
            Isa::Portable => Some(portable::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => super::neon::neon(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::x86::avx512(),
            #[allow(unreachable_patterns)] // those of other machines
            Isa::Neon | Isa::Avx2 | Isa::Avx512 => None,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

impl FromStr for Isa {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self, Error> {
        let isa = Self::ALL.into_iter().find(|isa| isa.to_string() == name);
        isa.ok_or_else(|| {
            Error::setting("GRADAMP_ISA", format!("expected avx512, avx2, neon or portable, got {name:?}"))
        })
    }
}
