//! Convolutions of images whose channels, usually three, do not fill a quad. im2col stores the windows as rows of whole quads, and
//! the convolution becomes a 1x1 convolution over these rows.
//!
//! | operation | product |
//! |---|---|
//! | forward | \[pixel, patch\] · \[patch, c_out\] |
//! | weight gradient, transposed | \[pixel, c_out\]ᵀ · \[pixel, patch\] |
//!
//! The weight gradient is computed transposed, because c_out fills the lanes of a subgroup and a small patch does not.
//! There is no input gradient, since training does not need the gradient of an image.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::{ConvOp, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d::implicit_gemm::Product;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `im2col_gemm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    depth: u32,
    row: u32,
    c_out: u32,
}

/// All kernels of `im2col_gemm.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[EXTEND, TRANSPOSE];

const EXTEND: Kernel<'static> = Kernel { shader: Shader::Im2colGemm, entry: "extend", parameters: &[] };
const TRANSPOSE: Kernel<'static> = Kernel { shader: Shader::Im2colGemm, entry: "transpose", parameters: &[] };

/// The largest number of bytes of stored windows. A batch of 512 images of CIFAR takes 56 MiB.
const MAX_BYTES: usize = 64 << 20;

/// Whether this algorithm can compute the operation.
pub(crate) fn fits(op: ConvOp, g: &Conv2d) -> bool {
    op != ConvOp::InputGradient
        && g.c_in < 4
        && g.c_out.is_multiple_of(4)
        && 4 * g.n * g.pixels() * row(g) <= MAX_BYTES
}

/// The elements of a row: a window, rounded up to whole quads.
fn row(g: &Conv2d) -> usize {
    g.patch().next_multiple_of(4)
}

fn params(g: &Conv2d) -> Params {
    Params { depth: g.patch() as u32, row: row(g) as u32, c_out: g.c_out as u32 }
}

impl Wgpu {
    pub(crate) fn im2col_gemm(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let (windows, wide) = (self.windows(g, x)?, self.new_buffer(row(g) * g.c_out)?);
        self.run(EXTEND, &[w, &wide], &params(g), (row(g) * g.c_out).div_ceil(64))?;
        let product = Conv2d::new(&[g.n * g.pixels(), 1, 1, row(g)], &[1, 1, row(g), g.c_out], 1, 0)?;
        let buffers: Vec<&Buffer> = [&windows, &wide, y].into_iter().chain(bias).collect();
        self.product(Product::new(&product, ConvOp::Forward, tile), &buffers)
    }

    pub(crate) fn im2col_gemm_backward_weight(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let (windows, transposed) = (self.windows(g, x)?, self.new_buffer(row(g) * g.c_out)?);
        let product = Conv2d::new(&[g.n * g.pixels(), 1, 1, g.c_out], &[1, 1, g.c_out, row(g)], 1, 0)?;
        self.implicit_gemm_backward_weight(&product, tile, dy, &windows, &transposed)?;
        self.run(TRANSPOSE, &[&transposed, dw], &params(g), (g.patch() * g.c_out).div_ceil(64))
    }

    /// The windows of all images, `[n·pixels, row]`.
    fn windows(&self, g: &Conv2d, x: &Buffer) -> Result<Buffer> {
        let windows = self.new_buffer(g.n * g.pixels() * row(g))?;
        self.im2col_rows(g, 0..g.n, row(g), x, &windows)?;
        Ok(windows)
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::backend::Memory;
    use gradamp_core::random::{Purpose, Stream};

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::testing;

    /// Compares both operations with the implicit product on the same device. NaNs follow every operand in memory.
    #[test]
    fn both_operations_equal_the_implicit_product() {
        for gpu in testing::gpus() {
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
        let tile = gpu.broadcast_lanes().map_or(Tile::Shared(4, 4), Tile::Subgroup);
        let upload = |len: usize, number: u64| {
            let stream = Stream::new(number, Purpose::Test);
            let mut values: Vec<f32> = (0..len as u64).map(|i| stream.uniform(i) - 0.5).collect();
            values.resize(len + 300, f32::NAN);
            let mut buffer = gpu.new_buffer(values.len()).unwrap();
            gpu.write(&values, &mut buffer).unwrap();
            buffer
        };
        let volume = |shape: [usize; 4]| shape.iter().product::<usize>();
        let (x, w) = (upload(volume(g.x_shape()), 1), upload(volume(g.w_shape()), 2));
        let (dy, bias) = (upload(volume(g.y_shape()), 3), upload(g.c_out, 4));
        for op in [ConvOp::Forward, ConvOp::WeightGradient] {
            assert!(fits(op, g));
            let len = volume(if op == ConvOp::Forward { g.y_shape() } else { g.w_shape() });
            let values = [Algorithm::Im2colGemm(tile), Algorithm::ImplicitGemm(tile)].map(|algorithm| {
                let out = upload(len, 5);
                match op {
                    ConvOp::Forward => gpu.conv2d_with(algorithm, g, &x, &w, Some(&bias), &out).unwrap(),
                    _ => gpu.conv2d_backward_weight_with(algorithm, g, &x, &dy, &out).unwrap(),
                }
                let mut values = vec![0.0; len + 300];
                gpu.read(&out, &mut values).unwrap();
                assert!(
                    values.split_off(len).iter().all(|value| value.is_nan()),
                    "{g:?} {algorithm}: written beyond the end"
                );
                values
            });
            let [found, expected] = &values;
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let error = (found - expected).abs() / largest;
                assert!(error < 1e-5, "{g:?} {op}: {found}, expected {expected}");
            }
        }
    }
}
