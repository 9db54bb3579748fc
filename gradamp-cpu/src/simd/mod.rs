//! Vectors of f32, and kernels that are compiled once for each instruction set.
//!
//! A [`Job`] is a kernel written once over [`Vector`]. [`Cpu::run`] calls the copy for the instructions in use: the job is
//! inlined into a function that may use them, so that plain loops in it are vectorised for them too.

mod vector;

use crate::device::Cpu;
use crate::gemm::Isa;
use vector::Portable;
#[cfg(target_arch = "x86_64")]
use vector::x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use vector::neon;
pub(crate) use vector::{Job, Vector, WIDEST};

impl Cpu {
    /// Runs the job with the instructions in use.
    pub(crate) fn run(&self, job: impl Job) {
        // SAFETY: a `Cpu` is made with instructions that were detected, or with the portable ones.
        unsafe {
            match self.isa() {
                Isa::Portable => job.run::<Portable>(),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => neon::run_neon(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::run_avx2(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::run_avx512(job),
                #[allow(unreachable_patterns)] // those of other machines
                Isa::Neon | Isa::Avx2 | Isa::Avx512 => job.run::<Portable>(),
            }
        }
    }
}

/// Makes a function over slices that takes the [`Cpu`] as its first argument, and whose plain loops are compiled for each
/// instruction set. Lengths that the compiler sees to be equal are what it needs.
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
