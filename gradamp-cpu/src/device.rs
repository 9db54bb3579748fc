//! The CPU as a device: its threads, its instructions and its memory.

use std::fmt;
use std::sync::Arc;

use gradamp_core::backend::Precision;
use gradamp_core::{Error, Result};

use crate::arena::Arena;
use crate::bf16::Instructions;
use crate::isa::Isa;
use crate::kernel::{Kernel, Kernels};
use crate::micro_kernels::PORTABLE;
use crate::threads::Threads;

/// The CPU as a device: a cheap handle to its threads and its memory.
#[derive(Clone)]
pub struct Cpu {
    shared: Arc<Shared>,
}

struct Shared {
    threads: Threads,
    isa: Isa,
    kernels: Kernels,
    bf16: Option<Instructions>,
    arena: Arc<Arena>,
}

impl Cpu {
    /// A CPU with as many threads as the machine runs at once, and with the instruction set that the environment variable
    /// `GRADAMP_ISA` names (`amx`, `avx512bf16`, `avx512`, `avx2`, `neon`, `portable`). Without the variable, it uses the best that the machine has.
    ///
    /// **Errors:** `GRADAMP_ISA` names an unknown instruction set, or one that the machine does not have.
    pub fn new() -> Result<Self> {
        Self::with_threads(available_threads())
    }

    /// Like [`Cpu::new`], with `threads` threads, and with one thread if `threads` is 0. If the system does not start as many,
    /// the CPU works with those that it started: see [`Cpu::thread_count`]. Results do not depend on the number of threads.
    ///
    /// **Errors:** as [`Cpu::new`].
    pub fn with_threads(threads: usize) -> Result<Self> {
        Self::with_isa(threads, Isa::chosen()?)
    }

    /// Like [`Cpu::with_threads`], with the instruction set `isa`.
    ///
    /// **Errors:** the machine does not have these instructions.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self> {
        let kernels = isa.kernels().ok_or_else(|| {
            Error::setting("GRADAMP_ISA", format!("this machine has no {isa}; its best is {}", Isa::detect()))
        })?;
        Ok(Self::from_parts(Threads::new(threads), isa, kernels))
    }

    /// Like [`Cpu::with_isa`], in the given precision. In [`Precision::Mixed`], convolutions and products of matrices round their
    /// factors to bf16; products, sums and all tensors are f32.
    ///
    /// With AVX512-BF16 alone, 3x3 convolutions are in f32, since Winograd's algorithms are faster than products in bf16 there.
    ///
    /// **Errors:** the machine does not have these instructions, or they have no products in bf16: see [`Isa::has_mixed`].
    ///
    /// ```
    /// use gradamp_core::backend::Precision;
    /// use gradamp_cpu::{Cpu, Isa};
    ///
    /// // Plain Rust rounds as the processors' instructions do, so that results can be compared on any machine.
    /// let cpu = Cpu::with_precision(2, Isa::Portable, Precision::Mixed)?;
    /// assert_eq!(cpu.precision(), Precision::Mixed);
    /// # Ok::<(), gradamp_core::Error>(())
    /// ```
    pub fn with_precision(threads: usize, isa: Isa, precision: Precision) -> Result<Self> {
        let mut cpu = Self::with_isa(threads, isa)?;
        if precision == Precision::Mixed {
            let bf16 = isa.bf16().ok_or_else(|| {
                Error::setting("precision", format!("{isa} has no products in bf16, which mixed needs"))
            })?;
            if let Some(shared) = Arc::get_mut(&mut cpu.shared) {
                shared.bf16 = Some(bf16);
            }
        }
        Ok(cpu)
    }

    fn from_parts(threads: Threads, isa: Isa, kernels: Kernels) -> Self {
        Self { shared: Arc::new(Shared { threads, isa, kernels, bf16: None, arena: Arc::default() }) }
    }

    /// The precision in which convolutions and products of matrices multiply.
    pub fn precision(&self) -> Precision {
        if self.shared.bf16.is_some() { Precision::Mixed } else { Precision::F32 }
    }

    /// The functions of mixed precision, unless this CPU multiplies in f32.
    pub(crate) fn bf16(&self) -> Option<&Instructions> {
        self.shared.bf16.as_ref()
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.shared.isa
    }

    /// The number of threads: fewer than requested if the system did not start as many.
    pub fn thread_count(&self) -> usize {
        self.threads().count()
    }

    /// Calls `f` for every task, on the next thread that is free, and returns when all are done: how a kernel of another crate runs on
    /// all threads. A [`Buffer`](crate::Buffer) is a slice, whose chunks are tasks.
    ///
    /// Results must not depend on the thread that computes a task, nor the tasks on the number of threads.
    ///
    /// ```
    /// use gradamp_core::Tensor;
    /// use gradamp_cpu::Cpu;
    ///
    /// /// y = x², element by element.
    /// fn square(x: &Tensor<Cpu>) -> gradamp_core::Result<Tensor<Cpu>> {
    ///     let len = x.elements();
    ///     Tensor::build(x.backend(), x.shape(), |y| {
    ///         let parts = x.buffer()[..len].chunks(4096).zip(y[..len].chunks_mut(4096));
    ///         x.backend().each(parts, |(x, y)| x.iter().zip(y).for_each(|(x, y)| *y = x * x));
    ///         Ok(())
    ///     })
    /// }
    ///
    /// let x = Tensor::from_slice(&Cpu::new()?, &[2], &[3.0, -1.5])?;
    /// assert_eq!(square(&x)?.to_vec()?, [9.0, 2.25]);
    /// # Ok::<(), gradamp_core::Error>(())
    /// ```
    pub fn each<T: Send>(&self, tasks: impl Iterator<Item = T> + Send, f: impl Fn(T) + Sync) {
        self.threads().each(tasks, f);
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.shared.threads
    }

    /// The micro-kernel for products with many rows and with `columns` columns.
    pub(crate) fn kernel(&self, columns: usize) -> Kernel {
        Kernels::for_columns(self.shared.kernels.large, columns)
    }

    /// The arena from which buffers are allocated.
    pub(crate) fn arena(&self) -> &Arc<Arena> {
        &self.shared.arena
    }

    /// The micro-kernel for products with few rows and with `columns` columns.
    pub(crate) fn small_kernel(&self, columns: usize) -> Kernel {
        Kernels::for_columns(self.shared.kernels.small, columns)
    }
}

/// Like [`Cpu::new`]. If `GRADAMP_ISA` is wrong, prints a warning to standard error and uses the best instruction set of the
/// machine.
impl Default for Cpu {
    fn default() -> Self {
        let warn = |error: Error| eprintln!("warning: {error}");
        Self::new()
            .map_err(warn)
            .or_else(|()| Self::with_isa(available_threads(), Isa::detect()))
            .map_err(warn)
            .unwrap_or_else(|()| Self::from_parts(Threads::alone(), Isa::Portable, PORTABLE))
    }
}

impl Cpu {
    /// The number of buffers whose memory, or a part of it, no buffer had used before.
    pub(crate) fn fresh_buffers(&self) -> u64 {
        self.shared.arena.fresh_allocations()
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu ({} threads, {})", self.threads().count(), self.isa())
    }
}

/// How many threads the machine runs at once.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
