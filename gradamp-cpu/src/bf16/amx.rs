//! The micro-kernels for AMX, the matrix units of Intel's processors since 2023.
//!
//! Eight registers hold a tile each, of 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 elements by 32 rows of 16
//! columns: 8192 products. Rust has no stable intrinsics for them, so that the loops are assembly.

use std::arch::asm;
use std::mem::offset_of;

use super::kernel::{COLUMNS, Group, Kernel, Kernels, Operands};

/// The micro-kernels, if the machine has AMX with products in bf16, and Linux permits its use.
pub(crate) fn kernels() -> Option<Kernels> {
    let kernels = Kernels {
        wide: Kernel { tiles: 2, columns: 2 * COLUMNS, run: wide },
        narrow: Kernel { tiles: 4, columns: COLUMNS, run: narrow },
    };
    (has_instructions() && is_permitted()).then_some(kernels)
}

/// Whether the processor has tiles and multiplies them in bf16.
#[allow(unused_unsafe)] // newer compilers call these intrinsics safe
fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Bits of EDX on leaf 7 of CPUID: `AMX-BF16` and `AMX-TILE`.
    const WANTED: u32 = 1 << 22 | 1 << 24;
    // SAFETY: every 64-bit x86 processor has this instruction.
    unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & WANTED == WANTED }
}

/// Asks Linux for permission to use the tile registers, which a process needs, and which holds for all of its threads from then on.
///
/// **Source:** Linux, Documentation/arch/x86/xstate.rst.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call reads no memory of this process and writes none. The kernel overwrites rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

/// Other systems have other ways to ask, none of which was at hand to be tested.
#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The shapes of the tile registers as the instruction that sets them reads them.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight registers of 16 rows of 64 bytes.
static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Defines `$name`, whose sums are in the registers 0 to 3. `$load` fills them with the initial values of a group, `$products` loads
/// operands of a step and multiplies them, and `$store` writes the sums. `{group}` is the address of the group, `{at}` the step's
/// offset in A, `{b}` the address of B at this step, and `{wide}` is 64, the stride of B's rows.
macro_rules! micro_kernel {
    ($(#[$about:meta])* $name:ident, [$($load:literal),*], [$($product:literal),*], [$($store:literal),*]) => {
        $(#[$about])*
        ///
        /// # Safety
        ///
        /// The machine has AMX and permits its use; the operands can be read, and C can be written; there is a group.
        unsafe fn $name(o: &Operands) {
            // SAFETY: the assembly reads what the operands name and writes C: the caller's promise. It leaves the tile registers
            // in their initial state.
            unsafe {
                asm!(
                    "ldtilecfg [{p}]",
                    "mov {group}, [{o} + {groups}]",
                    "mov {right}, [{o} + {b_start}]",
                    "4:",
                    "mov {row}, [{o} + {initial_row}]",
                    $($load,)*
                    "mov {row}, [{o} + {a_row}]",
                    "mov {step}, [{o} + {steps}]",
                    "cmp {step}, [{o} + {steps_end}]",
                    "je 3f",
                    "2:",
                    "mov {at}, [{step}]",
                    "mov {b}, [{step} + 8]",
                    "lea {b}, [{right} + {b}*2]",
                    $($product,)*
                    "add {step}, 16",
                    "cmp {step}, [{o} + {steps_end}]",
                    "jne 2b",
                    "3:",
                    "mov {row}, [{o} + {c_row}]",
                    $($store,)*
                    "add {group}, {group_size}",
                    "cmp {group}, [{o} + {groups_end}]",
                    "jne 4b",
                    "tilerelease",
                    groups = const offset_of!(Operands, groups),
                    groups_end = const offset_of!(Operands, groups_end),
                    steps = const offset_of!(Operands, steps),
                    steps_end = const offset_of!(Operands, steps_end),
                    b_start = const offset_of!(Operands, b),
                    a_row = const offset_of!(Operands, a_row),
                    initial_row = const offset_of!(Operands, initial_row),
                    c_row = const offset_of!(Operands, c_row),
                    group_size = const size_of::<Group>(),
                    o = in(reg) o,
                    p = inout(reg) &raw const CONFIGURATION => _,
                    wide = in(reg) 64usize,
                    group = out(reg) _,
                    right = out(reg) _,
                    row = out(reg) _,
                    step = out(reg) _,
                    at = out(reg) _,
                    b = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// The offsets in a group: a 0, initial 32, c 64, and 8 bytes from one tile to the next.
micro_kernel!(
    /// Two tiles of A by two tiles of B.
    wide,
    [
        "mov {p}, [{group} + 32]",
        "tileloadd tmm0, [{p} + {row}*1]",
        "tileloadd tmm1, [{p} + {row}*1 + 64]",
        "mov {p}, [{group} + 40]",
        "tileloadd tmm2, [{p} + {row}*1]",
        "tileloadd tmm3, [{p} + {row}*1 + 64]"
    ],
    [
        "mov {p}, [{group}]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm4, [{p} + {row}*1]",
        "tileloadd tmm6, [{b} + {wide}*1]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{b} + {wide}*1 + 1024]",
        "tdpbf16ps tmm1, tmm4, tmm7",
        "mov {p}, [{group} + 8]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm5, [{p} + {row}*1]",
        "tdpbf16ps tmm2, tmm5, tmm6",
        "tdpbf16ps tmm3, tmm5, tmm7"
    ],
    [
        "mov {p}, [{group} + 64]",
        "tilestored [{p} + {row}*1], tmm0",
        "tilestored [{p} + {row}*1 + 64], tmm1",
        "mov {p}, [{group} + 72]",
        "tilestored [{p} + {row}*1], tmm2",
        "tilestored [{p} + {row}*1 + 64], tmm3"
    ]
);

micro_kernel!(
    /// Four tiles of A by one tile of B.
    narrow,
    [
        "mov {p}, [{group} + 32]",
        "tileloadd tmm0, [{p} + {row}*1]",
        "mov {p}, [{group} + 40]",
        "tileloadd tmm1, [{p} + {row}*1]",
        "mov {p}, [{group} + 48]",
        "tileloadd tmm2, [{p} + {row}*1]",
        "mov {p}, [{group} + 56]",
        "tileloadd tmm3, [{p} + {row}*1]"
    ],
    [
        "tileloadd tmm6, [{b} + {wide}*1]",
        "mov {p}, [{group}]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm4, [{p} + {row}*1]",
        "tdpbf16ps tmm0, tmm4, tmm6",
        "mov {p}, [{group} + 8]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm5, [{p} + {row}*1]",
        "tdpbf16ps tmm1, tmm5, tmm6",
        "mov {p}, [{group} + 16]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm4, [{p} + {row}*1]",
        "tdpbf16ps tmm2, tmm4, tmm6",
        "mov {p}, [{group} + 24]",
        "lea {p}, [{p} + {at}*2]",
        "tileloadd tmm5, [{p} + {row}*1]",
        "tdpbf16ps tmm3, tmm5, tmm6"
    ],
    [
        "mov {p}, [{group} + 64]",
        "tilestored [{p} + {row}*1], tmm0",
        "mov {p}, [{group} + 72]",
        "tilestored [{p} + {row}*1], tmm1",
        "mov {p}, [{group} + 80]",
        "tilestored [{p} + {row}*1], tmm2",
        "mov {p}, [{group} + 88]",
        "tilestored [{p} + {row}*1], tmm3"
    ]
);
