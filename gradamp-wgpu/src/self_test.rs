//! Small questions with known answers, asked before a device is trusted.

use gradamp_core::geometry::Conv2d;
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Error, Result};

use crate::algorithm::{Matrices, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::open::Precision;
use crate::ops::conv2d;
use crate::ops::conv2d::implicit_gemm::{Pass, Product};

/// The largest error where factors are rounded to f16, relative to the largest result.
const HALF: f64 = 5e-3;

/// Whether the three passes of a convolution give what they should: their kernels use most of what all kernels use.
///
/// **Errors:** they do not; the message says by how much.
pub(crate) fn arithmetic(gpu: &Wgpu) -> Result<()> {
    Test::new(gpu, 2, 4, 16)?.ask()
}

impl Test<'_> {
    fn ask(&self) -> Result<()> {
        let limit = match self.gpu.precision() {
            Precision::F32 => 1e-4,
            Precision::Mixed => HALF,
        };
        for pass in Pass::ALL {
            let error = difference(&self.on_device(pass, None)?, &self.on_host(pass));
            if error.is_nan() || error >= limit {
                return Err(Error::Backend {
                    backend: self.gpu.name(),
                    message: format!(
                        "computes wrongly: a small convolution ({pass}) is off by {error:.1e} of its largest value, expected \
                         less than {limit:.0e}; `gradamp devices --check` says more, and a newer driver may help"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Whether cooperative matrices give what plain kernels give, to the precision of f16.
pub(crate) fn cooperative(gpu: &Wgpu, matrices: Matrices) -> bool {
    let passes = || -> Result<bool> {
        // As many channels as a tile has rows or columns.
        let Some(tile) = matrices.tiles().last() else { return Ok(false) };
        let [rows, columns] = tile.size(Pass::Weight);
        let test = Test::new(gpu, 2, 8, rows.max(columns))?;
        for pass in Pass::ALL {
            let Some(tile) = conv2d::cooperative(pass, &test.g, matrices) else { return Ok(false) };
            let error = difference(&test.on_device(pass, Some(tile))?, &test.on_host(pass));
            if error.is_nan() || error >= HALF {
                return Ok(false);
            }
        }
        Ok(true)
    };
    passes().unwrap_or(false)
}

/// A 3x3 convolution of random numbers.
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
            let buffer = gpu.take(values.len())?;
            gpu.upload(bytemuck::cast_slice(values), &buffer)?;
            Ok(buffer)
        };
        let [x, w, dy] = &values;
        Ok(Self { gpu, g, x: upload(x)?, w: upload(w)?, dy: upload(dy)?, values })
    }

    /// The pass on the device, cut up in a certain way or as usual.
    fn on_device(&self, pass: Pass, tile: Option<Tile>) -> Result<Vec<f32>> {
        let Self { gpu, g, x, w, dy, .. } = self;
        let len = if pass == Pass::Weight { g.patch() * g.c_out } else { g.n * g.pixels() * g.c_out };
        let out = gpu.take(len)?;
        match (pass, tile) {
            (Pass::Forward, None) => gpu.conv2d_kernel(g, x, w, None, &out)?,
            (Pass::Input, None) => gpu.conv2d_backward_input_kernel(g, w, dy, &out)?,
            (Pass::Weight, None) => gpu.conv2d_backward_weight_kernel(g, x, dy, &out)?,
            (Pass::Forward, Some(tile)) => gpu.product(Product::new(g, pass, tile), &[x, w, &out])?,
            (Pass::Input, Some(tile)) => gpu.product(Product::new(g, pass, tile), &[dy, w, &out])?,
            (Pass::Weight, Some(tile)) => gpu.product(Product::new(g, pass, tile), &[x, dy, &out])?,
        }
        let mut values = vec![0.0; len];
        gpu.read(&out, &mut values)?;
        Ok(values)
    }

    /// The pass on the host in f64, by the formula.
    fn on_host(&self, pass: Pass) -> Vec<f64> {
        let Self { g, values: [x, w, dy], .. } = self;
        let c = g.c_in;
        let mut out = vec![0.0; if pass == Pass::Weight { w.len() } else { x.len() }];
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
                        let (place, a, b) = match pass {
                            Pass::Forward => (y_at + to, x[x_at + from], w[w_at]),
                            Pass::Input => (x_at + from, dy[y_at + to], w[w_at]),
                            Pass::Weight => (w_at, x[x_at + from], dy[y_at + to]),
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
    // A NaN must not vanish in a maximum.
    differences.fold(0.0, |worst: f64, next| if worst.is_nan() || next <= worst { worst } else { next })
        / largest
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::device::adapter::{Adapter, FastPaths, Limits};
    use crate::gpu::testing;
    use crate::open::Options;

    #[test]
    fn a_device_that_computes_otherwise_than_the_host_is_refused() {
        for gpu in testing::each() {
            let mut test = Test::new(&gpu, 2, 4, 16).unwrap();
            test.ask().unwrap();
            for operand in 0..3 {
                let value = test.values[operand][7];
                test.values[operand][7] += 0.01; // the host now has another number than the device
                let error = test.ask().unwrap_err().to_string();
                assert!(error.contains("computes wrongly") && error.contains("devices --check"), "{error}");
                test.values[operand][7] = value;
            }
        }
    }

    #[test]
    fn a_device_is_asked_before_it_is_used_unless_it_is_trusted() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let asked = [false, true].map(|trusted| {
            let gpu = Wgpu::open(&adapter, &Options { trusted, ..Options::default() }).unwrap();
            gpu.made().submissions > 0
        });
        assert_eq!(asked, [true, false]);
    }

    /// On an adapter that says to have them and has not.
    #[test]
    fn cooperative_matrices_that_fail_their_test_leave_the_work_to_plain_kernels() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        if !adapter.fast_paths.f16 || adapter.fast_paths.cooperative.is_some() {
            return;
        }
        for side in [8, 16] {
            let fast_paths = FastPaths { cooperative: Some(side), ..adapter.fast_paths };
            let limits = Limits { subgroup: [32, 32], ..adapter.limits };
            let boaster = Adapter { fast_paths, limits, ..adapter.clone() };
            assert_eq!(boaster.matrices(), Some(Matrices { side: side as usize, lanes: 32 }));
            let options =
                Options { precision: Precision::Mixed, tiled: true, checked: true, ..Options::default() };
            let gpu = Wgpu::open(&boaster, &options).unwrap();
            assert_eq!((gpu.precision(), gpu.cooperative()), (Precision::Mixed, None));
            Test::new(&gpu, 2, 8, 64).unwrap().ask().unwrap();
        }
    }

    /// Mesa's software rasteriser has them from version 25 on, where its subgroups are 8 wide.
    #[test]
    fn cooperative_matrices_round_factors_and_nothing_else() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let Some(matrices) = adapter.matrices() else {
            let _ = writeln!(std::io::stderr(), "skipped: {adapter} has no cooperative matrices");
            return;
        };
        let options =
            Options { precision: Precision::Mixed, tiled: true, checked: true, ..Options::default() };
        let gpu = Wgpu::open(&adapter, &options).unwrap();
        assert_eq!(gpu.matrices(), Some(matrices), "they fail the test at the start");
        let test = Test::new(&gpu, 2, 8, 128).unwrap();
        for (pass, tile) in
            Pass::ALL.into_iter().flat_map(|pass| matrices.tiles().map(move |tile| (pass, tile)))
        {
            let error = difference(&test.on_device(pass, Some(tile)).unwrap(), &test.on_host(pass));
            assert!((1e-6..HALF).contains(&error), "{pass}, {tile}: {error}");
        }
        for pass in Pass::ALL {
            let way = gpu.fixed_way(pass, &test.g);
            assert!(matches!(way, conv2d::Way::Direct(Tile::Cooperative(..))), "{pass}: {way}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_a_difference() {
        assert!(difference(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert!(difference(&[1.0, f32::NAN], &[1.0, 1.0]).is_nan());
        assert_eq!(difference(&[1.0, 1.5], &[1.0, 2.0]), 0.25);
    }
}
