//! The CPU backend of gradamp: multithreaded vector kernels on channels-last tensors, with the same bits for any number of threads.
//!
//! ```
//! use gradamp_core::Tensor;
//! use gradamp_cpu::Cpu;
//!
//! let cpu = Cpu::new()?;
//! let x = Tensor::from_slice(&cpu, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
//! assert_eq!(x.to_vec()?.len(), 6);
//! # Ok::<(), gradamp_core::Error>(())
//! ```
//!
//! # How to read a kernel
//!
//! `backend.rs` implements the traits of `gradamp_core::backend`; each method calls one function in the file of its operation. The
//! path of a convolution by a matrix product, from the trait's method to the vector instructions, is these files:
//!
//! 1. `backend.rs`: the method `conv2d`,
//! 2. `conv2d.rs`: blocks of output rows, shared out to threads,
//! 3. `threads.rs`: which thread computes which block,
//! 4. `windows.rs`: the convolution's windows, copied to rows of a matrix,
//! 5. `gemm/mod.rs`: the product of a block of rows and the weights,
//! 6. `gemm/pack.rs`: how both are laid out for the micro-kernel,
//! 7. `kernel.rs`: what a micro-kernel is given,
//! 8. `micro_kernels.rs`: the micro-kernels for AVX-512, AVX2, NEON and any other machine.
//!
//! Most 3x3 convolutions are cheaper by Winograd's algorithms, which are in `winograd/`. In mixed precision, convolutions are in
//! `mixed/` and multiply numbers of `bf16/`.
//!
//! # Unsafe code
//!
//! All of the workspace's unsafe code for CPUs is in this crate: vector instructions, slices that several threads write, and the
//! memory of buffers. Each block says why it is sound.

#![allow(unsafe_code, reason = "vector instructions, and the memory and threads beneath them")]

mod activation;
mod adamw;
mod arena;
mod backend;
mod batch_norm;
mod bf16;
mod channel_sums;
mod conv2d;
mod device;
mod elementwise;
mod fused;
mod gemm;
mod isa;
mod kernel;
mod loss;
mod micro_kernels;
mod mix;
mod mixed;
mod peak;
mod pooling;
mod residue;
mod sgd;
mod shared_mut;
mod simd;
#[cfg(test)]
mod tests;
mod threads;
mod windows;
mod winograd;

pub use arena::Buffer;
pub use device::Cpu;
pub use isa::Isa;
