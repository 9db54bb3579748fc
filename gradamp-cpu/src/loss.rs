//! Softmax cross-entropy against smoothed labels, forward and backward at once.

use gradamp_core::geometry::Rows;

use super::threads::Threads;

/// Rows of one task.
const BLOCK: usize = 64;

/// t_k = (1 − s) · [k = l] + s/K; loss_r = −Σ_k t_k · ln q_k; dlogits[r, k] = (q_k − t_k) / rows; q = softmax
///
/// In f64: the logits are few, and a loss near 0 keeps its digits. out: the mean loss, and how many are right.
pub(super) fn softmax_cross_entropy(
    threads: &Threads,
    g: &Rows,
    smoothing: f32,
    logits: &[f32],
    labels: &[f32],
    out: &mut [f32],
    dlogits: &mut [f32],
) {
    let k = g.channels;
    let (smoothing, rows) = (f64::from(smoothing), g.rows as f64);
    let mut parts = vec![(0.0f64, 0u32); g.rows.div_ceil(BLOCK)];
    let blocks = logits[..g.len()]
        .chunks(BLOCK * k)
        .zip(labels[..g.rows].chunks(BLOCK))
        .zip(dlogits[..g.len()].chunks_mut(BLOCK * k))
        .zip(&mut parts);
    threads.each(blocks, |(((logits, labels), dlogits), (loss, right))| {
        for ((logits, &label), dlogits) in logits.chunks(k).zip(labels).zip(dlogits.chunks_mut(k)) {
            let label = label as usize;
            let mut largest = 0;
            for (i, &logit) in logits.iter().enumerate() {
                if logit > logits[largest] {
                    largest = i;
                }
            }
            let shift = f64::from(logits[largest]);
            let sum: f64 = logits.iter().map(|&z| (f64::from(z) - shift).exp()).sum();
            for (i, (&z, dz)) in logits.iter().zip(dlogits.iter_mut()).enumerate() {
                let target = if i == label { 1.0 - smoothing } else { 0.0 } + smoothing / k as f64;
                let z = f64::from(z) - shift;
                if target != 0.0 {
                    *loss -= target * (z - sum.ln());
                }
                *dz = ((z.exp() / sum - target) / rows) as f32;
            }
            *right += u32::from(largest == label);
        }
    });
    let (loss, right) = parts.iter().fold((0.0, 0), |(loss, right), part| (loss + part.0, right + part.1));
    out[0] = (loss / rows) as f32;
    out[1] = right as f32;
}
