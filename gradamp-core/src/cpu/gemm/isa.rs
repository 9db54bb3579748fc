//! Which instructions the machine has, and the micro-kernel that uses them.

use std::fmt;
use std::str::FromStr;

use super::{Stored, portable};
use crate::Error;

/// Adds the product of a block of A and a panel of B to a tile of C, or writes it there.
///
/// The arguments: how A is stored, the summed dimension's length, A, B `[depth, columns]`, C `[rows, columns]`, and
/// whether to add.
pub(super) type Multiply = fn(Stored, usize, &[f32], &[f32], &mut [f32], bool);

/// A micro-kernel and the size of its tile of C.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Kernel {
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) columns: usize,
    pub(super) multiply: Multiply,
}

impl Kernel {
    /// See [`Multiply`].
    pub(super) fn multiply(
        &self,
        stored: Stored,
        depth: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        add: bool,
    ) {
        (self.multiply)(stored, depth, a, b, c, add);
    }
}

/// The vector instructions a product is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// What the compiler makes of plain Rust.
    Portable,
    /// AVX2 and FMA: vectors of 8.
    Avx2,
    /// AVX-512F: vectors of 16.
    Avx512,
}

impl Isa {
    /// All of them, the best last.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// The best that this machine has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        self.kernels().is_some()
    }

    /// The micro-kernels for products with many columns and with few; `None` where the machine has no such
    /// instructions.
    pub(in crate::cpu) fn kernels(self) -> Option<[Kernel; 2]> {
        match self {
            Isa::Portable => Some(portable::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::x86::avx512(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => None,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
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
            Error::setting("GRADAMP_ISA", format!("expected avx512, avx2 or portable, got {name:?}"))
        })
    }
}
