//! Instruction sets, and which of them the machine has.

use std::fmt;
use std::str::FromStr;

use gradamp_core::Error;

use crate::kernel::Kernels;
use crate::micro_kernels::PORTABLE;
#[cfg(target_arch = "aarch64")]
use crate::micro_kernels::neon;
#[cfg(target_arch = "x86_64")]
use crate::micro_kernels::x86;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// The instructions that the compiler uses for plain Rust.
    Portable,
    /// NEON of 64-bit ARM: vectors of 4.
    Neon,
    /// AVX2 and FMA: vectors of 8.
    Avx2,
    /// AVX-512F: vectors of 16.
    Avx512,
}

impl Isa {
    /// All instruction sets, from the slowest to the fastest.
    pub const ALL: [Isa; 4] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// The fastest instruction set that this machine has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// Whether this machine has these instructions.
    pub fn is_available(self) -> bool {
        self.kernels().is_some()
    }

    /// The micro-kernels in these instructions; `None` if the machine does not have them.
    pub(crate) fn kernels(self) -> Option<Kernels> {
        match self {
            Isa::Portable => Some(PORTABLE),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::kernels(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(),
            #[allow(unreachable_patterns)] // the instruction sets of other architectures
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
