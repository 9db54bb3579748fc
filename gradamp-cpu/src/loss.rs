//! Softmax cross-entropy against smoothed labels or shares of classes. One pass computes the loss and its gradient.

use gradamp_core::geometry::Rows;

use crate::threads::Threads;

/// Rows of one task.
const BLOCK: usize = 64;

/// Against labels: t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows; q = softmax
///
/// Returns the mean loss and the number of correct rows. Computes in f64: the logits are few, and a loss near 0 keeps its
/// digits.
pub(super) fn softmax_cross_entropy(
    threads: &Threads,
    g: &Rows,
    smoothing: f32,
    logits: &[f32],
    labels: &[f32],
    dlogits: &mut [f32],
) -> (f32, f32) {
    let of_label = |label: &[f32]| (label[0] as usize, 1.0);
    let share = |label: &[f32], k: usize| if k == label[0] as usize { 1.0 } else { 0.0 };
    cross_entropy(threads, g, smoothing, logits, (labels, 1), dlogits, of_label, share)
}

/// Against shares of classes, whose sum in a row is T: t_k = (1 − s) · share_k + s · T/K; dlogits[r, k] = (T · q_k − t_k) / rows
pub(super) fn soft_cross_entropy(
    threads: &Threads,
    g: &Rows,
    smoothing: f32,
    logits: &[f32],
    shares: &[f32],
    dlogits: &mut [f32],
) -> (f32, f32) {
    let of_shares = |shares: &[f32]| (first_largest(shares), shares.iter().copied().map(f64::from).sum());
    let share = |shares: &[f32], k: usize| f64::from(shares[k]);
    cross_entropy(threads, g, smoothing, logits, (shares, g.channels), dlogits, of_shares, share)
}

/// The mean cross-entropy of the rows, and its gradient. Each row has `width` numbers in `targets`: `of_row` returns their class and the
/// sum of their shares, and `share` the share of one class.
fn cross_entropy(
    threads: &Threads,
    g: &Rows,
    smoothing: f32,
    logits: &[f32],
    (targets, width): (&[f32], usize),
    dlogits: &mut [f32],
    of_row: impl Fn(&[f32]) -> (usize, f64) + Sync,
    share: impl Fn(&[f32], usize) -> f64 + Sync,
) -> (f32, f32) {
    let k = g.channels;
    let (smoothing, rows) = (f64::from(smoothing), g.rows as f64);
    let mut parts = vec![(0.0f64, 0u32); g.rows.div_ceil(BLOCK)];
    let blocks = logits[..g.len()]
        .chunks(BLOCK * k)
        .zip(targets[..g.rows * width].chunks(BLOCK * width))
        .zip(dlogits[..g.len()].chunks_mut(BLOCK * k))
        .zip(&mut parts);
    threads.each(blocks, |(((logits, targets), dlogits), (loss, correct))| {
        let rows_of_block = logits.chunks(k).zip(targets.chunks(width)).zip(dlogits.chunks_mut(k));
        for ((logits, targets), dlogits) in rows_of_block {
            let largest = first_largest(logits);
            let shift = f64::from(logits[largest]);
            let sum: f64 = logits.iter().map(|&z| (f64::from(z) - shift).exp()).sum();
            let (class, total) = of_row(targets);
            for (i, (&z, dz)) in logits.iter().zip(dlogits.iter_mut()).enumerate() {
                let target = (1.0 - smoothing) * share(targets, i) + smoothing * total / k as f64;
                let z = f64::from(z) - shift;
                // −infinity at a class without a share does not count; NaN does.
                if target != 0.0 || z.is_nan() {
                    *loss -= target * (z - sum.ln());
                }
                *dz = ((total * z.exp() / sum - target) / rows) as f32;
            }
            *correct += u32::from(largest == class);
        }
    });
    let (loss, correct) = parts.iter().fold((0.0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    ((loss / rows) as f32, correct as f32)
}

fn first_largest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::device::Cpu;
    use crate::tests::{assert_close, blank, buffer, random, wide};
    use gradamp_core::backend::Layers;

    #[test]
    fn the_loss_and_its_gradient_follow_their_formulas() {
        let cpu = Cpu::with_threads(2).unwrap();
        for (rows, k, smoothing) in [(1, 2, 0.0), (130, 10, 0.0), (65, 100, 0.1)] {
            let g = Rows { rows, channels: k };
            let logits: Vec<f32> = random(1, g.len()).iter().map(|z| 20.0 * z).collect();
            let labels: Vec<f32> = (0..rows).map(|r| (r * 7 % k) as f32).collect();
            let [mut mean, mut count, mut dlogits] = [1, 1, g.len()].map(|len| blank(&cpu, len));
            let (z, l) = (buffer(&cpu, &logits), buffer(&cpu, &labels));
            cpu.softmax_cross_entropy(&g, smoothing, &z, &l, &mut mean, &mut count, &mut dlogits).unwrap();
            let (mut loss, mut correct, mut expected) = (0.0, 0.0, vec![]);
            for (r, z) in wide(&logits).chunks(k).enumerate() {
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                let most = z.iter().cloned().fold(f64::MIN, f64::max);
                for (i, z) in z.iter().enumerate() {
                    let label = i == r * 7 % k;
                    let s = f64::from(smoothing);
                    let t = if label { 1.0 - s } else { 0.0 } + s / k as f64;
                    loss -= t * (z.exp() / sum).ln() / rows as f64;
                    correct += if label && *z == most { 1.0 } else { 0.0 };
                    expected.push((z.exp() / sum - t) / rows as f64);
                }
            }
            assert_close(&mean, &[loss], 1e-6);
            assert_eq!(count[..1], [correct]);
            assert_close(&dlogits, &expected, 1e-6);
        }
    }
}
