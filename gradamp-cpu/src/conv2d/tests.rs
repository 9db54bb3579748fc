//! The three passes of a convolution, im2col and col2im against plain loops over all products.

use super::*;
use crate::tests::{assert_close, blank, buffer, each_isa, random, same_bits};
use gradamp_core::backend::{Layers, LinearAlgebra};

/// n, h, w, c_in, kh, kw, c_out, stride, padding
const SHAPES: [[usize; 9]; 15] = [
    [1, 1, 1, 1, 1, 1, 1, 1, 0],
    [2, 8, 8, 3, 3, 3, 16, 1, 1],
    [3, 7, 5, 5, 3, 3, 7, 1, 1],
    [2, 9, 8, 4, 3, 3, 33, 2, 1],
    [5, 4, 4, 70, 3, 3, 40, 1, 1],
    [3, 8, 8, 16, 1, 1, 32, 2, 0],
    [2, 5, 5, 9, 1, 1, 11, 1, 0],
    [9, 2, 2, 40, 3, 3, 65, 1, 1],
    [2, 11, 6, 3, 5, 3, 4, 3, 2],
    [2, 6, 6, 2, 3, 3, 3, 1, 3],
    [1, 7, 7, 2, 2, 2, 3, 3, 0],
    [1, 3, 3, 2, 2, 2, 3, 1, 3],
    [1, 4, 9, 1, 4, 9, 2, 1, 0],
    [2, 1, 1, 3, 3, 3, 5, 2, 1],
    [40, 12, 12, 3, 3, 3, 20, 1, 1],
];

fn geometry([n, h, w, c_in, kh, kw, c_out, stride, padding]: [usize; 9]) -> Conv2d {
    Conv2d::new(&[n, h, w, c_in], &[kh, kw, c_in, c_out], stride, padding).unwrap()
}

/// Calls `f(ix, iw, iy)` for every product of the convolution: y[iy] is the sum of x[ix] · w[iw].
fn each_product(g: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    for pixel in 0..g.n * g.pixels() {
        let (n, i, j) = (pixel / g.pixels(), pixel / g.w_out % g.h_out, pixel % g.w_out);
        for tap in 0..g.kh * g.kw {
            let row = (i * g.stride + tap / g.kw).wrapping_sub(g.padding);
            let column = (j * g.stride + tap % g.kw).wrapping_sub(g.padding);
            if row >= g.h_in || column >= g.w_in {
                continue;
            }
            for c in 0..g.c_in {
                let x = ((n * g.h_in + row) * g.w_in + column) * g.c_in + c;
                for o in 0..g.c_out {
                    f(x, (tap * g.c_in + c) * g.c_out + o, pixel * g.c_out + o);
                }
            }
        }
    }
}

struct Case {
    g: Conv2d,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(shape: [usize; 9]) -> Self {
        let g = geometry(shape);
        let random = |seed, shape: [usize; 4]| random(seed, shape.iter().product());
        let (x, w, dy) = (random(1, g.x_shape()), random(2, g.w_shape()), random(3, g.y_shape()));
        Self { g, x, w, bias: random(4, [g.c_out, 1, 1, 1]), dy }
    }

    /// y, y with bias, dx, dw
    fn run(&self, cpu: &Cpu) -> [Vec<f32>; 4] {
        let [x, w, bias, dy] = [&self.x, &self.w, &self.bias, &self.dy].map(|v| buffer(cpu, v));
        let [mut y, mut y_bias] = [(); 2].map(|()| blank(cpu, dy.len()));
        let (mut dx, mut dw) = (blank(cpu, x.len()), blank(cpu, w.len()));
        cpu.conv2d(&self.g, &x, &w, None, &mut y).unwrap();
        cpu.conv2d(&self.g, &x, &w, Some(&bias), &mut y_bias).unwrap();
        cpu.conv2d_backward_input(&self.g, &w, &dy, &mut dx).unwrap();
        cpu.conv2d_backward_weight(&self.g, &x, &dy, &mut dw).unwrap();
        [y, y_bias, dx, dw].map(|v| v.to_vec())
    }
}

#[test]
fn the_three_passes_are_sums_over_windows() {
    for case in SHAPES.map(Case::new) {
        let wide = |v: &[f32], i: usize| f64::from(v[i]);
        let (mut y, mut dx) = (vec![0.0; case.dy.len()], vec![0.0; case.x.len()]);
        let mut dw = vec![0.0; case.w.len()];
        each_product(&case.g, |ix, iw, iy| {
            y[iy] += wide(&case.x, ix) * wide(&case.w, iw);
            dx[ix] += wide(&case.w, iw) * wide(&case.dy, iy);
            dw[iw] += wide(&case.x, ix) * wide(&case.dy, iy);
        });
        let y_bias: Vec<f64> =
            y.iter().enumerate().map(|(i, y)| y + wide(&case.bias, i % case.g.c_out)).collect();
        each_isa(|cpu| {
            let found = case.run(&cpu);
            for (found, expected) in found.iter().zip([&y, &y_bias, &dx, &dw]) {
                assert_close(found, expected, 2e-6);
            }
        });
    }
}

#[test]
fn threads_change_no_bit() {
    for shape in [[40, 12, 12, 3, 3, 3, 20, 1, 1], [20, 9, 9, 17, 3, 3, 33, 2, 1]] {
        let case = Case::new(shape);
        same_bits(|cpu| case.run(&cpu).concat());
    }
}

#[test]
fn im2col_gathers_windows_and_col2im_adds_them_up() {
    for case in SHAPES.map(Case::new) {
        let g = case.g;
        let cpu = Cpu::with_threads(2).unwrap();
        // With one output channel, each product stands for one element of one window: its position in x, in the window, and the
        // window's number.
        let unit = Conv2d { c_out: 1, ..g };
        let images = g.n / 2..g.n;
        let rows = images.start * g.pixels()..images.end * g.pixels();
        let mut expected = vec![0.0; rows.len() * g.patch()];
        let mut expected_dx = vec![0.0; case.x.len()];
        let columns = random(5, expected.len());
        each_product(&unit, |x, w, y| {
            if rows.contains(&y) {
                let place = (y - rows.start) * g.patch() + w;
                expected[place] = f64::from(case.x[x]);
                expected_dx[x] += f64::from(columns[place]);
            }
        });
        let mut found = blank(&cpu, expected.len());
        cpu.im2col(&g, images.clone(), &buffer(&cpu, &case.x), &mut found).unwrap();
        assert_close(&found, &expected, 0.0);
        let mut dx = buffer(&cpu, &vec![0.0; case.x.len()]);
        cpu.col2im(&g, images, &buffer(&cpu, &columns), &mut dx).unwrap();
        assert_close(&dx, &expected_dx, 1e-6);
    }
}
