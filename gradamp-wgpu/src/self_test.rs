//! The self-test of a device: small convolutions whose results are compared with the host's, before the device is used.

use gradamp_core::Result;
use gradamp_core::backend::Memory;
use gradamp_core::geometry::Conv2d;
use gradamp_core::random::{Purpose, Stream};

use crate::algorithm::{ConvOp, Matrices, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d;
use crate::ops::conv2d::implicit_gemm::Product;
use gradamp_core::backend::Precision;

/// The limit of the error, relative to the largest result, if factors are rounded to f16.
const HALF_LIMIT: f64 = 5e-3;

/// An operation of a convolution whose result is wrong.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) op: ConvOp,
    /// The largest error, relative to the largest value.
    pub(crate) error: f64,
    /// The limit of that error.
    pub(crate) limit: f64,
}

/// Computes the three operations of a convolution and compares them with the host's results. Their kernels use most of the features
/// that any kernel uses. The inner result is an error if a result is wrong.
pub(crate) fn arithmetic(gpu: &Wgpu) -> Result<Result<(), Wrong>> {
    Test::new(gpu, 2, 4, 16)?.run()
}

impl Test<'_> {
    fn run(&self) -> Result<Result<(), Wrong>> {
        let limit = match self.gpu.precision() {
            Precision::F32 => 1e-4,
            Precision::Mixed => HALF_LIMIT,
        };
        for op in ConvOp::ALL {
            let error = difference(&self.on_device(op, None)?, &self.on_host(op));
            if error.is_nan() || error >= limit {
                return Ok(Err(Wrong { op, error, limit }));
            }
        }
        Ok(Ok(()))
    }
}

/// Whether cooperative matrices give the same results as the host, to the precision of f16.
pub(crate) fn cooperative(gpu: &Wgpu, matrices: Matrices) -> bool {
    let is_right = || -> Result<bool> {
        // There are as many channels as a tile has rows or columns, so that tiles divide the product evenly.
        let Some(tile) = matrices.tiles().last() else { return Ok(false) };
        let [rows, columns] = tile.size(ConvOp::WeightGradient);
        let test = Test::new(gpu, 2, 8, rows.max(columns))?;
        for op in ConvOp::ALL {
            let Some(tile) = conv2d::cooperative_tile(op, &test.g, matrices) else { return Ok(false) };
            let error = difference(&test.on_device(op, Some(tile))?, &test.on_host(op));
            if error.is_nan() || error >= HALF_LIMIT {
                return Ok(false);
            }
        }
        Ok(true)
    };
    is_right().unwrap_or(false)
}

/// A 3x3 convolution of random numbers, on the host and on the device.
struct Test<'a> {
    gpu: &'a Wgpu,
    g: Conv2d,
    values: [Vec<f32>; 3],
    x: Buffer,
    w: Buffer,
    dy: Buffer,
}

impl<'a> Test<'a> {
    fn new(gpu: &'a Wgpu, images: usize, side: usize, channels: usize) -> Result<Self> {
        let g = Conv2d::new(&[images, side, side, channels], &[3, 3, channels, channels], 1, 1)?;
        let sizes =
            [images * side * side * channels, 9 * channels * channels, images * side * side * channels];
        let stream = Stream::new(0, Purpose::Test);
        let mut numbers = (0u64..).map(|i| stream.uniform(i) - 0.5);
        let values = sizes.map(|size| numbers.by_ref().take(size).collect::<Vec<f32>>());
        let upload = |values: &Vec<f32>| -> Result<Buffer> {
            let buffer = gpu.new_buffer(values.len())?;
            gpu.upload(bytemuck::cast_slice(values), &buffer)?;
            Ok(buffer)
        };
        let [x, w, dy] = &values;
        Ok(Self { gpu, g, x: upload(x)?, w: upload(w)?, dy: upload(dy)?, values })
    }

    /// The result of the device, by an implicit product with `tile`, or by the default algorithm if `tile` is `None`.
    fn on_device(&self, op: ConvOp, tile: Option<Tile>) -> Result<Vec<f32>> {
        let Self { gpu, g, x, w, dy, .. } = self;
        let len = if op == ConvOp::WeightGradient { g.patch() * g.c_out } else { g.n * g.pixels() * g.c_out };
        let out = gpu.new_buffer(len)?;
        match (op, tile) {
            (ConvOp::Forward, None) => gpu.conv2d_kernel(g, x, w, None, &out)?,
            (ConvOp::InputGradient, None) => gpu.conv2d_backward_input_kernel(g, w, dy, &out)?,
            (ConvOp::WeightGradient, None) => gpu.conv2d_backward_weight_kernel(g, x, dy, &out)?,
            (ConvOp::Forward, Some(tile)) => gpu.product(Product::new(g, op, tile), &[x, w, &out])?,
            (ConvOp::InputGradient, Some(tile)) => gpu.product(Product::new(g, op, tile), &[dy, w, &out])?,
            (ConvOp::WeightGradient, Some(tile)) => gpu.product(Product::new(g, op, tile), &[x, dy, &out])?,
        }
        let mut values = vec![0.0; len];
        gpu.read(&out, &mut values)?;
        Ok(values)
    }

    /// The result of the host, in f64 by the formula.
    fn on_host(&self, op: ConvOp) -> Vec<f64> {
        let Self { g, values: [x, w, dy], .. } = self;
        let c = g.c_in;
        let mut out = vec![0.0; if op == ConvOp::WeightGradient { w.len() } else { x.len() }];
        for image in 0..g.n {
            for (i, j) in (0..g.h_out).flat_map(|i| (0..g.w_out).map(move |j| (i, j))) {
                for (p, q) in (0..3).flat_map(|p| (0..3).map(move |q| (p, q))) {
                    let (Some(row), Some(column)) = ((i + p).checked_sub(1), (j + q).checked_sub(1)) else {
                        continue;
                    };
                    if row >= g.h_in || column >= g.w_in {
                        continue;
                    }
                    let x_at = ((image * g.h_in + row) * g.w_in + column) * c;
                    let y_at = ((image * g.h_out + i) * g.w_out + j) * c;
                    for (from, to) in (0..c).flat_map(|from| (0..c).map(move |to| (from, to))) {
                        let w_at = ((p * 3 + q) * c + from) * c + to;
                        let (place, a, b) = match op {
                            ConvOp::Forward => (y_at + to, x[x_at + from], w[w_at]),
                            ConvOp::InputGradient => (x_at + from, dy[y_at + to], w[w_at]),
                            ConvOp::WeightGradient => (w_at, x[x_at + from], dy[y_at + to]),
                        };
                        out[place] += f64::from(a) * f64::from(b);
                    }
                }
            }
        }
        out
    }
}

/// The largest difference, relative to the largest expected value.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let differences =
        found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs());
    // A plain maximum would drop a NaN.
    differences.fold(0.0, |worst: f64, next| if worst.is_nan() || next <= worst { worst } else { next })
        / largest
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::device::adapter::{Adapter, FastPaths, Limits};
    use crate::open::Options;
    use crate::testing;

    #[test]
    fn results_that_differ_from_the_hosts_are_wrong() {
        for gpu in testing::gpus() {
            let mut test = Test::new(&gpu, 2, 4, 16).unwrap();
            test.run().unwrap().unwrap();
            for operand in 0..3 {
                let value = test.values[operand][7];
                test.values[operand][7] += 0.01; // the host's number now differs from the device's
                let Wrong { error, limit, .. } = test.run().unwrap().unwrap_err();
                assert!(error > limit, "{error}");
                test.values[operand][7] = value;
            }
        }
    }

    #[test]
    fn a_device_is_tested_before_it_is_used_unless_it_is_trusted() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let tested = [false, true].map(|trusted| {
            let gpu = Wgpu::open(&adapter, &Options { trusted, ..Options::default() }).unwrap();
            gpu.counters().submissions > 0
        });
        assert_eq!(tested, [true, false]);
    }

    /// Opens an adapter that claims to have cooperative matrices although it has none.
    #[test]
    fn cooperative_matrices_that_fail_their_test_are_not_used() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        if !adapter.fast_paths.f16 || adapter.fast_paths.cooperative.is_some() {
            return;
        }
        for side in [8, 16] {
            let fast_paths = FastPaths { cooperative: Some(side), ..adapter.fast_paths };
            let limits = Limits { subgroup: [32, 32], ..adapter.limits };
            let claiming = Adapter { fast_paths, limits, ..adapter.clone() };
            assert_eq!(Matrices::supported(&claiming), Some(Matrices { side: side as usize, lanes: 32 }));
            let options =
                Options { precision: Precision::Mixed, tiled: true, checked: true, ..Options::default() };
            let gpu = Wgpu::open(&claiming, &options).unwrap();
            assert_eq!((gpu.precision(), gpu.cooperative()), (Precision::Mixed, None));
            Test::new(&gpu, 2, 8, 64).unwrap().run().unwrap().unwrap();
        }
    }

    /// Mesa's software rasteriser has cooperative matrices from version 25 on; its subgroups have 8 invocations then.
    #[test]
    fn cooperative_matrices_round_factors_and_nothing_else() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let Some(matrices) = Matrices::supported(&adapter) else {
            let _ = writeln!(std::io::stderr(), "skipped: {adapter} has no cooperative matrices");
            return;
        };
        let options =
            Options { precision: Precision::Mixed, tiled: true, checked: true, ..Options::default() };
        let gpu = Wgpu::open(&adapter, &options).unwrap();
        assert_eq!(gpu.matrices(), Some(matrices), "they fail the self-test");
        let test = Test::new(&gpu, 2, 8, 128).unwrap();
        for (op, tile) in ConvOp::ALL.into_iter().flat_map(|op| matrices.tiles().map(move |tile| (op, tile)))
        {
            let error = difference(&test.on_device(op, Some(tile)).unwrap(), &test.on_host(op));
            assert!((1e-6..HALF_LIMIT).contains(&error), "{op}, {tile}: {error}");
        }
        for op in ConvOp::ALL {
            let algorithm = gpu.default_algorithm(op, &test.g);
            assert!(matches!(algorithm, Algorithm::ImplicitGemm(Tile::Cooperative(..))), "{op}: {algorithm}");
        }
    }

    #[test]
    fn nan_is_a_difference() {
        assert!(difference(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert!(difference(&[1.0, f32::NAN], &[1.0, 1.0]).is_nan());
        assert_eq!(difference(&[1.0, 1.5], &[1.0, 2.0]), 0.25);
    }
}
