//! Convolutions of images, whose three channels fill no quad: windows are stored as rows of whole quads, and what
//! remains is the product of a 1x1 convolution over them.
//!
//! | pass | product |
//! |---|---|
//! | forward | \[pixel, patch\] · \[patch, c_out\] |
//! | weight gradient, turned | \[pixel, c_out\]ᵀ · \[pixel, patch\] |
//!
//! The weight gradient is computed turned, for c_out fills the lanes of a subgroup where a small patch does not. The
//! input gradient of an image is nobody's business.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::Tile;
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d::Way;
use crate::ops::conv2d::implicit_gemm::{Pass, Product};
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The scalars of `columns.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    depth: u32,
    row: u32,
    c_out: u32,
}

/// All kernels of the family.
pub(crate) const KERNELS: &[Kernel<'static>] = &[EXTEND, TRANSPOSE];

const EXTEND: Kernel<'static> = Kernel { shader: Shader::Columns, entry: "extend", parameters: &[] };
const TRANSPOSE: Kernel<'static> = Kernel { shader: Shader::Columns, entry: "transpose", parameters: &[] };

/// Bytes of windows at most; a batch of 512 images of CIFAR takes 56 MiB.
const MOST: usize = 64 << 20;

/// Whether a pass of `g` can be computed this way.
pub(crate) fn fits(pass: Pass, g: &Conv2d) -> bool {
    pass != Pass::Input && g.c_in < 4 && g.c_out.is_multiple_of(4) && 4 * g.n * g.pixels() * row(g) <= MOST
}

/// The patch in whole quads.
fn row(g: &Conv2d) -> usize {
    g.patch().next_multiple_of(4)
}

fn params(g: &Conv2d) -> Params {
    Params { depth: g.patch() as u32, row: row(g) as u32, c_out: g.c_out as u32 }
}

impl Wgpu {
    pub(crate) fn columns_kernel(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let (columns, wide) = (self.columns(g, x)?, self.take(row(g) * g.c_out)?);
        self.run(EXTEND, &[w, &wide], &params(g), (row(g) * g.c_out).div_ceil(64))?;
        let product = Conv2d::new(&[g.n * g.pixels(), 1, 1, row(g)], &[1, 1, row(g), g.c_out], 1, 0)?;
        let buffers: Vec<&Buffer> = [&columns, &wide, y].into_iter().chain(bias).collect();
        self.product(Product::new(&product, Pass::Forward, tile), &buffers)
    }

    pub(crate) fn columns_backward_weight_kernel(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let (columns, turned) = (self.columns(g, x)?, self.take(row(g) * g.c_out)?);
        let product = Conv2d::new(&[g.n * g.pixels(), 1, 1, g.c_out], &[1, 1, g.c_out, row(g)], 1, 0)?;
        self.conv2d_backward_weight_by(Way::Direct(tile), &product, dy, &columns, &turned)?;
        self.run(TRANSPOSE, &[&turned, dw], &params(g), (g.patch() * g.c_out).div_ceil(64))
    }

    /// The windows of all images, `[n·pixels, row]`.
    fn columns(&self, g: &Conv2d, x: &Buffer) -> Result<Buffer> {
        let columns = self.take(g.n * g.pixels() * row(g))?;
        self.im2col_rows(g, 0..g.n, row(g), x, &columns)?;
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::Backend;
    use gradamp_core::random::{Purpose, Stream};

    use super::*;
    use crate::gpu::testing;

    /// Both passes against the direct product on the same device, with what is not a number behind every operand.
    #[test]
    fn both_passes_equal_the_direct_product() {
        for gpu in testing::each() {
            for (x, w, stride, padding) in [
                ([2, 5, 7, 3], [3, 3, 3, 8], 1, 1),
                ([3, 8, 8, 1], [5, 5, 1, 12], 2, 2),
                ([2, 9, 4, 2], [2, 3, 2, 64], 1, 0),
                ([33, 8, 8, 3], [3, 3, 3, 16], 1, 1),
            ] {
                compare(&gpu, &Conv2d::new(&x, &w, stride, padding).unwrap());
            }
        }
    }

    fn compare(gpu: &Wgpu, g: &Conv2d) {
        let tile = gpu.fixed_subgroup().map_or(Tile::Shared(4, 4), Tile::Subgroup);
        let upload = |len: usize, number: u64| {
            let stream = Stream::new(number, Purpose::Test);
            let mut values: Vec<f32> = (0..len as u64).map(|i| stream.uniform(i) - 0.5).collect();
            values.resize(len + 300, f32::NAN);
            let mut buffer = gpu.alloc(values.len()).unwrap();
            gpu.write(&values, &mut buffer).unwrap();
            buffer
        };
        let volume = |shape: [usize; 4]| shape.iter().product::<usize>();
        let (x, w) = (upload(volume(g.x_shape()), 1), upload(volume(g.w_shape()), 2));
        let (dy, bias) = (upload(volume(g.y_shape()), 3), upload(g.c_out, 4));
        for pass in [Pass::Forward, Pass::Weight] {
            assert!(fits(pass, g));
            let len = volume(if pass == Pass::Forward { g.y_shape() } else { g.w_shape() });
            let values = [Way::Columns(tile), Way::Direct(tile)].map(|way| {
                let out = upload(len, 5);
                match pass {
                    Pass::Forward => gpu.conv2d_by(way, g, &x, &w, Some(&bias), &out).unwrap(),
                    _ => gpu.conv2d_backward_weight_by(way, g, &x, &dy, &out).unwrap(),
                }
                let mut values = vec![0.0; len + 300];
                gpu.read(&out, &mut values).unwrap();
                assert!(
                    values.split_off(len).iter().all(|value| value.is_nan()),
                    "{g:?} {way}: written beyond"
                );
                values
            });
            let [found, expected] = &values;
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let error = (found - expected).abs() / largest;
                assert!(error < 1e-5, "{g:?} {pass}: {found}, expected {expected}");
            }
        }
    }
}
