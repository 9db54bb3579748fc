//! The arithmetic peak of the cores, measured. Benchmarks compare kernels with it.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::bf16::{Bf16, DEPTH, Initial, Instructions, RIGHT_TILE, ROWS, Step, Steps, Strides, Tile};
use crate::device::Cpu;
use crate::isa::Isa;

/// Enough independent sums to hide the latency of an addition.
const SUMS: usize = 12;
const STEPS: usize = 2_000_000;
const TRIES: usize = 15;

impl Cpu {
    /// Measures how many multiplications and additions a second all threads reach together if all operands are in registers, or, in
    /// mixed precision, if all factors are in the first-level cache. Returns the best of several tries. Threads that the system does
    /// not start are not counted.
    pub fn peak(&self) -> f64 {
        let (threads, isa) = (self.threads().count(), self.isa());
        let bf16 = self.bf16().copied();
        let once = |()| {
            let start = Instant::now();
            // New threads, since the threads of the backend may leave all tasks to one of them.
            let work = move || match &bf16 {
                Some(bf16) => multiply_halves(bf16),
                None => 2 * SUMS * STEPS * multiply_add(isa),
            };
            let flops: usize = thread::scope(|scope| {
                let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
                let others: Vec<_> = (1..threads).filter_map(spawn).collect();
                let own = work();
                others.into_iter().map(|other| other.join().unwrap_or(0)).sum::<usize>() + own
            });
            flops as f64 / start.elapsed().as_secs_f64()
        };
        [(); TRIES].map(once).into_iter().fold(0.0, f64::max)
    }
}

/// Multiplies the same few tiles in bf16 again and again, so long that starting a thread takes no part of it. Returns the number of
/// multiplications and additions.
fn multiply_halves(bf16: &Instructions) -> usize {
    const STEPS: usize = 2048;
    const LEAST: Duration = Duration::from_millis(20);
    let kernel = bf16.kernels.wide;
    let (a, b) = (vec![Bf16::round(0.5); kernel.tiles * RIGHT_TILE], vec![Bf16::round(0.5); 2 * RIGHT_TILE]);
    let steps: Steps = (0..STEPS).map(|_| Step { a: 0, b: 0 }).collect();
    let mut c = vec![0.0f32; kernel.tiles * ROWS * kernel.columns];
    let tiles: Vec<_> = (c.chunks_mut(ROWS * kernel.columns).enumerate())
        .map(|(i, c)| Tile { a: i * RIGHT_TILE, c: c.as_mut_ptr() })
        .collect();
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed() < LEAST {
        let strides = Strides { a: DEPTH, c: kernel.columns };
        // SAFETY: each tile is a part of `c`, which nothing else accesses.
        unsafe { kernel.multiply((&a, &b), &steps, Initial::Target, &tiles, strides) }
        times += 1;
    }
    black_box(c);
    2 * times * STEPS * kernel.tiles * ROWS * kernel.columns * DEPTH
}

/// Runs the loop with the widest vectors of `isa`. Returns their number of lanes.
fn multiply_add(isa: Isa) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if matches!(isa, Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx) && is_x86_feature_detected!("avx512f") {
            // SAFETY: the instructions were detected.
            unsafe { x86::avx512() }
            return 16;
        }
        if isa != Isa::Portable && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the instructions were detected.
            unsafe { x86::avx2() }
            return 8;
        }
    }
    let _ = isa; // all other instruction sets use the loop below
    let (a, b) = (black_box([0.999_f32; 4]), black_box([0.001_f32; 4]));
    let mut sums = [a; SUMS];
    for _ in 0..STEPS {
        for sum in &mut sums {
            for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
                *sum = *sum * a + b;
            }
        }
    }
    black_box(sums);
    4
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{STEPS, SUMS};

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512() {
        let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [a; SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2() {
        let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [a; SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
}
