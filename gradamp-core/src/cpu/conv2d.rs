//! The three passes of a convolution as matrix products over windows that are gathered block by block.

use crate::Result;
use crate::geometry::Conv2d;

use super::Cpu;
use super::elementwise::CHUNK;
use super::gemm::{Dense, Kernel, Panels, Right, ScratchSize, Stored, Tiles, block_rows, multiply};
use super::windows::Windows;

/// y = conv2d(x, w) + bias: windows · w.
pub(super) fn conv2d(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Result<()> {
    let kernel = cpu.kernel(g.c_out);
    let mut packed = cpu.take(Panels::elements(kernel, g.patch(), g.c_out))?;
    let w = Dense::new(&w[..g.patch() * g.c_out], g.c_out).pack_all(cpu.threads(), kernel, &mut packed);
    let y = &mut y[..g.n * g.pixels() * g.c_out];
    multiply_windows(cpu, kernel, &Windows::of(g, x), w, bias.map(|bias| &bias[..g.c_out]), y)
}

/// y = windows · b + bias for all windows, one block of rows a task.
fn multiply_windows(
    cpu: &Cpu,
    kernel: Kernel,
    windows: &Windows<'_>,
    b: Panels<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Result<()> {
    let rows = y.len() / b.columns;
    let block = block_rows(kernel, rows);
    let size = ScratchSize::new(kernel, Stored::Plain, block, b.columns, false);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let blocks = y.chunks_mut(block * b.columns).enumerate();
    cpu.threads().each_with(blocks, size.cut(&mut memory), |(i, y), scratch| {
        let rows = i * block..rows.min((i + 1) * block);
        let a = (Stored::Plain, windows);
        let tiles = multiply(kernel, a, Right::Packed(b), rows, 0..windows.patch(), scratch);
        for (row, y) in y.chunks_exact_mut(b.columns).enumerate() {
            store(&tiles, row, bias, y);
        }
    });
    Ok(())
}

/// to = a row of C + bias
fn store(tiles: &Tiles<'_>, row: usize, bias: Option<&[f32]>, to: &mut [f32]) {
    tiles.row(row, |from, values| {
        let to = &mut to[from..from + values.len()];
        match bias {
            None => to.copy_from_slice(values),
            Some(bias) => {
                for ((to, value), bias) in to.iter_mut().zip(values).zip(&bias[from..]) {
                    *to = value + bias;
                }
            }
        }
    });
}

/// Along one axis, the input pixels first, first + stride, ..: which taps of the kernel reach them, and from where.
///
/// Pixel first + stride · u gets dy at (first + stride · u + padding − tap) / stride for the taps that leave no
/// remainder. In descending order of taps those are neighbouring pixels of dy, beginning at u + start.
#[derive(Clone, Copy)]
struct Reach {
    first: usize,
    pixels: usize,
    taps: usize,
    lowest: usize,
    start: isize,
}

impl Reach {
    fn new(g: &Conv2d, first: usize, size_in: usize, kernel: usize) -> Self {
        let lowest = (first + g.padding) % g.stride;
        let taps = kernel.saturating_sub(lowest).div_ceil(g.stride);
        let start = ((first + g.padding) / g.stride) as isize - taps as isize + 1;
        Self { first, pixels: size_in.saturating_sub(first).div_ceil(g.stride), taps, lowest, start }
    }

    /// The kernel's place of the i-th tap in descending order.
    fn place(&self, g: &Conv2d, i: usize) -> usize {
        self.lowest + (self.taps - 1 - i) * g.stride
    }
}

/// dx of a convolution: for each remainder of the pixels modulo the stride, windows of dy times the taps that reach
/// those pixels, each tap's matrix transposed. At stride 1 that is one convolution with the kernel turned around.
pub(super) fn conv2d_backward_input(
    cpu: &Cpu,
    g: &Conv2d,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) -> Result<()> {
    let kernel = cpu.kernel(g.c_in);
    let image = g.h_in * g.w_in * g.c_in;
    let dx = &mut dx[..g.n * image];
    let mut packed = cpu.take(Panels::elements(kernel, g.kh * g.kw * g.c_out, g.c_in))?;
    let mut rest = &mut packed[..];
    let mut products = Vec::new();
    for (a, b) in (0..g.stride).flat_map(|a| (0..g.stride).map(move |b| (a, b))) {
        let (rows, columns) = (Reach::new(g, a, g.h_in, g.kh), Reach::new(g, b, g.w_in, g.kw));
        let depth = rows.taps * columns.taps * g.c_out;
        let (part, others) = rest.split_at_mut(Panels::elements(kernel, depth, g.c_in));
        rest = others;
        pack_taps(cpu, kernel, g, (rows, columns), w, part);
        let windows = Windows {
            x: dy,
            h: g.h_out,
            w: g.w_out,
            c: g.c_out,
            taps_h: rows.taps,
            taps_w: columns.taps,
            step: 1,
            top: rows.start,
            left: columns.start,
            h_out: rows.pixels,
            w_out: columns.pixels,
        };
        products.push((rows, columns, windows, Panels::new(kernel, depth, g.c_in, part)));
    }
    if let [(_, _, windows, w)] = &products[..] {
        return multiply_windows(cpu, kernel, windows, *w, None, dx);
    }
    // One task is as many images as fill a block.
    let pixels = products.iter().map(|(rows, columns, ..)| rows.pixels * columns.pixels).max().unwrap_or(1);
    let block = block_rows(kernel, g.n * pixels);
    let images = block.div_ceil(pixels.max(1));
    let size = ScratchSize::new(kernel, Stored::Plain, block, g.c_in, false);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let tasks = dx.chunks_mut(images * image).enumerate();
    cpu.threads().each_with(tasks, size.cut(&mut memory), |(task, dx), scratch| {
        for (rows, columns, windows, w) in &products {
            let pixels = rows.pixels * columns.pixels;
            let place = |pixel: usize| {
                let (n, u, v) = (pixel / pixels, pixel % pixels / columns.pixels, pixel % columns.pixels);
                let (i, j) = (rows.first + u * g.stride, columns.first + v * g.stride);
                n * image + (i * g.w_in + j) * g.c_in
            };
            let (first, count) = (task * images * pixels, dx.len() / image * pixels);
            for start in (0..count).step_by(block) {
                let end = count.min(start + block);
                if windows.patch() == 0 {
                    (start..end).map(place).for_each(|at| dx[at..at + g.c_in].fill(0.0));
                    continue;
                }
                let a = (Stored::Plain, windows);
                let depth = 0..windows.patch();
                let tiles =
                    multiply(kernel, a, Right::Packed(*w), first + start..first + end, depth, scratch);
                for row in 0..end - start {
                    let at = place(start + row);
                    store(&tiles, row, None, &mut dx[at..at + g.c_in]);
                }
            }
        }
    });
    Ok(())
}

/// Packs the taps in descending order, each `[c_in, c_out]` transposed: `[taps · c_out, c_in]` in panels.
fn pack_taps(
    cpu: &Cpu,
    kernel: Kernel,
    g: &Conv2d,
    (rows, columns): (Reach, Reach),
    w: &[f32],
    to: &mut [f32],
) {
    let taps = rows.taps * columns.taps;
    cpu.threads().each(to.chunks_mut(g.c_out * kernel.columns).enumerate(), |(i, to)| {
        let (panel, tap) = (i / taps, i % taps);
        let place = rows.place(g, tap / columns.taps) * g.kw + columns.place(g, tap % columns.taps);
        let w = &w[place * g.c_in * g.c_out..(place + 1) * g.c_in * g.c_out];
        Dense::new(w, g.c_out).pack_transposed(panel, kernel.columns, to);
    });
}

/// dw of a convolution: windowsᵀ · dy. The sum over pixels is cut into chunks, so that there is work for many threads
/// also where dw is small; the chunks' sums are added in their order.
pub(super) fn conv2d_backward_weight(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    /// Elements of a block of dw: a quarter of a second-level cache of 1 MiB.
    const BLOCK: usize = 64 * 1024;
    /// Tasks that keep many threads busy.
    const TASKS: usize = 32;
    /// Pixels that are worth a sum of their own.
    const PIXELS: usize = 1024;

    let kernel = cpu.kernel(g.c_out);
    let (pixels, patch, elements) = (g.n * g.pixels(), g.patch(), g.patch() * g.c_out);
    let most = (BLOCK / g.c_out.next_multiple_of(kernel.columns)).max(8 * kernel.rows);
    let blocks = patch.div_ceil(most);
    let rows = patch.div_ceil(blocks).next_multiple_of(kernel.rows);
    let chunks = TASKS.div_ceil(blocks).min(pixels.div_ceil(PIXELS));
    let chunk = pixels.div_ceil(chunks);
    let chunks = pixels.div_ceil(chunk);

    // Where many blocks read dy, it is packed once for all; elsewhere piece by piece, in less memory.
    let dense = Dense::new(&dy[..pixels * g.c_out], g.c_out);
    let packs_once = blocks >= 4;
    let mut packed = cpu.take(if packs_once { Panels::elements(kernel, pixels, g.c_out) } else { 0 })?;
    let dy = match packs_once {
        true => Right::Packed(dense.pack_all(cpu.threads(), kernel, &mut packed)),
        false => Right::Plain(dense),
    };
    let size = ScratchSize::new(kernel, Stored::Transposed, rows, g.c_out, !packs_once);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let windows = Windows::of(g, x);
    let dw = &mut dw[..elements];
    let mut product = |dw: &mut [f32]| {
        let parts = dw.chunks_mut(elements).enumerate();
        let tasks = parts.flat_map(|(chunk, dw)| {
            dw.chunks_mut(rows * g.c_out).enumerate().map(move |(block, dw)| (chunk, block, dw))
        });
        cpu.threads().each_with(tasks, size.cut(&mut memory), |(part, block, dw), scratch| {
            let rows = block * rows..patch.min((block + 1) * rows);
            let depth = part * chunk..pixels.min((part + 1) * chunk);
            let tiles = multiply(kernel, (Stored::Transposed, &windows), dy, rows, depth, scratch);
            for (row, dw) in dw.chunks_exact_mut(g.c_out).enumerate() {
                store(&tiles, row, None, dw);
            }
        });
    };
    if chunks == 1 {
        product(dw);
        return Ok(());
    }
    let mut parts = cpu.take(chunks * elements)?;
    product(&mut parts);
    cpu.threads().each(dw.chunks_mut(CHUNK / 4).enumerate(), |(i, dw)| {
        for (part, values) in parts.chunks_exact(elements).enumerate() {
            let values = &values[i * (CHUNK / 4)..][..dw.len()];
            for (dw, &value) in dw.iter_mut().zip(values) {
                *dw = if part == 0 { value } else { *dw + value };
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::cpu::tests::{assert_close, blank, buffer, each_isa, random, same_bits};

    /// n, h, w, c_in, kh, kw, c_out, stride, padding
    const SHAPES: [[usize; 9]; 14] = [
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
        [1, 4, 9, 1, 4, 9, 2, 1, 0],
        [2, 1, 1, 3, 3, 3, 5, 2, 1],
        [40, 12, 12, 3, 3, 3, 20, 1, 1],
    ];

    fn geometry([n, h, w, c_in, kh, kw, c_out, stride, padding]: [usize; 9]) -> Conv2d {
        Conv2d::new(&[n, h, w, c_in], &[kh, kw, c_in, c_out], stride, padding).unwrap()
    }

    /// Calls `f` with every product of the convolution: the places of its factors in x and w, and of its sum in y.
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
    fn im2col_and_col2im_go_over_windows() {
        for case in SHAPES.map(Case::new) {
            let g = case.g;
            let cpu = Cpu::with_threads(2).unwrap();
            // With the unit weight of one window element, the products name its places.
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
}
