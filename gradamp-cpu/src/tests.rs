//! Functions that the tests of all kernels share, and the tests of kernels on elements and rows.

use crate::arena::Buffer;
use crate::device::{Cpu, available_threads};
use crate::isa::Isa;
use gradamp_core::backend::{BatchNormOperands, SgdSlot, Statistics};
use gradamp_core::backend::{Device, Layers, LinearAlgebra, Memory, OptimizerKernels, SgdStep};
use gradamp_core::geometry::{Gemm, Rows};
use gradamp_core::random::{Purpose, Stream};

/// Numbers in [-1, 1).
pub(super) fn random(seed: u64, len: usize) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Test);
    (0..len as u64).map(|i| 2.0 * stream.uniform(i) - 1.0).collect()
}

/// Calls `test` with a CPU for each instruction set that this machine has.
pub(super) fn each_isa(test: impl Fn(Cpu)) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        test(Cpu::with_isa(2, isa).unwrap());
    }
}

/// Asserts that `run` gives the same bits on 1, 2, 3 and 7 threads, for each instruction set that this machine has.
pub(super) fn same_bits(run: impl Fn(Cpu) -> Vec<f32>) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let bits = |threads| -> Vec<u32> {
            run(Cpu::with_isa(threads, isa).unwrap()).into_iter().map(f32::to_bits).collect()
        };
        let alone = bits(1);
        for threads in [2, 3, 7] {
            assert!(bits(threads) == alone, "{threads} threads differ from one ({isa})");
        }
    }
}

/// Asserts that the norm of the difference is at most `tolerance` times the norm of `expected`.
pub(super) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(&f, e)| f64::from(f) - e));
    let size = norm(&mut expected.iter().copied());
    assert!(difference <= tolerance * size.max(1e-30), "off by {difference} of {size}");
}

/// A buffer that holds `values`.
pub(super) fn buffer(cpu: &Cpu, values: &[f32]) -> Buffer {
    let mut buffer = cpu.allocate(values.len()).unwrap();
    cpu.write(values, &mut buffer).unwrap();
    buffer
}

/// A buffer of `len` NaNs, each of which a kernel must overwrite.
pub(super) fn blank(cpu: &Cpu, len: usize) -> Buffer {
    buffer(cpu, &vec![f32::NAN; len])
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Rows and channels: short, odd, long enough for several tasks, and with more channels than a task has elements.
const ROWS: [(usize, usize); 5] = [(1, 1), (7, 3), (5000, 17), (300, 513), (2, 40_000)];

#[test]
fn a_default_cpu_has_the_machine_s_threads() {
    assert_eq!(Cpu::default().threads().count(), available_threads());
}

#[test]
fn an_unknown_instruction_set_is_an_error_that_lists_the_known_ones() {
    let error = "avx1024".parse::<Isa>().unwrap_err().to_string();
    assert_eq!(
        error,
        "GRADAMP_ISA: expected amx, avx512bf16, avx512, avx2, neon or portable, got \"avx1024\""
    );
}

#[test]
fn elementwise_kernels_follow_their_formulas() {
    let cpu = Cpu::with_threads(2).unwrap();
    let len = 70_001;
    let (x, y0) = (random(1, len), random(2, len));
    for (alpha, beta) in [(1.0, 0.0), (2.0, 0.0), (0.5, -3.0)] {
        let mut y = if beta == 0.0 { blank(&cpu, len) } else { buffer(&cpu, &y0) };
        cpu.axpby(len, alpha, &buffer(&cpu, &x), beta, &mut y).unwrap();
        let expected: Vec<f64> = (0..len)
            .map(|i| f64::from(alpha) * f64::from(x[i]) + f64::from(beta) * f64::from(y0[i]))
            .collect();
        assert_close(&y, &expected, 1e-6);
    }
    let mut y = blank(&cpu, len);
    cpu.relu(len, &buffer(&cpu, &x), &mut y).unwrap();
    assert!(x.iter().zip(y.iter()).all(|(x, &y)| y == x.max(0.0)));
    let mut dx = blank(&cpu, len);
    cpu.relu_backward(len, &y, &buffer(&cpu, &y0), &mut dx).unwrap();
    assert!((0..len).all(|i| dx[i] == if x[i] > 0.0 { y0[i] } else { 0.0 }));
    let mut y = blank(&cpu, 1);
    cpu.relu(1, &buffer(&cpu, &[f32::NAN]), &mut y).unwrap();
    assert!(y[0].is_nan());
}

#[test]
fn bias_and_row_sums_follow_their_formulas() {
    each_isa(|cpu| {
        for (rows, channels) in ROWS {
            let g = Rows { rows, channels };
            let (x, bias) = (random(1, g.len()), random(2, channels));
            let mut y = buffer(&cpu, &x);
            cpu.add_bias(&g, &buffer(&cpu, &bias), &mut y).unwrap();
            assert!((0..g.len()).all(|i| y[i] == x[i] + bias[i % channels]));
            let mut sums = blank(&cpu, channels);
            for power in [1, 2] {
                match power {
                    1 => cpu.sum_rows(&g, &buffer(&cpu, &x), &mut sums).unwrap(),
                    _ => cpu.sum_squares(&g, &buffer(&cpu, &x), &mut sums).unwrap(),
                }
                let column = |c: usize| (0..rows).map(move |r| r * channels + c);
                let sum = |c| column(c).map(|i| f64::from(x[i]).powi(power)).sum();
                assert_close(&sums, &(0..channels).map(sum).collect::<Vec<_>>(), 1e-6);
            }
        }
    });
}

#[test]
fn statistics_follow_their_formulas_and_a_nan_makes_the_maximum_nan() {
    let cpu = Cpu::with_threads(2).unwrap();
    let mut x = random(1, 100_003);
    x[5] = 0.0;
    x[99_999] = -3.0;
    let statistics = |x: &[f32]| {
        let mut out = blank(&cpu, 7);
        cpu.statistics(x.len(), &buffer(&cpu, x), 2, &mut out).unwrap();
        out[2..7].to_vec()
    };
    let sum = |f: fn(f64) -> f64| wide(&x).into_iter().map(f).sum::<f64>();
    let expected = [sum(|x| x), sum(f64::abs), sum(|x| x * x), 3.0, 1.0];
    assert_close(&statistics(&x), &expected, 1e-6);
    x[50_000] = f32::NAN;
    assert!(statistics(&x)[3].is_nan());
}

#[test]
fn sgd_takes_pytorch_s_step() {
    let cpu = Cpu::with_threads(2).unwrap();
    let len = 70_000;
    let (gradient, w0, v0) = (random(1, len), random(2, len), random(3, len));
    for (momentum, nesterov, clip_value) in [(0.0, false, 0.5), (0.9, false, f32::INFINITY), (0.9, true, 0.5)]
    {
        let step =
            SgdStep { lr: 0.1, momentum, weight_decay: 0.01, nesterov, gradient_scale: 2.0, clip_value };
        let (mut w, mut v) = (buffer(&cpu, &w0), buffer(&cpu, &v0));
        let velocity = (momentum != 0.0).then_some(&mut v);
        let slot = SgdSlot {
            step,
            len,
            gradient: &buffer(&cpu, &gradient),
            gate: None,
            velocity,
            parameter: &mut w,
        };
        cpu.sgd_all(vec![slot]).unwrap();
        let (mut expected_w, mut expected_v) = (vec![], vec![]);
        for i in 0..len {
            let g = (2.0 * f64::from(gradient[i])).clamp(-f64::from(clip_value), f64::from(clip_value));
            let d = g + 0.01 * f64::from(w0[i]);
            let v = if momentum == 0.0 { d } else { 0.9 * f64::from(v0[i]) + d };
            expected_w.push(f64::from(w0[i]) - 0.1 * if nesterov { d + 0.9 * v } else { v });
            expected_v.push(if momentum == 0.0 { f64::from(v0[i]) } else { v });
        }
        assert_close(&w, &expected_w, 1e-6);
        assert_close(&v, &expected_v, 1e-6);
    }
}

#[test]
fn threads_change_no_bit_of_a_reduction() {
    let g = Rows { rows: 5000, channels: 33 };
    let (x, y) = (random(1, g.len()), random(2, g.len()));
    same_bits(|cpu| {
        let [x, y] = [&x, &y].map(|v| buffer(&cpu, v));
        let [mut mean, mut variance, mut sums] = [(); 3].map(|()| blank(&cpu, g.channels));
        cpu.batch_norm_statistics(&g, &x, &mut mean, &mut variance).unwrap();
        cpu.sum_rows(&g, &x, &mut sums).unwrap();
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| blank(&cpu, g.channels));
        let (mut dx, mut out) = (blank(&cpu, g.len()), blank(&cpu, Statistics::LEN));
        let p =
            BatchNormOperands { mean: &mean, variance: &variance, gamma: &sums, beta: &mean, epsilon: 1e-5 };
        cpu.batch_norm_relu_backward(&g, &p, &x, &y, &y, None, &mut dx, &mut dgamma, &mut dbeta).unwrap();
        cpu.statistics(g.len(), &x, 0, &mut out).unwrap();
        let labels = buffer(&cpu, &vec![3.0; g.rows]);
        let [mut loss, mut correct, mut dlogits] = [1, 1, g.len()].map(|len| blank(&cpu, len));
        cpu.softmax_cross_entropy(&g, 0.1, &x, &labels, &mut loss, &mut correct, &mut dlogits).unwrap();
        let all = [mean, variance, sums, dgamma, dbeta, dx, out, loss, correct, dlogits];
        all.iter().flat_map(|buffer| buffer.to_vec()).collect()
    });
}

#[test]
fn a_repeated_step_takes_no_new_memory_from_the_system() {
    let cpu = Cpu::with_threads(2).unwrap();
    let g = Gemm { m: 200, n: 70, k: 90, ..Gemm::default() };
    let step = || {
        let (a, b) = (blank(&cpu, g.m * g.k), blank(&cpu, g.k * g.n));
        cpu.gemm(&g, 1.0, &a, &b, 0.0, &mut blank(&cpu, g.m * g.n)).unwrap();
    };
    step();
    let fresh = cpu.fresh_allocations();
    (0..3).for_each(|_| step());
    assert_eq!(cpu.fresh_allocations(), fresh);
}
