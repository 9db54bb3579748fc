//! Defaults of kernels: they read the operands, compute on the host, and write.

use super::memory::Memory;
use crate::Result;
use crate::geometry::{Mix, Rows};

/// out[i] = f(the i-th element of each operand).
pub(super) fn on_host<B: Memory, const N: usize>(
    backend: &B,
    len: usize,
    operands: [&B::Buffer; N],
    out: &mut B::Buffer,
    f: impl Fn([f32; N]) -> f32,
) -> Result<()> {
    let operands = backend.read_all(&operands.map(|operand| (operand, len)))?;
    let values: Vec<f32> = (0..len).map(|i| f(std::array::from_fn(|k| operands[k][i]))).collect();
    backend.write(&values, out)
}

/// See [`Layers::soft_cross_entropy`](super::Layers::soft_cross_entropy). Computes in f64.
pub(super) fn soft_cross_entropy<B: Memory>(
    backend: &B,
    g: &Rows,
    smoothing: f32,
    logits: &B::Buffer,
    targets: &B::Buffer,
    [loss, correct, dlogits]: [&mut B::Buffer; 3],
) -> Result<()> {
    let operands = backend.read_all(&[(logits, g.len()), (targets, g.len())])?;
    let (s, rows, classes) = (f64::from(smoothing), g.rows as f64, g.channels as f64);
    let (mut sum, mut hits, mut gradient) = (0.0, 0, Vec::with_capacity(g.len()));
    for (z, t) in operands[0].chunks(g.channels).zip(operands[1].chunks(g.channels)) {
        let top = first_largest(z);
        hits += usize::from(top == first_largest(t));
        let shift = f64::from(z[top]);
        let exps: f64 = z.iter().map(|&z| (f64::from(z) - shift).exp()).sum();
        let total: f64 = t.iter().copied().map(f64::from).sum();
        for (&z, &t) in z.iter().zip(t) {
            let (z, t) = (f64::from(z) - shift, (1.0 - s) * f64::from(t) + s * total / classes);
            if t != 0.0 || z.is_nan() {
                sum -= t * (z - exps.ln());
            }
            gradient.push(((total * z.exp() / exps - t) / rows) as f32);
        }
    }
    backend.write(&[(sum / rows) as f32], loss)?;
    backend.write(&[hits as f32], correct)?;
    backend.write(&gradient, dlogits)
}

/// The place of the largest value, the first of equals.
pub(crate) fn first_largest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// See [`Layers::mix_images`](super::Layers::mix_images).
pub(super) fn mix_images<B: Memory>(backend: &B, g: &Mix, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
    let mut values = vec![0.0; g.len()];
    backend.read(x, &mut values)?;
    let [n, h, w, c] = g.images;
    let at = |i, row, column, channel| values[((i * h + row) * w + column) * c + channel];
    let mut mixed = Vec::with_capacity(g.len());
    for i in 0..n {
        for (row, column) in (0..h).flat_map(|row| (0..w).map(move |column| (row, column))) {
            mixed.extend((0..c).map(|channel| match (at(i, row, column, channel), g.covers(row, column)) {
                (own, true) => g.share * own + (1.0 - g.share) * at(g.partner(i), row, column, channel),
                (own, false) => own,
            }));
        }
    }
    backend.write(&mixed, y)
}

/// See [`Layers::mix_labels`](super::Layers::mix_labels).
pub(super) fn mix_labels<B: Memory>(
    backend: &B,
    g: &Mix,
    classes: usize,
    labels: &B::Buffer,
    targets: &mut B::Buffer,
) -> Result<()> {
    let n = g.images[0];
    let mut values = vec![0.0; n];
    backend.read(labels, &mut values)?;
    let share = g.label_share();
    let hit = |image: usize, class| if values[image] as usize == class { 1.0 } else { 0.0 };
    let row = |i| (0..classes).map(move |k| share * hit(i, k) + (1.0 - share) * hit(g.partner(i), k));
    let shares: Vec<f32> = (0..n).flat_map(row).collect();
    backend.write(&shares, targets)
}
