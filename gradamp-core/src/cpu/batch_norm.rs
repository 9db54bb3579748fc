//! Batch norm over rows, alone and fused with ReLU and a residual; forward above backward.

use crate::geometry::Rows;

use super::elementwise::{block_sums, row_block, short_sums};
use super::threads::Threads;

/// The per-channel operands of a batch norm, as slices; see [`crate::backend::BatchNormOperands`].
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) mean: &'a [f32],
    pub(super) variance: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) epsilon: f32,
}

impl Operands<'_> {
    /// 1 / sqrt(variance + epsilon)
    fn inverse_deviation(&self) -> Vec<f32> {
        self.variance.iter().map(|&v| (1.0 / f64::from(v + self.epsilon).sqrt()) as f32).collect()
    }

    /// gamma / sqrt(variance + epsilon)
    fn scale(&self) -> Vec<f32> {
        self.inverse_deviation().iter().zip(self.gamma).map(|(d, g)| d * g).collect()
    }
}

/// mean[c] = 1/rows · Σ_r x[r, c]; variance[c] = 1/rows · Σ_r (x[r, c] − mean[c])²
///
/// Two passes over each block of rows, the second one in cache: its mean, then the squares around that mean.
/// The blocks' moments are joined in f64 (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979).
pub(super) fn batch_norm_statistics(
    threads: &Threads,
    g: &Rows,
    x: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let c = g.channels;
    let block = row_block(g);
    // Of each block: [mean | Σ (x − mean)²].
    let mut moments = vec![0.0f64; g.rows.div_ceil(block) * 2 * c];
    threads.each(moments.chunks_mut(2 * c).zip(x[..g.len()].chunks(block * c)), |(moments, x)| {
        let (means, squares) = moments.split_at_mut(c);
        short_sums(x.chunks(c), means, |_, x| x);
        let rows = (x.len() / c) as f64;
        let centre: Vec<f32> = means.iter().map(|sum| (sum / rows) as f32).collect();
        // The second pass also finds by how much the first one's mean is off.
        means.fill(0.0);
        short_sums(x.chunks(c), means, |c, x| x - centre[c]);
        short_sums(x.chunks(c), squares, |c, x| (x - centre[c]) * (x - centre[c]));
        for ((mean, square), &centre) in means.iter_mut().zip(squares).zip(&centre) {
            let rest = *mean / rows;
            *square -= rest * rest * rows;
            *mean = f64::from(centre) + rest;
        }
    });
    for (channel, (mean, variance)) in mean[..c].iter_mut().zip(&mut variance[..c]).enumerate() {
        let (mut count, mut centre, mut squares) = (0.0, 0.0, 0.0);
        for (i, moments) in moments.chunks(2 * c).enumerate() {
            let rows = (g.rows - i * block).min(block) as f64;
            let delta = moments[channel] - centre;
            squares += moments[c + channel] + delta * delta * count * rows / (count + rows);
            count += rows;
            centre += delta * rows / count;
        }
        *mean = centre as f32;
        *variance = (squares / count).max(0.0) as f32;
        if squares.is_nan() {
            *variance = f32::NAN; // max above would hide it
        }
    }
}

/// y = f((x − mean) · scale + beta + residual)
fn normalise(
    threads: &Threads,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
    f: impl Fn(f32) -> f32 + Sync,
) {
    let scale = p.scale();
    let (c, block) = (g.channels, row_block(g) * g.channels);
    let (x, y) = (&x[..g.len()], &mut y[..g.len()]);
    let (mean, beta, scale) = (&p.mean[..c], &p.beta[..c], &scale[..c]);
    match residual {
        None => threads.each(x.chunks(block).zip(y.chunks_mut(block)), |(x, y)| {
            for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
                for i in 0..c {
                    y[i] = f((x[i] - mean[i]) * scale[i] + beta[i]);
                }
            }
        }),
        Some(residual) => {
            let parts = x.chunks(block).zip(residual[..g.len()].chunks(block)).zip(y.chunks_mut(block));
            threads.each(parts, |((x, residual), y)| {
                let rows = x.chunks_exact(c).zip(residual.chunks_exact(c)).zip(y.chunks_exact_mut(c));
                for ((x, residual), y) in rows {
                    for i in 0..c {
                        y[i] = f((x[i] - mean[i]) * scale[i] + beta[i] + residual[i]);
                    }
                }
            });
        }
    }
}

/// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta
pub(super) fn batch_norm(threads: &Threads, g: &Rows, p: Operands<'_>, x: &[f32], y: &mut [f32]) {
    normalise(threads, g, p, x, None, y, |y| y);
}

/// y = relu(batch_norm(x) + residual)
pub(super) fn batch_norm_relu(
    threads: &Threads,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
) {
    normalise(threads, g, p, x, residual, y, |y| if y <= 0.0 { 0.0 } else { y });
}

/// With x̂ = (x − mean) / sqrt(variance + epsilon), and dy = 0 where `y`, if there is one, is not above 0:
///
/// dbeta = Σ_r dy; dgamma = Σ_r dy · x̂; dx = gamma / sqrt(variance + epsilon) · (dy − dbeta/rows − x̂ · dgamma/rows)
pub(super) fn batch_norm_backward(
    threads: &Threads,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    y: Option<&[f32]>,
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    match y {
        None => backward(threads, g, p, x, dy, dy, |dy, _| dy, dx, dgamma, dbeta),
        Some(y) => {
            let masked = |dy, y| if y > 0.0 { dy } else { 0.0 };
            backward(threads, g, p, x, y, dy, masked, dx, dgamma, dbeta);
        }
    }
}

fn backward(
    threads: &Threads,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    mask: impl Fn(f32, f32) -> f32 + Sync,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = g.channels;
    let mean = &p.mean[..c];
    let inverse = p.inverse_deviation();
    // [dbeta | Σ_r dy · (x − mean)]
    let sums = block_sums(threads, g, 2, |rows, sums| {
        let part = rows.start * c..rows.end * c;
        paired_sums(&x[part.clone()], &y[part.clone()], &dy[part], mean, &mask, sums);
    });
    let rows = g.rows as f64;
    // dx = scale · (dz − shift − (x − mean) · slope)
    let (mut scale, mut shift, mut slope) = (vec![0.0f32; c], vec![0.0f32; c], vec![0.0f32; c]);
    for i in 0..c {
        let inverse_wide = f64::from(inverse[i]);
        dbeta[i] = sums[i] as f32;
        dgamma[i] = (sums[c + i] * inverse_wide) as f32;
        scale[i] = inverse[i] * p.gamma[i];
        shift[i] = (sums[i] / rows) as f32;
        slope[i] = (sums[c + i] * inverse_wide * inverse_wide / rows) as f32;
    }
    let block = row_block(g) * c;
    let (x, y, dy) = (&x[..g.len()], &y[..g.len()], &dy[..g.len()]);
    let (scale, shift, slope) = (&scale[..c], &shift[..c], &slope[..c]);
    let parts =
        x.chunks(block).zip(y.chunks(block)).zip(dy.chunks(block)).zip(dx[..g.len()].chunks_mut(block));
    threads.each(parts, |(((x, y), dy), dx)| {
        let rows =
            x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c));
        for (((x, y), dy), dx) in rows {
            for i in 0..c {
                dx[i] = scale[i] * (mask(dy[i], y[i]) - shift[i] - (x[i] - mean[i]) * slope[i]);
            }
        }
    });
}

/// sums += [Σ_r dz | Σ_r dz · (x − mean)], dz = mask(dy, y); in f32 over a few rows at a time, then in f64.
fn paired_sums(
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    mean: &[f32],
    mask: impl Fn(f32, f32) -> f32,
    sums: &mut [f64],
) {
    const SHORT: usize = 32;
    let c = mean.len();
    let mut short = vec![0.0f32; 2 * c];
    for ((x, y), dy) in x.chunks(SHORT * c).zip(y.chunks(SHORT * c)).zip(dy.chunks(SHORT * c)) {
        short.fill(0.0);
        let (plain, product) = short.split_at_mut(c);
        for ((x, y), dy) in x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
            for i in 0..c {
                let dz = mask(dy[i], y[i]);
                plain[i] += dz;
                product[i] += dz * (x[i] - mean[i]);
            }
        }
        for (sum, &short) in sums.iter_mut().zip(&short) {
            *sum += f64::from(short);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::tests::{assert_close, random};

    fn naive_moments(g: &Rows, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let column = |c: usize| (0..g.rows).map(move |r| f64::from(x[r * g.channels + c]));
        let n = g.rows as f64;
        let mean: Vec<f64> = (0..g.channels).map(|c| column(c).sum::<f64>() / n).collect();
        let variance = |c: usize| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / n;
        let variance = (0..g.channels).map(variance).collect();
        (mean, variance)
    }

    #[test]
    fn moments_survive_a_mean_far_from_zero_and_an_outlier_in_front() {
        let threads = Threads::new(2).unwrap();
        for (rows, channels) in [(1, 1), (3, 5), (5000, 17), (200, 513)] {
            let g = Rows { rows, channels };
            for (offset, first) in [(0.0, 0.0), (1000.0, 0.0), (0.0, 1e4)] {
                let mut x: Vec<f32> = random(1, g.len()).iter().map(|x| x + offset).collect();
                x[0] += first;
                let (mut mean, mut variance) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
                batch_norm_statistics(&threads, &g, &x, &mut mean, &mut variance);
                let (expected_mean, expected_variance) = naive_moments(&g, &x);
                assert_close(&mean, &expected_mean, 1e-6);
                for (found, expected) in variance.iter().zip(expected_variance) {
                    assert!((f64::from(*found) - expected).abs() <= 1e-5 * expected, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_nan_shows_in_its_channel_s_moments() {
        let g = Rows { rows: 100, channels: 2 };
        let mut x = random(1, g.len());
        x[40] = f32::NAN;
        let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
        batch_norm_statistics(&Threads::alone(), &g, &x, &mut mean, &mut variance);
        assert!(mean[0].is_nan() && variance[0].is_nan() && mean[1].is_finite() && variance[1].is_finite());
    }

    #[test]
    fn forward_and_backward_follow_their_formulas() {
        let threads = Threads::new(2).unwrap();
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
            batch_norm(&threads, &g, p, &x, &mut y);
            assert_close(&y, &all(&affine), 1e-6);
            batch_norm_relu(&threads, &g, p, &x, Some(&residual), &mut y);
            assert_close(&y, &all(&|i| (affine(i) + wide(&residual, i)).max(0.0)), 1e-6);
            batch_norm_relu(&threads, &g, p, &x, None, &mut y);
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
                batch_norm_backward(&threads, &g, p, &x, y, &dy, &mut dx, &mut dgamma, &mut dbeta);
                assert_close(&dgamma, &sum_product, 1e-5);
                assert_close(&dbeta, &sum_dz, 1e-5);
                assert_close(&dx, &expected, 1e-5);
            }
        }
    }
}
