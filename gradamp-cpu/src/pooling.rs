//! Max-pool over windows, and mean-pool over all pixels of an image. Each image is one task.

use gradamp_core::geometry::{MeanPool, Pool2d};

use crate::batch_norm::BlockSums;
use crate::channel_sums::add_rows;
use crate::device::Cpu;
use crate::simd::vectorised;
use crate::threads::Threads;

/// Calls `f(y_range, tap, x_range)` for every pixel of every window of an image. The ranges hold all channels: `y_range` those of
/// the window in y, `x_range` those of the pixel in x.
fn for_each_tap(g: &Pool2d, mut f: impl FnMut(std::ops::Range<usize>, usize, std::ops::Range<usize>)) {
    for i in 0..g.h_out {
        for j in 0..g.w_out {
            let to = (i * g.w_out + j) * g.c;
            for tap in 0..g.size * g.size {
                let (row, column) = (i * g.stride + tap / g.size, j * g.stride + tap % g.size);
                let from = (row * g.w_in + column) * g.c;
                f(to..to + g.c, tap, from..from + g.c);
            }
        }
    }
}

/// y = the largest element of each window, and index = its tap, the first one if several are equal. A NaN is larger than any
/// number.
pub(super) fn max_pool2d(cpu: &Cpu, g: &Pool2d, x: &[f32], y: &mut [f32], index: &mut [f32]) {
    let (x_image, y_image) = (g.h_in * g.w_in * g.c, g.h_out * g.w_out * g.c);
    let images = x.chunks(x_image).zip(y.chunks_mut(y_image)).zip(index.chunks_mut(y_image)).take(g.n);
    cpu.threads().each(images, |((x, y), index)| {
        for_each_tap(g, |to, tap, from| {
            let (x, y, index) = (&x[from], &mut y[to.clone()], &mut index[to]);
            if tap == 0 {
                y.copy_from_slice(x);
                index.fill(0.0);
                return;
            }
            keep_larger(cpu, tap as f32, x, y, index);
        });
    });
}

vectorised! {
    fn keep_larger<'a>(tap: f32, x: &'a [f32], y: &'a mut [f32], index: &'a mut [f32]) {
        for ((y, index), &x) in y.iter_mut().zip(index).zip(x) {
            let larger = x > *y || (x.is_nan() && !y.is_nan());
            *y = if larger { x } else { *y };
            *index = if larger { tap } else { *index };
        }
    }
}

/// dx = dy at the taps in `index` (summed where windows overlap), and 0 elsewhere. If there are `sums`, computes those of dx as
/// well; their blocks are images.
pub(super) fn max_pool2d_backward(
    cpu: &Cpu,
    g: &Pool2d,
    index: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    sums: Option<&mut BlockSums<'_>>,
) {
    let (x_image, y_image) = (g.h_in * g.w_in * g.c, g.h_out * g.w_out * g.c);
    let images = index.chunks(y_image).zip(dy.chunks(y_image)).zip(dx.chunks_mut(x_image)).take(g.n);
    let rows = g.x_rows();
    let outputs = BlockSums::for_tasks(sums, &rows, g.h_in * g.w_in);
    cpu.threads().each(images.zip(outputs), |(((index, dy), dx), sums)| {
        dx.fill(0.0);
        for_each_tap(g, |from, tap, to| {
            let (index, dy) = (&index[from.clone()], &dy[from]);
            add_where(cpu, tap as f32, index, dy, &mut dx[to]);
        });
        if let Some(sums) = sums {
            sums.compute(cpu, dx);
        }
    });
}

vectorised! {
    fn add_where<'a>(tap: f32, index: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, &index), &dy) in dx.iter_mut().zip(index).zip(dy) {
            *dx += if index == tap { dy } else { 0.0 };
        }
    }
}

/// y[n, c] = 1/pixels · Σ_p x[n, p, c]
pub(super) fn mean_pool(cpu: &Cpu, g: &MeanPool, x: &[f32], y: &mut [f32]) {
    let images = x.chunks(g.pixels * g.c).zip(y.chunks_mut(g.c)).take(g.n);
    cpu.threads().each(images, |(x, y)| {
        let mut sums = vec![0.0; g.c];
        add_rows::<false>(cpu, x, &mut sums);
        for (y, sum) in y.iter_mut().zip(sums) {
            *y = (sum / g.pixels as f64) as f32;
        }
    });
}

/// dx[n, p, c] = dy[n, c] / pixels
pub(super) fn mean_pool_backward(threads: &Threads, g: &MeanPool, dy: &[f32], dx: &mut [f32]) {
    let images = dy.chunks(g.c).zip(dx.chunks_mut(g.pixels * g.c)).take(g.n);
    threads.each(images, |(dy, dx)| {
        for dx in dx.chunks_exact_mut(g.c) {
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx = dy / g.pixels as f32;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{assert_close, random};

    #[test]
    fn the_largest_of_each_window_gets_the_gradient() {
        let cpu = Cpu::with_threads(2).unwrap();
        for (n, h, w, c, size, stride) in
            [(1, 2, 2, 1, 2, 2), (3, 7, 5, 3, 3, 2), (2, 9, 8, 17, 2, 2), (1, 5, 5, 2, 3, 1)]
        {
            let g = Pool2d::new(&[n, h, w, c], size, stride).unwrap();
            // Few distinct values, so that windows hold equal elements. No negative zero, since `total_cmp` orders it before 0.
            let x: Vec<f32> = random(1, n * h * w * c).iter().map(|x| (x * 4.0).round() + 0.0).collect();
            let dy = random(2, n * g.h_out * g.w_out * c);
            let (mut y, mut index) = (vec![f32::NAN; dy.len()], vec![f32::NAN; dy.len()]);
            let mut dx = vec![f32::NAN; x.len()];
            max_pool2d(&cpu, &g, &x, &mut y, &mut index);
            max_pool2d_backward(&cpu, &g, &index, &dy, &mut dx, None);
            let mut expected_dx = vec![0.0f64; x.len()];
            for o in 0..dy.len() {
                let (image, i, j, channel) =
                    (o / c / g.w_out / g.h_out, o / c / g.w_out % g.h_out, o / c % g.w_out, o % c);
                let at = |tap: usize| {
                    let (row, column) = (i * stride + tap / size, j * stride + tap % size);
                    ((image * h + row) * w + column) * c + channel
                };
                let first = (0..size * size).rev().max_by(|&a, &b| x[at(a)].total_cmp(&x[at(b)])).unwrap();
                assert_eq!((y[o], index[o]), (x[at(first)], first as f32));
                expected_dx[at(first)] += f64::from(dy[o]);
            }
            assert_close(&dx, &expected_dx, 1e-6);
        }
    }

    #[test]
    fn a_nan_is_the_largest() {
        let g = Pool2d::new(&[1, 2, 2, 1], 2, 2).unwrap();
        let (mut y, mut index) = ([0.0], [0.0]);
        max_pool2d(&Cpu::with_threads(1).unwrap(), &g, &[1.0, f32::NAN, 5.0, f32::NAN], &mut y, &mut index);
        assert!(y[0].is_nan() && index[0] == 1.0);
    }

    #[test]
    fn the_mean_and_its_gradient() {
        let cpu = Cpu::with_threads(2).unwrap();
        for (n, h, w, c) in [(1, 1, 1, 1), (3, 5, 7, 13), (2, 32, 32, 3)] {
            let g = MeanPool::new(&[n, h, w, c]).unwrap();
            let (x, dy) = (random(1, n * h * w * c), random(2, n * c));
            let (mut y, mut dx) = (vec![f32::NAN; n * c], vec![f32::NAN; x.len()]);
            mean_pool(&cpu, &g, &x, &mut y);
            mean_pool_backward(cpu.threads(), &g, &dy, &mut dx);
            let value = |i: usize, p: usize| f64::from(x[(i / c * h * w + p) * c + i % c]);
            let mean = |i| (0..h * w).map(|p| value(i, p)).sum::<f64>() / (h * w) as f64;
            assert_close(&y, &(0..n * c).map(mean).collect::<Vec<_>>(), 1e-6);
            let share = |i: usize| f64::from(dy[i / (h * w * c) * c + i % c]) / (h * w) as f64;
            assert_close(&dx, &(0..x.len()).map(share).collect::<Vec<_>>(), 1e-6);
        }
    }
}
