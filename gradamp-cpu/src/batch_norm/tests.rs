//! Batch norm against its formulas in f64, on inputs for which a variance from Σ x² would lose all digits.

use super::*;
use crate::tests::{assert_close, each_isa, random};

fn naive_moments(g: &Rows, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let column = |c: usize| (0..g.rows).map(move |r| f64::from(x[r * g.channels + c]));
    let n = g.rows as f64;
    let mean: Vec<f64> = (0..g.channels).map(|c| column(c).sum::<f64>() / n).collect();
    let variance = |c: usize| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / n;
    let variance = (0..g.channels).map(variance).collect();
    (mean, variance)
}

#[test]
fn moments_are_exact_with_a_mean_far_from_zero_and_with_an_outlier_in_the_first_row() {
    each_isa(|cpu| {
        for (rows, channels) in [(1, 1), (3, 5), (5000, 17), (200, 513)] {
            let g = Rows { rows, channels };
            for (offset, first) in [(0.0, 0.0), (1000.0, 0.0), (0.0, 1e4)] {
                let mut x: Vec<f32> = random(1, g.len()).iter().map(|x| x + offset).collect();
                x[0] += first;
                let (mut mean, mut variance) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
                batch_norm_statistics(&cpu, &g, &x, &mut mean, &mut variance);
                let (expected_mean, expected_variance) = naive_moments(&g, &x);
                assert_close(&mean, &expected_mean, 1e-6);
                for (found, expected) in variance.iter().zip(expected_variance) {
                    assert!((f64::from(*found) - expected).abs() <= 1e-5 * expected, "{found} {expected}");
                }
            }
        }
    });
}

#[test]
fn a_nan_makes_the_moments_of_its_channel_nan() {
    let g = Rows { rows: 100, channels: 2 };
    let mut x = random(1, g.len());
    x[40] = f32::NAN;
    let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
    batch_norm_statistics(&Cpu::with_threads(1).unwrap(), &g, &x, &mut mean, &mut variance);
    assert!(mean[0].is_nan() && variance[0].is_nan() && mean[1].is_finite() && variance[1].is_finite());
}

#[test]
fn forward_and_backward_follow_their_formulas() {
    each_isa(|cpu| {
        for (rows, channels) in [(2, 1), (7, 3), (3000, 20), (300, 513)] {
            let g = Rows { rows, channels };
            let [x, dy, residual] = [1, 2, 3].map(|seed| random(seed, g.len()));
            let [mean, gamma, beta] = [4, 5, 6].map(|seed| random(seed, channels));
            let variance: Vec<f32> = random(7, channels).iter().map(|v| v.abs() + 0.1).collect();
            let p = Operands { mean: &mean, variance: &variance, gamma: &gamma, beta: &beta, epsilon: 1e-3 };
            let wide = |v: &[f32], i: usize| f64::from(v[i]);
            let deviation = |c: usize| (wide(&variance, c) + 1e-3).sqrt();
            let normal = |i: usize| {
                let c = i % channels;
                (wide(&x, i) - wide(&mean, c)) / deviation(c)
            };
            let affine = |i: usize| normal(i) * wide(&gamma, i % channels) + wide(&beta, i % channels);
            let all = |f: &dyn Fn(usize) -> f64| (0..g.len()).map(f).collect::<Vec<f64>>();

            let mut y = vec![f32::NAN; g.len()];
            batch_norm(&cpu, &g, p, &x, &mut y);
            assert_close(&y, &all(&affine), 1e-6);
            batch_norm_relu(&cpu, &g, p, &x, Some(&residual), &mut y);
            assert_close(&y, &all(&|i| (affine(i) + wide(&residual, i)).max(0.0)), 1e-6);
            batch_norm_relu(&cpu, &g, p, &x, None, &mut y);
            assert_close(&y, &all(&|i| affine(i).max(0.0)), 1e-6);

            for y in [None, Some(&y[..])] {
                let dz = |i: usize| if y.is_none_or(|y| y[i] > 0.0) { wide(&dy, i) } else { 0.0 };
                let sum = |f: &dyn Fn(usize) -> f64| -> Vec<f64> {
                    (0..channels).map(|c| (0..rows).map(|r| f(r * channels + c)).sum()).collect()
                };
                let (sum_dz, sum_product) = (sum(&dz), sum(&|i| dz(i) * normal(i)));
                let expected = all(&|i| {
                    let c = i % channels;
                    let centred = dz(i) - (sum_dz[c] + normal(i) * sum_product[c]) / rows as f64;
                    wide(&gamma, c) / deviation(c) * centred
                });
                let (mut dx, mut dgamma, mut dbeta) =
                    (vec![f32::NAN; g.len()], vec![f32::NAN; channels], vec![f32::NAN; channels]);
                batch_norm_backward(&cpu, &g, p, &x, y, &dy, None, &mut dx, &mut dgamma, &mut dbeta);
                assert_close(&dgamma, &sum_product, 1e-5);
                assert_close(&dbeta, &sum_dz, 1e-5);
                assert_close(&dx, &expected, 1e-5);
            }
        }
    });
}
