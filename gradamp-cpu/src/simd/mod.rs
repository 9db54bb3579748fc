//! Vectors of f32, and kernels that are compiled once for each instruction set.
//!
//! A [`Job`] is a kernel written once, over any [`Vector`]. [`Cpu::run`] calls the copy for the instruction set in use. The job is
//! inlined into a function that may use these instructions, so that the compiler vectorises the job's plain loops for them too.

pub(crate) mod vector;

use crate::device::Cpu;
use crate::isa::Isa;
use vector::Portable;
#[cfg(target_arch = "x86_64")]
use vector::x86;

#[cfg(target_arch = "aarch64")]
use vector::neon;
pub(crate) use vector::{Job, Vector, WIDEST};

impl Cpu {
    /// Runs the job with the instruction set in use.
    pub(crate) fn run(&self, job: impl Job) {
        // SAFETY: the instruction set of a `Cpu` was detected on this machine, or is the portable one.
        unsafe {
            match self.isa() {
                Isa::Portable => job.run::<Portable>(),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => neon::run_neon(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::run_avx2(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => x86::run_avx512(job),
                #[allow(unreachable_patterns)] // the instruction sets of other architectures
                Isa::Neon | Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => job.run::<Portable>(),
            }
        }
    }
}

/// Defines a function over slices whose plain loops are compiled once for each instruction set. The function takes the [`Cpu`] as
/// its first argument. The compiler vectorises a loop only if it can prove that all slices are as long as the loop: zip them, or
/// cut them to one length first.
macro_rules! vectorised {
    ($(#[$about:meta])* $visibility:vis fn $name:ident<$a:lifetime $(, const $flag:ident: bool)?>($($argument:ident: $kind:ty),* $(,)?)
     $body:block) => {
        $(#[$about])*
        $visibility fn $name<$a $(, const $flag: bool)?>(cpu: &$crate::device::Cpu, $($argument: $kind),*) {
            struct Arguments<$a $(, const $flag: bool)?> { $($argument: $kind),* }
            impl<$a $(, const $flag: bool)?> $crate::simd::Job for Arguments<$a $(, $flag)?> {
                #[inline(always)]
                unsafe fn run<V: $crate::simd::Vector>(self) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            cpu.run(Arguments $(::<$flag>)? { $($argument),* });
        }
    };
}
pub(crate) use vectorised;
