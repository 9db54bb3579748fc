//! Kernels that go over elements or rows: scaled sums, bias, sums over rows, ReLU, noise, statistics.

use gradamp_core::backend::Statistics;
use gradamp_core::geometry::{Dropout, Rows};
use gradamp_core::random::Stream;

use crate::channel_sums::{ROWS_IN_F32, add_rows};
use crate::device::Cpu;
use crate::simd::vectorised;
use crate::threads::Threads;

/// Elements of one task: 128 KiB. A task of this size takes long enough that handing it to a thread costs next to nothing.
pub(crate) const CHUNK: usize = 32 * 1024;

/// Elements of one task that adds noise. Computing a normal number takes much longer than reading memory, so that tasks are
/// smaller. The number is even because normal numbers are made in pairs.
const NOISY: usize = 1024;

/// y = alpha · x + beta · y
pub(crate) fn axpby(cpu: &Cpu, alpha: f32, x: &[f32], beta: f32, y: &mut [f32]) {
    cpu.threads().each(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| match (alpha, beta) {
        (1.0, 0.0) => y.copy_from_slice(x),
        (_, 0.0) => scale(cpu, alpha, x, y),
        _ => scale_and_add(cpu, alpha, x, beta, y),
    });
}

vectorised! {
    fn scale<'a>(alpha: f32, x: &'a [f32], y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = alpha * x;
        }
    }
}

vectorised! {
    /// y = alpha · x + beta · y
    pub(crate) fn scale_and_add<'a>(alpha: f32, x: &'a [f32], beta: f32, y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = alpha * x + beta * *y;
        }
    }
}

/// out = a · b
pub(crate) fn multiply(cpu: &Cpu, a: &[f32], b: &[f32], out: &mut [f32]) {
    let parts = a.chunks(CHUNK).zip(b.chunks(CHUNK)).zip(out.chunks_mut(CHUNK));
    cpu.threads().each(parts, |((a, b), out)| product(cpu, a, b, out));
}

vectorised! {
    fn product<'a>(a: &'a [f32], b: &'a [f32], out: &'a mut [f32]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = a * b;
        }
    }
}

/// y = max(x, 0), and NaN where x is NaN.
pub(crate) fn relu(cpu: &Cpu, x: &[f32], y: &mut [f32]) {
    cpu.threads().each(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| rectify(cpu, x, y));
}

vectorised! {
    fn rectify<'a>(x: &'a [f32], y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x <= 0.0 { 0.0 } else { x };
        }
    }
}

/// dx = dy where y > 0, else 0
pub(crate) fn relu_backward(cpu: &Cpu, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let parts = y.chunks(CHUNK).zip(dy.chunks(CHUNK)).zip(dx.chunks_mut(CHUNK));
    cpu.threads().each(parts, |((y, dy), dx)| mask(cpu, y, dy, dx));
}

vectorised! {
    /// dx = dy where y > 0, else 0
    pub(crate) fn mask<'a>(y: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = if y > 0.0 { dy } else { 0.0 };
        }
    }
}

/// y[r, c] += bias[c]
pub(crate) fn add_bias(threads: &Threads, g: &Rows, bias: &[f32], y: &mut [f32]) {
    threads.each(y.chunks_mut(row_block(g) * g.channels), |y| {
        for y in y.chunks_mut(g.channels) {
            for (y, &bias) in y.iter_mut().zip(bias) {
                *y += bias;
            }
        }
    });
}

/// out[c] = Σ_r x[r, c]
pub(crate) fn sum_rows(cpu: &Cpu, g: &Rows, x: &[f32], out: &mut [f32]) {
    let mut partials = block_sums(cpu.threads(), g, 1, std::iter::repeat(()), |rows, (), sums| {
        let x = &x[rows.start * g.channels..rows.end * g.channels];
        add_rows::<false>(cpu, x, sums);
    });
    for (out, sum) in out.iter_mut().zip(partials.drain(..)) {
        *out = sum as f32;
    }
}

/// out[c] = Σ_r x[r, c]²
pub(crate) fn sum_squares(cpu: &Cpu, g: &Rows, x: &[f32], out: &mut [f32]) {
    let sums = block_sums(cpu.threads(), g, 1, std::iter::repeat(()), |rows, (), sums| {
        let x = &x[rows.start * g.channels..rows.end * g.channels];
        add_rows::<true>(cpu, x, sums);
    });
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}

/// y[r, c] = factors[c] · x[r, c]
pub(crate) fn scale_channels(threads: &Threads, g: &Rows, factors: &[f32], x: &[f32], y: &mut [f32]) {
    let block = row_block(g) * g.channels;
    threads.each(x.chunks(block).zip(y.chunks_mut(block)), |(x, y)| {
        for (x, y) in x.chunks(g.channels).zip(y.chunks_mut(g.channels)) {
            for ((y, &x), &factor) in y.iter_mut().zip(x).zip(factors) {
                *y = factor * x;
            }
        }
    });
}

/// y[i] += deviation · n[i], where n are the normal numbers of `stream`.
pub(crate) fn add_noise(threads: &Threads, stream: Stream, deviation: f32, y: &mut [f32]) {
    threads.each(y.chunks_mut(NOISY).enumerate(), |(i, y)| {
        let mut normals = [0.0; NOISY];
        let normals = &mut normals[..y.len()];
        stream.normals((i * NOISY / 2) as u64, normals);
        for (y, &normal) in y.iter_mut().zip(normals.iter()) {
            *y += deviation * normal;
        }
    });
}

/// y = x · mask; see [`Dropout`]
pub(crate) fn dropout(cpu: &Cpu, g: &Dropout, stream: Stream, x: &[f32], y: &mut [f32]) {
    let parts = x.chunks(NOISY).zip(y.chunks_mut(NOISY)).enumerate();
    cpu.threads().each(parts, |(i, (x, y))| drop_groups(cpu, (*g, stream, i * NOISY), x, y));
}

vectorised! {
    /// The part of a dropout that begins at element `first`.
    fn drop_groups<'a>(part: (Dropout, Stream, usize), x: &'a [f32], y: &'a mut [f32]) {
        let (g, stream, first) = part;
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            *y = x * g.factor(stream, first + i);
        }
    }
}

/// Rows of one task of a kernel over rows. They depend on the geometry alone, and make at most 256 tasks.
pub(crate) fn row_block(g: &Rows) -> usize {
    (CHUNK / g.channels).max(ROWS_IN_F32).max(g.rows.div_ceil(256))
}

/// Sums over rows, `kinds` for each channel. `sum` adds the sums of a block of rows to `kinds · channels` accumulators; it also
/// gets the next one of `parts`. The accumulators of all blocks are then added in the order of the blocks.
pub(crate) fn block_sums<P: Send>(
    threads: &Threads,
    g: &Rows,
    kinds: usize,
    parts: impl Iterator<Item = P> + Send,
    sum: impl Fn(std::ops::Range<usize>, P, &mut [f64]) + Sync,
) -> Vec<f64> {
    let (block, width) = (row_block(g), kinds * g.channels);
    let mut partials = vec![0.0; g.rows.div_ceil(block) * width];
    threads.each(partials.chunks_mut(width).zip(parts).enumerate(), |(i, (sums, part))| {
        sum(i * block..g.rows.min((i + 1) * block), part, sums);
    });
    let (total, rest) = partials.split_at_mut(width);
    for partial in rest.chunks(width) {
        for (total, &partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    partials.truncate(width);
    partials
}

/// out = the sum of `parts`, each as long as `out`, added in the order of the parts.
pub(crate) fn add_parts(threads: &Threads, parts: &[f32], out: &mut [f32]) {
    const PIECE: usize = CHUNK / 4;
    let elements = out.len();
    threads.each(out.chunks_mut(PIECE).enumerate(), |(i, out)| {
        for (part, values) in parts.chunks_exact(elements).enumerate() {
            let values = &values[i * PIECE..][..out.len()];
            for (out, &value) in out.iter_mut().zip(values) {
                *out = if part == 0 { value } else { *out + value };
            }
        }
    });
}

/// Sum, norms, largest magnitude and zeros of `x`.
pub(crate) fn statistics(threads: &Threads, x: &[f32]) -> Statistics {
    #[derive(Clone, Copy, Default)]
    struct Part {
        sum: f64,
        sum_abs: f64,
        sum_squares: f64,
        max_abs: f32,
        zeros: u64,
    }
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a }; // NaN if one of them is NaN
    let mut parts = vec![Part::default(); x.len().div_ceil(CHUNK)];
    threads.each(parts.iter_mut().zip(x.chunks(CHUNK)), |(part, x)| {
        for x in x.chunks(ROWS_IN_F32 * LANES) {
            let mut lanes = [[0.0f32; LANES]; 4];
            let mut zeros = [0u32; LANES];
            for x in x.chunks(LANES) {
                for (lane, &x) in x.iter().enumerate() {
                    lanes[0][lane] += x;
                    lanes[1][lane] += x.abs();
                    lanes[2][lane] += x * x;
                    lanes[3][lane] = larger(lanes[3][lane], x.abs());
                    zeros[lane] += u32::from(x == 0.0);
                }
            }
            let wide = |lanes: &[f32]| lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
            part.sum += wide(&lanes[0]);
            part.sum_abs += wide(&lanes[1]);
            part.sum_squares += wide(&lanes[2]);
            part.max_abs = lanes[3].iter().fold(part.max_abs, |a, &b| larger(a, b));
            part.zeros += zeros.iter().map(|&z| u64::from(z)).sum::<u64>();
        }
    });
    let total = parts.into_iter().fold(Part::default(), |a, b| Part {
        sum: a.sum + b.sum,
        sum_abs: a.sum_abs + b.sum_abs,
        sum_squares: a.sum_squares + b.sum_squares,
        max_abs: larger(a.max_abs, b.max_abs),
        zeros: a.zeros + b.zeros,
    });
    Statistics {
        sum: total.sum as f32,
        sum_abs: total.sum_abs as f32,
        sum_squares: total.sum_squares as f32,
        max_abs: total.max_abs,
        zeros: total.zeros as f32,
    }
}
