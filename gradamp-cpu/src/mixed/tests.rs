//! Mixed precision against sums in f64 of factors that are rounded first.

use gradamp_core::backend::{BatchNormOperands, BatchNormRelu, Device, Layers, LinearAlgebra, Precision};
use gradamp_core::geometry::{Conv2d, Gemm};
use proptest::prelude::*;

use crate::arena::Buffer;
use crate::bf16::Bf16;
use crate::device::Cpu;
use crate::isa::Isa;
use crate::tests::{assert_close, blank, buffer, random, wide};

/// A CPU in mixed precision for each instruction set that has it.
fn each_mixed(test: impl Fn(&Cpu)) {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.has_mixed()) {
        test(&Cpu::with_precision(2, isa, Precision::Mixed).unwrap());
    }
}

fn rounded(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(Bf16::round(value).widen())).collect()
}

/// The sums of a convolution and of its gradients, with the formula's loops.
fn naive(g: &Conv2d, x: &[f64], w: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(|len| vec![0.0; len]);
    for n in 0..g.n {
        for (i, j) in (0..g.h_out).flat_map(|i| (0..g.w_out).map(move |j| (i, j))) {
            for (p, q) in (0..g.kh).flat_map(|p| (0..g.kw).map(move |q| (p, q))) {
                let (Some(r), Some(s)) =
                    ((i * g.stride + p).checked_sub(g.padding), (j * g.stride + q).checked_sub(g.padding))
                else {
                    continue;
                };
                if r >= g.h_in || s >= g.w_in {
                    continue;
                }
                for c in 0..g.c_in {
                    for o in 0..g.c_out {
                        let at_x = ((n * g.h_in + r) * g.w_in + s) * g.c_in + c;
                        let at_w = ((p * g.kw + q) * g.c_in + c) * g.c_out + o;
                        let at_y = ((n * g.h_out + i) * g.w_out + j) * g.c_out + o;
                        y[at_y] += x[at_x] * w[at_w];
                        dx[at_x] += dy[at_y] * w[at_w];
                        dw[at_w] += dy[at_y] * x[at_x];
                    }
                }
            }
        }
    }
    [y, dx, dw]
}

/// What a CPU finds for a convolution and its gradients.
fn found(cpu: &Cpu, g: &Conv2d, [x, w, dy]: [&[f32]; 3], bias: Option<&[f32]>) -> [Vec<f32>; 3] {
    let [mut to_y, mut to_dx, mut to_dw] = [dy.len(), x.len(), w.len()].map(|len| blank(cpu, len));
    let [x, w, dy] = [x, w, dy].map(|values| buffer(cpu, values));
    let bias = bias.map(|bias| buffer(cpu, bias));
    cpu.conv2d(g, &x, &w, bias.as_ref(), &mut to_y).unwrap();
    cpu.conv2d_backward_input(g, &w, &dy, &mut to_dx).unwrap();
    cpu.conv2d_backward_weight(g, &x, &dy, &mut to_dw).unwrap();
    [to_y, to_dx, to_dw].map(|buffer| buffer.to_vec())
}

fn check(x: [usize; 4], [kh, kw, c_out]: [usize; 3], stride: usize, padding: usize) {
    let g = Conv2d::new(&x, &[kh, kw, x[3], c_out], stride, padding).unwrap();
    let (x, w) = (random(1, x.iter().product()), random(2, kh * kw * x[3] * c_out));
    let (dy, bias) = (random(3, g.y_rows().len()), random(4, c_out));
    let [mut y, dx, dw] = naive(&g, &rounded(&x), &rounded(&w), &rounded(&dy));
    for (i, y) in y.iter_mut().enumerate() {
        *y += f64::from(bias[i % c_out]);
    }
    each_mixed(|cpu| {
        // This one is computed in f32.
        if !crate::conv2d::fuses_weight_gradient(cpu, &g) {
            return;
        }
        let found = found(cpu, &g, [&x, &w, &dy], Some(&bias));
        for (found, expected) in found.iter().zip([&y, &dx, &dw]) {
            assert_close(found, expected, 2e-6);
        }
    });
}

#[test]
fn a_convolution_and_its_gradients_are_sums_of_rounded_factors() {
    check([3, 32, 32, 64], [3, 3, 64], 1, 1); // tiles of a row, whole panels
    check([2, 32, 32, 3], [3, 3, 20], 1, 1); // few channels of each tap
    check([5, 17, 18, 5], [3, 3, 40], 1, 1); // rows of more than a tile
    check([2, 16, 16, 8], [3, 3, 8], 2, 1); // stride 2: four convolutions of dy
    check([2, 33, 31, 16], [1, 1, 32], 2, 0); // pixels that no tap reads
    check([40, 4, 4, 33], [3, 3, 70], 1, 1); // the same pixels of many images
    check([33, 8, 8, 8], [3, 3, 24], 2, 1);
    check([70, 2, 2, 40], [3, 3, 17], 1, 1);
    check([64, 1, 1, 16], [3, 3, 16], 1, 1); // taps that are all but one in the padding
    check([1, 20, 20, 4], [5, 3, 6], 3, 4); // a padding larger than the kernel
    check([2, 40, 19, 3], [7, 7, 9], 2, 3);
    check([1, 150, 40, 40], [3, 3, 8], 1, 1); // an image in several blocks
    check([48, 3, 3, 1], [2, 2, 1], 1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_convolution_is_sums_of_rounded_factors(
        n in 1usize..40, h in 1usize..20, w in 1usize..20, c_in in 1usize..40, c_out in 1usize..40,
        kernel in 1usize..4, stride in 1usize..4, padding in 0usize..3,
    ) {
        prop_assume!(h + 2 * padding >= kernel && w + 2 * padding >= kernel);
        prop_assume!(n * h * w * c_in * c_out * kernel * kernel < 3_000_000);
        check([n, h, w, c_in], [kernel, kernel, c_out], stride, padding);
    }
}

/// The micro-kernels in plain Rust round where the matrix units do.
#[test]
fn amx_gives_the_same_bits_as_plain_rust() {
    if !Isa::Amx.has_mixed() {
        return eprintln!("skipped: this machine has no AMX");
    }
    for (x, c_out, stride) in [([2, 32, 32, 16], 33, 1), ([34, 8, 8, 40], 64, 2), ([3, 16, 16, 3], 8, 1)] {
        let g = Conv2d::new(&x, &[3, 3, x[3], c_out], stride, 1).unwrap();
        let (x, w) = (random(1, x.iter().product()), random(2, 9 * x[3] * c_out));
        let dy = random(3, g.y_rows().len());
        let bits = |isa| {
            let cpu = Cpu::with_precision(2, isa, Precision::Mixed).unwrap();
            found(&cpu, &g, [&x, &w, &dy], None)
                .map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        assert!(bits(Isa::Amx) == bits(Isa::Portable), "{g:?}");
    }
}

#[test]
fn threads_change_no_bit() {
    for (x, c_out, stride) in [([5, 32, 32, 16], 33, 1), ([70, 8, 8, 40], 64, 2), ([3, 16, 16, 3], 8, 1)] {
        let g = Conv2d::new(&x, &[3, 3, x[3], c_out], stride, 1).unwrap();
        let (x, w) = (random(1, x.iter().product()), random(2, 9 * x[3] * c_out));
        let dy = random(3, g.y_rows().len());
        for isa in Isa::ALL.into_iter().filter(|isa| isa.has_mixed()) {
            let run = |threads| {
                found(&Cpu::with_precision(threads, isa, Precision::Mixed).unwrap(), &g, [&x, &w, &dy], None)
            };
            let alone = run(1);
            for threads in [2, 3, 7] {
                assert!(run(threads) == alone, "{threads} threads differ from one ({isa})");
            }
        }
    }
}

#[test]
fn a_product_of_matrices_is_sums_of_rounded_factors() {
    for (m, n, k) in [(1, 1, 1), (5, 7, 3), (16, 32, 32), (33, 65, 257), (130, 16, 70)] {
        for bits in 0..4 {
            let g = Gemm {
                transpose_a: bits & 1 > 0,
                transpose_b: bits & 2 > 0,
                ..Gemm { m, n, k, ..Gemm::default() }
            };
            let (a, b, c) = (random(1, m * k), random(2, k * n), random(3, m * n));
            let (a_rounded, b_rounded) = (rounded(&a), rounded(&b));
            for (alpha, beta) in [(1.0, 0.0), (-0.5, 2.0)] {
                let expected: Vec<f64> = (0..m * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        let product: f64 = (0..k)
                            .map(|l| {
                                a_rounded[if g.transpose_a { l * m + i } else { i * k + l }]
                                    * b_rounded[if g.transpose_b { j * k + l } else { l * n + j }]
                            })
                            .sum();
                        f64::from(alpha) * product + f64::from(beta) * f64::from(c[at])
                    })
                    .collect();
                each_mixed(|cpu| {
                    let mut to = if beta == 0.0 { blank(cpu, m * n) } else { buffer(cpu, &c) };
                    cpu.gemm(&g, alpha, &buffer(cpu, &a), &buffer(cpu, &b), beta, &mut to).unwrap();
                    assert_close(&to, &expected, 1e-6);
                });
            }
        }
    }
}

/// A kernel that computes relu(batch_norm(x)) as it rounds x gives the bits of the kernels one after the other.
#[test]
fn fused_kernels_give_the_bits_of_separate_ones() {
    for (x, c_out, kernel, stride, padding) in
        [([3, 32, 32, 24], 33, 3, 1, 1), ([40, 8, 8, 40], 17, 3, 2, 1), ([5, 17, 16, 8], 16, 1, 2, 0)]
    {
        let g = Conv2d::new(&x, &[kernel, kernel, x[3], c_out], stride, padding).unwrap();
        let (rows, out) = (g.x_rows(), g.y_rows());
        each_mixed(|cpu| {
            let values = |seed, len| buffer(cpu, &random(seed, len));
            let (x, w, dy) =
                (values(1, rows.len()), values(2, g.w_shape().iter().product()), values(3, out.len()));
            let [mean, gamma, beta] = [4, 5, 6].map(|seed| values(seed, g.c_in));
            let variance = buffer(cpu, &vec![0.7; g.c_in]);
            let p = || BatchNormOperands {
                mean: &mean,
                variance: &variance,
                gamma: &gamma,
                beta: &beta,
                epsilon: 1e-5,
            };
            let (z, bits) = (BatchNormRelu { x: &x, p: p(), z: None }, |b: &Buffer| {
                b.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            });
            let mut written = blank(cpu, rows.len());
            cpu.batch_norm_relu(&rows, &p(), &x, None, &mut written).unwrap();
            let fused = cpu.fused_kernels().unwrap();
            let stored = |len| [(); 2].map(|()| blank(cpu, len));

            if !fused.fuses_weight_gradient(&g) {
                return; // computed in f32
            }
            let ([mut y, mut expected], [mut mean, mut variance]) = (stored(out.len()), stored(g.c_out));
            let [mut mean_after, mut variance_after] = stored(g.c_out);
            fused.conv2d(&g, &z, &w, None, &mut y, Some([&mut mean, &mut variance])).unwrap();
            cpu.conv2d(&g, &written, &w, None, &mut expected).unwrap();
            cpu.batch_norm_statistics(&out, &expected, &mut mean_after, &mut variance_after).unwrap();
            assert_eq!(bits(&y), bits(&expected));
            assert_close(&mean, &wide(&mean_after), 1e-5);
            assert_close(&variance, &wide(&variance_after), 1e-5);

            let [mut dw, mut expected] = stored(w.len());
            fused.conv2d_backward_weight(&g, &z, &dy, &mut dw).unwrap();
            cpu.conv2d_backward_weight(&g, &written, &dy, &mut expected).unwrap();
            assert_eq!(bits(&dw), bits(&expected));

            let ([mut dz, mut expected], [mut dgamma, mut dbeta]) = (stored(rows.len()), stored(g.c_in));
            fused.conv2d_backward_input(&g, &z, &w, &dy, None, &mut dz, &mut dgamma, &mut dbeta).unwrap();
            cpu.conv2d_backward_input(&g, &w, &dy, &mut expected).unwrap();
            assert_eq!(bits(&dz), bits(&expected));
            let ([mut dx, _], [mut dgamma_after, mut dbeta_after]) = (stored(rows.len()), stored(g.c_in));
            let (to_gamma, to_beta) = (&mut dgamma_after, &mut dbeta_after);
            cpu.batch_norm_relu_backward(&rows, &p(), &x, &written, &dz, None, &mut dx, to_gamma, to_beta)
                .unwrap();
            assert_close(&dgamma, &wide(&dgamma_after), 1e-5);
            assert_close(&dbeta, &wide(&dbeta_after), 1e-5);
        });
    }
}

/// An infinite factor makes the sums that it belongs to infinite or NaN, and is not lost.
#[test]
fn infinities_and_nans_reach_the_result() {
    let g = Conv2d::new(&[2, 16, 16, 8], &[3, 3, 8, 8], 1, 1).unwrap();
    // 3.4e38 is finite in f32, and infinite when it is rounded to bf16.
    for special in [f32::INFINITY, f32::NAN, 3.4e38] {
        let (mut x, w) = (random(1, g.x_rows().len()), random(2, 9 * 8 * 8));
        x[0] = special;
        each_mixed(|cpu| {
            if !crate::conv2d::fuses_weight_gradient(cpu, &g) {
                return; // computed in f32
            }
            let [y, ..] = found(cpu, &g, [&x, &w, &random(3, g.y_rows().len())], None);
            assert!(y[..8].iter().all(|y| !y.is_finite()), "{special}: {:?}", &y[..8]);
            assert!(y[y.len() / 2..].iter().all(|y| y.is_finite()), "{special} reaches the second image");
        });
    }
}
