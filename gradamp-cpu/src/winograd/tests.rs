//! Tests beyond the laws of convolutions: the transforms are exact, the cheapest algorithm is chosen, fused kernels give the bits of
//! separate ones.

use super::transforms::{MOST, Transform};
use super::*;
use crate::Buffer;
use crate::simd::Vector;
use crate::tests::{blank, buffer, each_isa, random, same_bits};
use gradamp_core::backend::{BatchNormOperands, Device, Layers, LinearAlgebra};
use gradamp_core::backend::{BatchNormRelu, GradientShare};

/// A vector of one lane, with which a test reads a transform's matrix.
#[derive(Clone, Copy)]
struct One(f32);

impl std::ops::Add for One {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for One {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl std::ops::Mul for One {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl Vector for One {
    const LANES: usize = 1;
    unsafe fn zero() -> Self {
        Self(0.0)
    }
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { *from })
    }
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to = self.0 }
    }
    fn times(self, factor: f32) -> Self {
        Self(self.0 * factor)
    }
    fn normalised(self, mean: Self, scale: Self, beta: Self) -> Self {
        Self(((self.0 - mean.0) * scale.0 + beta.0).max(0.0))
    }
    fn where_positive(self, mask: Self) -> Self {
        Self(if mask.0 > 0.0 { self.0 } else { 0.0 })
    }
    fn plus(self, factor: f32, other: Self) -> Self {
        Self(self.0 + factor * other.0)
    }
}

/// The matrix of a transform, row by row.
fn matrix<T: Transform>() -> Vec<Vec<f32>> {
    let columns: Vec<[One; MOST]> = (0..T::FROM)
        .map(|i| {
            let mut unit = [One(0.0); MOST];
            unit[i] = One(1.0);
            T::apply(unit)
        })
        .collect();
    (0..T::TO).map(|row| columns.iter().map(|column| column[row].0).collect()).collect()
}

fn transposed(m: &[Vec<f32>]) -> Vec<Vec<f32>> {
    (0..m[0].len()).map(|column| m.iter().map(|row| row[column]).collect()).collect()
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    a.concat().iter().zip(b.concat()).all(|(a, b)| (a - b).abs() < 1e-6)
}

/// Asserts that Σ_p Aᵀ[i, p] · G[p, k] · Bᵀ[p, j] is 1 where the output i contains the product of pixel j and weight k, and is 0
/// elsewhere; `contains(j, k, i)` says where that is.
fn assert_convolution<A: Algorithm>(contains: impl Fn(usize, usize, usize) -> bool) {
    let (a, g, b) = (matrix::<A::Output>(), matrix::<A::Weight>(), matrix::<A::Input>());
    for (i, a) in a.iter().enumerate() {
        for k in 0..3 {
            for j in 0..b[0].len() {
                let sum: f32 = a.iter().zip(&g).zip(&b).map(|((a, g), b)| a * g[k] * b[j]).sum();
                let expected = if contains(j + A::SKIPPED, k, i) { 1.0 } else { 0.0 };
                assert!((sum - expected).abs() < 1e-6, "output {i}, weight {k}, pixel {j}: {sum}");
            }
        }
    }
    assert!(close(&matrix::<A::OutputGradient>(), &transposed(&a)));
    assert!(close(&matrix::<A::WeightGradient>(), &transposed(&g)));
}

#[test]
fn the_transforms_compute_convolutions() {
    assert_convolution::<Four>(|j, k, i| j == i + k);
    assert_convolution::<Pair>(|j, k, i| j == i + k);
    assert_convolution::<Strided>(|j, k, i| j == 2 * i + k);
    assert_convolution::<Transposed>(|j, k, i| 2 * j + 1 == i + k);
}

#[test]
fn an_algorithm_is_chosen_where_it_costs_less_than_direct_sums() {
    let choose = |size, c_in, c_out, kernel, stride, padding| {
        Winograd::choose(
            &Conv2d::new(&[1, size, size, c_in], &[kernel, kernel, c_in, c_out], stride, padding).unwrap(),
        )
    };
    assert_eq!(choose(32, 64, 64, 3, 1, 1), Some(Winograd::Four));
    assert_eq!(choose(4, 512, 512, 3, 1, 1), Some(Winograd::Four));
    assert_eq!(choose(2, 512, 512, 3, 1, 1), Some(Winograd::Pair));
    assert_eq!(choose(32, 3, 64, 3, 1, 1), None);
    assert_eq!(choose(32, 64, 128, 3, 2, 1), Some(Winograd::Strided));
    assert_eq!(choose(4, 64, 128, 3, 2, 1), None, "the output has 2x2 pixels, less than a tile");
    assert_eq!(choose(32, 64, 128, 3, 2, 0), None);
    assert_eq!(choose(32, 64, 128, 3, 3, 1), None);
    assert_eq!(choose(32, 64, 64, 1, 1, 0), None);
    assert_eq!(choose(1, 64, 64, 3, 1, 1), None);
}

/// Images, size, c_in, c_out and stride. Among them are convolutions whose weights are transformed first, and whose tiles are;
/// images that are one tile; several chunks of tiles; and blocks that are whole rows of pixels.
const SIZES: [[usize; 5]; 6] = [
    [5, 27, 40, 70, 1],
    [3, 5, 70, 40, 1],
    [9, 2, 33, 50, 1],
    [5, 31, 40, 70, 2],
    [3, 8, 64, 128, 2],
    [2, 32, 24, 16, 1],
];

/// The convolution of this size, and random x, w and dy.
fn example([n, size, c_in, c_out, stride]: [usize; 5]) -> (Conv2d, [Vec<f32>; 3]) {
    let g = Conv2d::new(&[n, size, size, c_in], &[3, 3, c_in, c_out], stride, 1).unwrap();
    let random = |seed, shape: [usize; 4]| random(seed, shape.iter().product());
    (g, [random(1, g.x_shape()), random(2, g.w_shape()), random(3, g.y_shape())])
}

#[test]
fn threads_change_no_bit() {
    for size in SIZES {
        let (g, [x, w, dy]) = example(size);
        let algorithm = Winograd::choose(&g).unwrap();
        same_bits(|cpu| {
            let [x, w, dy] = [&x, &w, &dy].map(|v| buffer(&cpu, v));
            let [mut y, mut dx, mut dw] = [&dy, &x, &w].map(|v| blank(&cpu, v.len()));
            algorithm.conv2d(&cpu, &g, Pixels::stored(&x), &w, None, &mut y, None).unwrap();
            algorithm.backward_input(&cpu, &g, &w, &dy, &mut dx, None).unwrap();
            algorithm.backward_weight(&cpu, &g, &x, &dy, &mut dw).unwrap();
            [y, dx, dw].map(|v| v.to_vec()).concat()
        });
    }
}

/// Mean, variance, gamma and beta of a batch norm, all random.
fn numbers(cpu: &Cpu, channels: usize) -> [Buffer; 4] {
    [(5, 0.0), (6, 1.5), (7, 0.5), (8, 0.0)].map(|(seed, more)| {
        buffer(cpu, &random(seed, channels).iter().map(|value| value + more).collect::<Vec<_>>())
    })
}

fn batch_norm_relu<'a>(
    x: &'a Buffer,
    [mean, variance, gamma, beta]: &'a [Buffer; 4],
) -> BatchNormRelu<'a, Cpu> {
    let p = BatchNormOperands { mean, variance, gamma, beta, epsilon: 1e-5 };
    BatchNormRelu { x, p, z: None }
}

#[test]
fn a_convolution_of_a_fused_batch_norm_gives_the_bits_of_separate_kernels() {
    for size in SIZES {
        let (g, [x, w, dy]) = example(size);
        each_isa(|cpu| {
            let ([x, w, dy], numbers) = ([&x, &w, &dy].map(|v| buffer(&cpu, v)), numbers(&cpu, g.c_in));
            let (z, fused) = (batch_norm_relu(&x, &numbers), cpu.fused_kernels().unwrap());
            let mut stored = blank(&cpu, x.len());
            cpu.batch_norm_relu(&g.x_rows(), &z.p, &x, None, &mut stored).unwrap();
            let outputs = || [dy.len(), g.c_out, g.c_out].map(|len| blank(&cpu, len));
            let ([mut y, mut mean, mut variance], mut found) = (outputs(), outputs());
            cpu.conv2d_with_moments(&g, &stored, &w, None, &mut y, &mut mean, &mut variance).unwrap();
            let [to, moments @ ..] = found.each_mut();
            fused.conv2d(&g, &z, &w, None, to, Some(moments)).unwrap();
            assert!(found.iter().zip([&y, &mean, &variance]).all(|(a, b)| **a == **b), "{size:?}, {cpu:?}");
        });
    }
}

/// dz, dgamma, dbeta, dx, and the gradient of the residual, all computed by fused kernels.
fn gradients(cpu: &Cpu, size: [usize; 5], residual: bool) -> [Vec<f32>; 5] {
    let (g, [x, w, dy]) = example(size);
    let ([x, w, dy], numbers) = ([&x, &w, &dy].map(|v| buffer(cpu, v)), numbers(cpu, g.c_in));
    let [written, theirs] = [9, 10].map(|seed| buffer(cpu, &random(seed, x.len())));
    let z = BatchNormRelu { z: residual.then_some(&written), ..batch_norm_relu(&x, &numbers) };
    let others = residual.then_some(GradientShare { values: &theirs, scale: 0.5, own: 3.0 });
    let fused = cpu.fused_kernels().unwrap();
    let [mut dz, mut dgamma, mut dbeta] = [x.len(), g.c_in, g.c_in].map(|len| blank(cpu, len));
    fused.conv2d_backward_input(&g, &z, &w, &dy, others, &mut dz, &mut dgamma, &mut dbeta).unwrap();
    let (mut kept, mut dx) = (buffer(cpu, &dz), blank(cpu, x.len()));
    fused
        .batch_norm_relu_backward(&g.x_rows(), &z, &dgamma, &dbeta, &mut kept, residual.then_some(&mut dx))
        .unwrap();
    [dz, dgamma, dbeta, dx, kept].map(|v| v.to_vec())
}

#[test]
fn threads_change_no_bit_of_the_gradients_of_a_rectified_batch_norm() {
    for size in SIZES {
        for residual in [false, true] {
            same_bits(|cpu| gradients(&cpu, size, residual).concat());
        }
    }
}

#[test]
fn the_share_of_another_reader_is_added_with_the_bits_of_axpby() {
    for size in SIZES {
        each_isa(|cpu| {
            let [alone, summed] = [false, true].map(|residual| gradients(&cpu, size, residual));
            let mut expected = buffer(&cpu, &alone[0]);
            let theirs = buffer(&cpu, &random(10, expected.len()));
            cpu.axpby(expected.len(), 0.5, &theirs, 3.0, &mut expected).unwrap();
            assert!(summed[0] == expected[..summed[0].len()], "{size:?}, {cpu:?}");
        });
    }
}
