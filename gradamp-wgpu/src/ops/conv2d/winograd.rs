//! Winograd's F(4x4, 3x3) for 3x3 convolutions of stride 1; see `winograd.wgsl`.
//!
//! | operation | transformed | products | transformed back |
//! |---|---|---|---|
//! | forward | x, w | \[tile, c_in\] · \[c_in, c_out\] | y |
//! | input gradient | dy, w reversed | \[tile, c_out\] · \[c_in, c_out\]ᵀ | dx |
//! | weight gradient | x, dy | \[tile, c_in\]ᵀ · \[tile, c_out\] | dw |
//!
//! The products are 36 1x1 convolutions over tiles instead of pixels.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::{ConvOp, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d::implicit_gemm::Product;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `winograd.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    first_image: u32,
    h: u32,
    w: u32,
    c: u32,
    down: u32,
    across: u32,
    tiles: u32,
    padding: u32,
    c_in: u32,
    c_out: u32,
}

/// All kernels of `winograd.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("transform_input", PLAIN),
    kernel("transform_output", PLAIN),
    kernel("transform_output", BIASED),
    kernel("transform_output_gradient", PLAIN),
    kernel("transform_weight", PLAIN),
    kernel("transform_weight", REVERSED),
    kernel("transform_weight_gradient", PLAIN),
];

type Options = &'static [(&'static str, i64)];
const PLAIN: Options = &[("BIAS", 0), ("REVERSED", 0)];
const BIASED: Options = &[("BIAS", 1), ("REVERSED", 0)];
const REVERSED: Options = &[("BIAS", 0), ("REVERSED", 1)];

const fn kernel(entry: &'static str, parameters: Options) -> Kernel<'static> {
    Kernel { shader: Shader::Winograd, entry, parameters }
}

/// The number of places of a transformed tile, 6 x 6. Each place is one product.
const PLACES: usize = 36;
/// The largest number of bytes of transformed values at a time. They fit the host's caches on a software rasteriser, and are little
/// of a GPU's memory.
const SCRATCH: usize = 16 << 20;

/// Whether this algorithm is the fastest on a software rasteriser, by a rule that was found by measurement. The transforms cost as
/// much as an implicit product of about 64 channels. Tiles waste work beyond the image and in the last rows of a product.
pub(crate) fn pays(op: ConvOp, g: &Conv2d, tile: Tile) -> bool {
    let channels = if op == ConvOp::WeightGradient { 64 } else { 128 };
    let (h, w) = if op == ConvOp::InputGradient { (g.h_in, g.w_in) } else { (g.h_out, g.w_out) };
    let tiles = g.n * h.div_ceil(4) * w.div_ceil(4);
    let rows = if op == ConvOp::WeightGradient { tiles } else { tiles.next_multiple_of(tile.size(op)[0]) };
    fits(g) && g.c_in.min(g.c_out) >= channels && 10 * g.n * h * w > 7 * 16 * rows
}

/// Whether this algorithm can compute a convolution of geometry `g`.
pub(crate) fn fits(g: &Conv2d) -> bool {
    let quads = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
    [g.kh, g.kw, g.stride] == [3, 3, 1] && g.padding <= 2 && quads
}

/// The tiles of consecutive images.
#[derive(Clone, Copy)]
struct Tiles {
    first_image: usize,
    images: usize,
    down: usize,
    across: usize,
}

impl Tiles {
    /// The tiles of all `n` images of `h` times `w` results, in groups of images whose transformed values fit into [`SCRATCH`].
    fn groups(n: usize, [h, w]: [usize; 2], channels: usize) -> impl Iterator<Item = Self> {
        let (down, across) = (h.div_ceil(4), w.div_ceil(4));
        let images = (SCRATCH / (4 * PLACES * down * across * channels)).clamp(1, n);
        (0..n).step_by(images).map(move |first_image| Self {
            first_image,
            images: images.min(n - first_image),
            down,
            across,
        })
    }

    fn count(&self) -> usize {
        self.images * self.down * self.across
    }

    /// The parameters of a transform between tiles and images of `h` times `w` pixels and `c` channels.
    fn params(&self, [h, w]: [usize; 2], c: usize, padding: usize) -> Params {
        Params {
            first_image: self.first_image as u32,
            h: h as u32,
            w: w as u32,
            c: c as u32,
            down: self.down as u32,
            across: self.across as u32,
            tiles: self.count() as u32,
            padding: padding as u32,
            ..Params::zeroed()
        }
    }

    /// The 1x1 convolution over these tiles.
    fn product(&self, g: &Conv2d) -> Result<Conv2d> {
        Conv2d::new(&[self.count(), 1, 1, g.c_in], &[1, 1, g.c_in, g.c_out], 1, 0)
    }
}

impl Wgpu {
    pub(crate) fn winograd(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let u = self.transform_weight(g, w, PLAIN)?;
        for tiles in Tiles::groups(g.n, [g.h_out, g.w_out], g.c_in.max(g.c_out)) {
            let v = self.transform(
                "transform_input",
                x,
                &tiles,
                tiles.params([g.h_in, g.w_in], g.c_in, g.padding),
            )?;
            let m = self.new_buffer(PLACES * tiles.count() * g.c_out)?;
            let product = tiles.product(g)?;
            self.products(Product::new(&product, ConvOp::Forward, tile), &[&v, &u, &m])?;
            drop(v);
            let params = tiles.params([g.h_out, g.w_out], g.c_out, 0);
            let groups = (tiles.count() * g.c_out / 4).div_ceil(64);
            match bias {
                Some(bias) => {
                    self.run(kernel("transform_output", BIASED), &[&m, y, bias], &params, groups)?
                }
                None => self.run(kernel("transform_output", PLAIN), &[&m, y], &params, groups)?,
            }
        }
        Ok(())
    }

    pub(crate) fn winograd_backward_input(
        &self,
        g: &Conv2d,
        tile: Tile,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let u = self.transform_weight(g, w, REVERSED)?;
        for tiles in Tiles::groups(g.n, [g.h_in, g.w_in], g.c_in.max(g.c_out)) {
            // The padding of the convolution with the reversed kernel.
            let params = tiles.params([g.h_out, g.w_out], g.c_out, 2 - g.padding);
            let v = self.transform("transform_input", dy, &tiles, params)?;
            let m = self.new_buffer(PLACES * tiles.count() * g.c_in)?;
            let product = tiles.product(g)?;
            self.products(Product::new(&product, ConvOp::InputGradient, tile), &[&v, &u, &m])?;
            drop(v);
            let params = tiles.params([g.h_in, g.w_in], g.c_in, 0);
            let groups = (tiles.count() * g.c_in / 4).div_ceil(64);
            self.run(kernel("transform_output", PLAIN), &[&m, dx], &params, groups)?;
        }
        Ok(())
    }

    pub(crate) fn winograd_backward_weight(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let len = PLACES * g.c_in * g.c_out;
        let mut sum: Option<Buffer> = None;
        for tiles in Tiles::groups(g.n, [g.h_out, g.w_out], g.c_in.max(g.c_out)) {
            let params = tiles.params([g.h_in, g.w_in], g.c_in, g.padding);
            let v = self.transform("transform_input", x, &tiles, params)?;
            let params = tiles.params([g.h_out, g.w_out], g.c_out, 0);
            let m = self.transform("transform_output_gradient", dy, &tiles, params)?;
            let product = tiles.product(g)?;
            let u = self.new_buffer(len)?;
            self.products(Product::new(&product, ConvOp::WeightGradient, tile), &[&v, &m, &u])?;
            sum = Some(match sum {
                Some(sum) => {
                    self.axpby_kernel(len, 1.0, &u, 1.0, &sum)?;
                    sum
                }
                None => u,
            });
        }
        match sum {
            Some(sum) => {
                let params = Params { c_in: g.c_in as u32, c_out: g.c_out as u32, ..Params::zeroed() };
                let groups = (g.c_in * g.c_out / 4).div_ceil(64);
                self.run(kernel("transform_weight_gradient", PLAIN), &[&sum, dw], &params, groups)
            }
            None => Ok(()), // a geometry has at least one image
        }
    }

    /// Computes the products of all places.
    fn products(&self, product: Product<'_>, buffers: &[&Buffer]) -> Result<()> {
        self.product(Product { batches: PLACES, ..product }, buffers)
    }

    /// Transforms an image: the result holds 36 values of every tile and channel, which are one operand of the products.
    fn transform(
        &self,
        entry: &'static str,
        image: &Buffer,
        tiles: &Tiles,
        params: Params,
    ) -> Result<Buffer> {
        let values = tiles.count() * params.c as usize;
        let out = self.new_buffer(PLACES * values)?;
        self.run(kernel(entry, PLAIN), &[image, &out], &params, (values / 4).div_ceil(64))?;
        Ok(out)
    }

    fn transform_weight(&self, g: &Conv2d, w: &Buffer, options: Options) -> Result<Buffer> {
        let params = Params { c_in: g.c_in as u32, c_out: g.c_out as u32, ..Params::zeroed() };
        let u = self.new_buffer(PLACES * g.c_in * g.c_out)?;
        self.run(
            kernel("transform_weight", options),
            &[w, &u],
            &params,
            (g.c_in * g.c_out / 4).div_ceil(64),
        )?;
        Ok(u)
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::backend::Memory;
    use gradamp_core::random::{Purpose, Stream};

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::testing;

    /// Compares each operation with the implicit product on the same device: on images that do not fill their tiles, at every
    /// padding, and with so many images that they need several groups.
    #[test]
    fn every_operation_equals_the_implicit_product() {
        for gpu in testing::gpus() {
            for (x, w, padding) in [
                ([2, 5, 7, 4], [3, 3, 4, 12], 1),
                ([1, 8, 8, 20], [3, 3, 20, 8], 1),
                ([3, 6, 3, 8], [3, 3, 8, 8], 0),
                ([2, 4, 9, 8], [3, 3, 8, 4], 2),
                ([40, 33, 34, 40], [3, 3, 40, 4], 1),
            ] {
                compare(&gpu, &Conv2d::new(&x, &w, 1, padding).unwrap());
            }
        }
    }

    #[test]
    fn rasterisers_use_winograd_for_wide_layers_on_images_of_whole_tiles() {
        use ConvOp::{Forward, InputGradient, WeightGradient};
        for (side, channels, stride, ops) in [
            (32, 128, 1, &[Forward, InputGradient, WeightGradient][..]),
            (32, 64, 1, &[WeightGradient]), // too narrow for the transforms
            (4, 256, 1, &[WeightGradient]), // eight tiles do not fill a product's rows
            (2, 512, 1, &[]),               // three quarters of each tile are beyond the image
            (32, 128, 2, &[]),
            (32, 126, 1, &[]),
        ] {
            let g = Conv2d::new(&[8, side, side, channels], &[3, 3, channels, channels], stride, 1).unwrap();
            for op in ConvOp::ALL {
                let tile = Tile::Subgroup(8);
                assert_eq!(pays(op, &g, tile), ops.contains(&op), "{g:?}, {op}");
                for gpu in testing::gpus() {
                    let algorithm = gpu.default_algorithm(op, &g);
                    let expected =
                        gpu.broadcast_lanes().is_some_and(|lanes| pays(op, &g, Tile::Subgroup(lanes)));
                    assert_eq!(
                        matches!(algorithm, Algorithm::Winograd(_)),
                        expected,
                        "{g:?}, {op}: {algorithm}"
                    );
                }
            }
        }
    }

    fn compare(gpu: &Wgpu, g: &Conv2d) {
        let tile = gpu.broadcast_lanes().map_or(Tile::Shared(4, 4), Tile::Subgroup);
        let upload = |shape: [usize; 4], number: u64| {
            let stream = Stream::new(number, Purpose::Test);
            let values: Vec<f32> =
                (0..shape.iter().product::<usize>()).map(|i| stream.uniform(i as u64) - 0.5).collect();
            let mut buffer = gpu.new_buffer(values.len()).unwrap();
            gpu.write(&values, &mut buffer).unwrap();
            buffer
        };
        let (x, w, dy) = (upload(g.x_shape(), 1), upload(g.w_shape(), 2), upload(g.y_shape(), 3));
        let bias = upload([g.c_out, 1, 1, 1], 4);
        for op in ConvOp::ALL {
            let shape = [g.y_shape(), g.x_shape(), g.w_shape()][op as usize];
            let len = shape.iter().product();
            let [found, expected] = [0, 1].map(|_| gpu.new_buffer(len).unwrap());
            match op {
                ConvOp::Forward => gpu.winograd(g, tile, &x, &w, Some(&bias), &found).unwrap(),
                ConvOp::InputGradient => gpu.winograd_backward_input(g, tile, &w, &dy, &found).unwrap(),
                ConvOp::WeightGradient => gpu.winograd_backward_weight(g, tile, &x, &dy, &found).unwrap(),
            }
            let operands = match op {
                ConvOp::Forward => vec![&x, &w, &expected, &bias],
                ConvOp::InputGradient => vec![&dy, &w, &expected],
                ConvOp::WeightGradient => vec![&x, &dy, &expected],
            };
            gpu.product(Product::new(g, op, tile), &operands).unwrap();
            let [found, expected] = [found, expected].map(|buffer| {
                let mut values = vec![0.0; len];
                gpu.read(&buffer, &mut values).unwrap();
                values
            });
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = (found - expected).abs() / largest;
                assert!(error < 3e-5, "{g:?} {op:?}: {found} at {i}, expected {expected}");
            }
        }
    }
}
