//! Instruction sets, and which of them the machine has.

use std::fmt;
use std::str::FromStr;

use gradamp_core::Error;

use crate::bf16::Instructions;
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
    /// AVX-512 with AVX512-BF16, which multiplies factors in bf16 too.
    Avx512Bf16,
    /// AVX-512 with AVX512-BF16 and AMX, whose matrix units multiply factors in bf16.
    Amx,
}

impl Isa {
    /// All instruction sets, from the slowest to the fastest.
    pub const ALL: [Isa; 6] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// The fastest instruction set that this machine has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// The instruction set that the environment variable `GRADAMP_ISA` names, or else the fastest of this machine.
    ///
    /// **Errors:** the variable names an unknown instruction set.
    pub fn chosen() -> Result<Self, Error> {
        match std::env::var_os("GRADAMP_ISA") {
            Some(name) => name.to_string_lossy().parse(),
            None => Ok(Self::detect()),
        }
    }

    /// Whether this machine has these instructions.
    pub fn is_available(self) -> bool {
        self.kernels().is_some()
    }

    /// Whether this machine multiplies factors in bf16 with these instructions.
    pub fn has_mixed(self) -> bool {
        self.bf16().is_some()
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
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => self.bf16().and_then(|_| x86::avx512()),
            #[allow(unreachable_patterns)] // the instruction sets of other architectures
            Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => None,
        }
    }

    /// The functions of mixed precision in these instructions; `None` if they have none, or the machine does not have them.
    pub(crate) fn bf16(self) -> Option<Instructions> {
        match self {
            Isa::Portable => Some(Instructions::PORTABLE),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Instructions::avx512(),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Instructions::amx(),
            _ => None,
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
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        })
    }
}

impl FromStr for Isa {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self, Error> {
        let isa = Self::ALL.into_iter().find(|isa| isa.to_string() == name);
        isa.ok_or_else(|| {
            Error::setting(
                "GRADAMP_ISA",
                format!("expected amx, avx512bf16, avx512, avx2, neon or portable, got {name:?}"),
            )
        })
    }
}
