//! Numbers in bf16, and the instructions that multiply them: what mixed precision is made of.
//!
//! A processor's own instructions are in `amx.rs` and `avx512.rs`. Each has a twin in plain Rust, in `kernel.rs` and `rows.rs`.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernel;
mod number;
mod rows;

pub(crate) use kernel::{
    COLUMNS, DEPTH, Initial, Kernel, Kernels, MOST_TILES, RIGHT_TILE, ROWS, Step, Steps, Strides, Tile,
};
pub(crate) use number::{Bf16, halves, halves_of};
pub(crate) use rows::{RowFunctions, Rows};

/// The functions of mixed precision in an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Instructions {
    pub(crate) kernels: Kernels,
    pub(crate) rows: RowFunctions,
}

impl Instructions {
    /// The functions in plain Rust.
    pub(crate) const PORTABLE: Self = Self { kernels: kernel::PORTABLE, rows: rows::PORTABLE };

    /// The functions in AVX512-BF16; `None` if the machine does not have it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn avx512() -> Option<Self> {
        Some(Self { kernels: avx512::kernels()?, rows: rows::x86::functions()? })
    }

    /// The functions in AMX; `None` if the machine does not have it, or the system does not permit its use.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn amx() -> Option<Self> {
        Some(Self { kernels: amx::kernels()?, rows: rows::x86::functions()? })
    }
}
