//! The gradients of a batch norm, with or without a rectifier behind it.

use crate::cpu::Cpu;
use crate::cpu::elementwise::{SHORT, block_sums, row_block};
use crate::cpu::simd::vectorised;
use crate::geometry::Rows;

use super::Operands;

/// With x̂ = (x − mean) / sqrt(variance + epsilon), and dy = 0 where `y`, if there is one, is not above 0:
///
/// dbeta = Σ_r dy; dgamma = Σ_r dy · x̂; dx = gamma / sqrt(variance + epsilon) · (dy − dbeta/rows − x̂ · dgamma/rows)
pub(in crate::cpu) fn batch_norm_backward(
    cpu: &Cpu,
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
        None => backward::<false>(cpu, g, p, x, dy, dy, dx, dgamma, dbeta),
        Some(y) => backward::<true>(cpu, g, p, x, y, dy, dx, dgamma, dbeta),
    }
}

fn backward<const MASKED: bool>(
    cpu: &Cpu,
    g: &Rows,
    p: Operands<'_>,
    x: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = g.channels;
    let mean = &p.mean[..c];
    let inverse = p.inverse_deviation();
    // [dbeta | Σ_r dy · (x − mean)]
    let sums = block_sums(cpu.threads(), g, 2, |rows, sums| {
        let part = rows.start * c..rows.end * c;
        add_products::<MASKED>(cpu, &x[part.clone()], &y[part.clone()], &dy[part], mean, sums);
    });
    let rows = g.rows as f64;
    // dx = scale · (dz − shift − (x − mean) · slope)
    let [mut scale, mut shift, mut slope] = [(); 3].map(|()| vec![0.0f32; c]);
    for i in 0..c {
        let inverse_wide = f64::from(inverse[i]);
        dbeta[i] = sums[i] as f32;
        dgamma[i] = (sums[c + i] * inverse_wide) as f32;
        scale[i] = inverse[i] * p.gamma[i];
        shift[i] = (sums[i] / rows) as f32;
        slope[i] = (sums[c + i] * inverse_wide * inverse_wide / rows) as f32;
    }
    let block = row_block(g) * c;
    let (x, y, dy, dx) = (&x[..g.len()], &y[..g.len()], &dy[..g.len()], &mut dx[..g.len()]);
    let parts = x.chunks(block).zip(y.chunks(block)).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
    cpu.threads().each(parts, |(((x, y), dy), dx)| {
        centre_rows::<MASKED>(cpu, x, y, dy, mean, &scale, &shift, &slope, dx);
    });
}

/// dy where y > 0, else 0; or dy.
#[inline(always)]
fn mask<const MASKED: bool>(dy: f32, y: f32) -> f32 {
    if !MASKED || y > 0.0 { dy } else { 0.0 }
}

vectorised! {
    /// sums += [Σ_r dz | Σ_r dz · (x − mean)], dz = mask(dy, y); in f32 over a few rows at a time, then in f64.
    fn add_products<'a, const MASKED: bool>(
        x: &'a [f32], y: &'a [f32], dy: &'a [f32], mean: &'a [f32], sums: &'a mut [f64],
    ) {
        let c = mean.len();
        let mut short = vec![0.0f32; 2 * c];
        for ((x, y), dy) in x.chunks(SHORT * c).zip(y.chunks(SHORT * c)).zip(dy.chunks(SHORT * c)) {
            short.fill(0.0);
            let (plain, product) = short.split_at_mut(c);
            for ((x, y), dy) in x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                for i in 0..c {
                    let dz = mask::<MASKED>(dy[i], y[i]);
                    plain[i] += dz;
                    product[i] += dz * (x[i] - mean[i]);
                }
            }
            for (sum, &short) in sums.iter_mut().zip(&short) {
                *sum += f64::from(short);
            }
        }
    }
}

vectorised! {
    /// dx = scale · (dz − shift − (x − mean) · slope), dz = mask(dy, y)
    fn centre_rows<'a, const MASKED: bool>(
        x: &'a [f32], y: &'a [f32], dy: &'a [f32], mean: &'a [f32], scale: &'a [f32], shift: &'a [f32],
        slope: &'a [f32], dx: &'a mut [f32],
    ) {
        let c = mean.len();
        let (scale, shift, slope) = (&scale[..c], &shift[..c], &slope[..c]);
        let rows = x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)).zip(dx.chunks_exact_mut(c));
        for (((x, y), dy), dx) in rows {
            for i in 0..c {
                dx[i] = scale[i] * (mask::<MASKED>(dy[i], y[i]) - shift[i] - (x[i] - mean[i]) * slope[i]);
            }
        }
    }
}
