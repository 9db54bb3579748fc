//! Winograd's F(4x4, 3x3) for 3x3 convolutions of stride 1; see `winograd.wgsl`.
//!
//! | pass | transformed | products | transformed back |
//! |---|---|---|---|
//! | forward | x, w | \[tile, c_in\] · \[c_in, c_out\] | y |
//! | input gradient | dy, w reversed | \[tile, c_out\] · \[c_in, c_out\]ᵀ | dx |
//! | weight gradient | x, dy | \[tile, c_in\]ᵀ · \[tile, c_out\] | dw |
//!
//! The products are those of 1x1 convolutions over tiles in place of pixels, thirty-six in a row.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::Tile;
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d::implicit_gemm::{Pass, Product};
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The scalars of `winograd.wgsl`.
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

/// All kernels of the family.
pub(crate) const KERNELS: &[Kernel<'static>] = &[
    kernel("transform_input", PLAIN),
    kernel("transform_output", PLAIN),
    kernel("transform_output", BIASED),
    kernel("transform_output_gradient", PLAIN),
    kernel("transform_weight", PLAIN),
    kernel("transform_weight", REVERSED),
    kernel("transform_weight_gradient", PLAIN),
];

type Flags = &'static [(&'static str, i64)];
const PLAIN: Flags = &[("BIAS", 0), ("REVERSED", 0)];
const BIASED: Flags = &[("BIAS", 1), ("REVERSED", 0)];
const REVERSED: Flags = &[("BIAS", 0), ("REVERSED", 1)];

const fn kernel(entry: &'static str, parameters: Flags) -> Kernel<'static> {
    Kernel { shader: Shader::Winograd, entry, parameters }
}

/// Products in a row.
const PLACES: usize = 36;
/// Bytes of transformed values at a time: what caches hold on software rasterisers, and little beside what a GPU has.
const SCRATCH: usize = 16 << 20;

/// Whether a pass is faster this way on a software rasteriser, as measured there: the transforms cost as much as a direct
/// product of some 64 channels, and what tiles waste (beyond the image, or in rows of a product) is lost.
pub(crate) fn pays(pass: Pass, g: &Conv2d, tile: Tile) -> bool {
    let channels = if pass == Pass::Weight { 64 } else { 128 };
    let (h, w) = if pass == Pass::Input { (g.h_in, g.w_in) } else { (g.h_out, g.w_out) };
    let tiles = g.n * h.div_ceil(4) * w.div_ceil(4);
    let rows = if pass == Pass::Weight { tiles } else { tiles.next_multiple_of(tile.size(pass)[0]) };
    fits(g) && g.c_in.min(g.c_out) >= channels && 10 * g.n * h * w > 7 * 16 * rows
}

/// Whether the transforms are made for `g`.
pub(crate) fn fits(g: &Conv2d) -> bool {
    let quads = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
    [g.kh, g.kw, g.stride] == [3, 3, 1] && g.padding <= 2 && quads
}

/// Tiles over some images.
#[derive(Clone, Copy)]
struct Tiles {
    first_image: usize,
    images: usize,
    down: usize,
    across: usize,
}

impl Tiles {
    /// The tiles over all `n` images of `h` times `w` results, in runs whose transformed values are not too many.
    fn runs(n: usize, [h, w]: [usize; 2], channels: usize) -> impl Iterator<Item = Self> {
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

    /// The scalars for an image side of `h` times `w` pixels and `c` channels.
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
    pub(crate) fn winograd_kernel(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let u = self.transform_weight(g, w, PLAIN)?;
        for tiles in Tiles::runs(g.n, [g.h_out, g.w_out], g.c_in.max(g.c_out)) {
            let v = self.transform(
                "transform_input",
                x,
                &tiles,
                tiles.params([g.h_in, g.w_in], g.c_in, g.padding),
            )?;
            let m = self.take(PLACES * tiles.count() * g.c_out)?;
            let product = tiles.product(g)?;
            self.products(Product::new(&product, Pass::Forward, tile), &[&v, &u, &m])?;
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

    pub(crate) fn winograd_backward_input_kernel(
        &self,
        g: &Conv2d,
        tile: Tile,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let u = self.transform_weight(g, w, REVERSED)?;
        for tiles in Tiles::runs(g.n, [g.h_in, g.w_in], g.c_in.max(g.c_out)) {
            // The padding of the convolution with the reversed kernel.
            let params = tiles.params([g.h_out, g.w_out], g.c_out, 2 - g.padding);
            let v = self.transform("transform_input", dy, &tiles, params)?;
            let m = self.take(PLACES * tiles.count() * g.c_in)?;
            let product = tiles.product(g)?;
            self.products(Product::new(&product, Pass::Input, tile), &[&v, &u, &m])?;
            drop(v);
            let params = tiles.params([g.h_in, g.w_in], g.c_in, 0);
            let groups = (tiles.count() * g.c_in / 4).div_ceil(64);
            self.run(kernel("transform_output", PLAIN), &[&m, dx], &params, groups)?;
        }
        Ok(())
    }

    pub(crate) fn winograd_backward_weight_kernel(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let len = PLACES * g.c_in * g.c_out;
        let mut sum: Option<Buffer> = None;
        for tiles in Tiles::runs(g.n, [g.h_out, g.w_out], g.c_in.max(g.c_out)) {
            let params = tiles.params([g.h_in, g.w_in], g.c_in, g.padding);
            let v = self.transform("transform_input", x, &tiles, params)?;
            let params = tiles.params([g.h_out, g.w_out], g.c_out, 0);
            let m = self.transform("transform_output_gradient", dy, &tiles, params)?;
            let product = tiles.product(g)?;
            let u = self.take(len)?;
            self.products(Product::new(&product, Pass::Weight, tile), &[&v, &m, &u])?;
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

    /// One product for each of the places.
    fn products(&self, product: Product<'_>, buffers: &[&Buffer]) -> Result<()> {
        self.product(Product { batches: PLACES, ..product }, buffers)
    }

    /// Every 4x4 tile's 36 values of one side of the product.
    fn transform(
        &self,
        entry: &'static str,
        image: &Buffer,
        tiles: &Tiles,
        params: Params,
    ) -> Result<Buffer> {
        let values = tiles.count() * params.c as usize;
        let out = self.take(PLACES * values)?;
        self.run(kernel(entry, PLAIN), &[image, &out], &params, (values / 4).div_ceil(64))?;
        Ok(out)
    }

    fn transform_weight(&self, g: &Conv2d, w: &Buffer, flags: Flags) -> Result<Buffer> {
        let params = Params { c_in: g.c_in as u32, c_out: g.c_out as u32, ..Params::zeroed() };
        let u = self.take(PLACES * g.c_in * g.c_out)?;
        self.run(kernel("transform_weight", flags), &[w, &u], &params, (g.c_in * g.c_out / 4).div_ceil(64))?;
        Ok(u)
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::Backend;
    use gradamp_core::random::{Purpose, Stream};

    use super::*;
    use crate::gpu::testing;
    use crate::ops::conv2d::Way;
    use crate::ops::conv2d::implicit_gemm::Pass;

    /// Each pass against the direct product on the same device, on planes that fill no tile, at every padding, and with
    /// so many images that they take several runs.
    #[test]
    fn every_pass_equals_the_direct_product() {
        for gpu in testing::each() {
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
    fn wide_layers_on_planes_of_whole_tiles_are_taken_this_way_on_rasterisers() {
        use Pass::{Forward, Input, Weight};
        for (side, channels, stride, passes) in [
            (32, 128, 1, &[Forward, Input, Weight][..]),
            (32, 64, 1, &[Weight]), // too narrow for the transforms
            (4, 256, 1, &[Weight]), // eight tiles fill no row of a product
            (2, 512, 1, &[]),       // three quarters of each tile are beyond the plane
            (32, 128, 2, &[]),
            (32, 126, 1, &[]),
        ] {
            let g = Conv2d::new(&[8, side, side, channels], &[3, 3, channels, channels], stride, 1).unwrap();
            for pass in Pass::ALL {
                let tile = Tile::Subgroup(8);
                assert_eq!(pays(pass, &g, tile), passes.contains(&pass), "{g:?}, {pass}");
                for gpu in testing::each() {
                    let way = gpu.fixed_way(pass, &g);
                    let expected =
                        gpu.fixed_subgroup().is_some_and(|lanes| pays(pass, &g, Tile::Subgroup(lanes)));
                    assert_eq!(matches!(way, Way::Winograd(_)), expected, "{g:?}, {pass}: {way}");
                }
            }
        }
    }

    fn compare(gpu: &Wgpu, g: &Conv2d) {
        let tile = gpu.fixed_subgroup().map_or(Tile::Shared(4, 4), Tile::Subgroup);
        let upload = |shape: [usize; 4], number: u64| {
            let stream = Stream::new(number, Purpose::Test);
            let values: Vec<f32> =
                (0..shape.iter().product::<usize>()).map(|i| stream.uniform(i as u64) - 0.5).collect();
            let mut buffer = gpu.alloc(values.len()).unwrap();
            gpu.write(&values, &mut buffer).unwrap();
            buffer
        };
        let (x, w, dy) = (upload(g.x_shape(), 1), upload(g.w_shape(), 2), upload(g.y_shape(), 3));
        let bias = upload([g.c_out, 1, 1, 1], 4);
        for pass in Pass::ALL {
            let shape = [g.y_shape(), g.x_shape(), g.w_shape()][pass as usize];
            let len = shape.iter().product();
            let [found, expected] = [0, 1].map(|_| gpu.alloc(len).unwrap());
            match pass {
                Pass::Forward => gpu.winograd_kernel(g, tile, &x, &w, Some(&bias), &found).unwrap(),
                Pass::Input => gpu.winograd_backward_input_kernel(g, tile, &w, &dy, &found).unwrap(),
                Pass::Weight => gpu.winograd_backward_weight_kernel(g, tile, &x, &dy, &found).unwrap(),
            }
            let operands = match pass {
                Pass::Forward => vec![&x, &w, &expected, &bias],
                Pass::Input => vec![&dy, &w, &expected],
                Pass::Weight => vec![&x, &dy, &expected],
            };
            gpu.product(Product::new(g, pass, tile), &operands).unwrap();
            let [found, expected] = [found, expected].map(|buffer| {
                let mut values = vec![0.0; len];
                gpu.read(&buffer, &mut values).unwrap();
                values
            });
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = (found - expected).abs() / largest;
                assert!(error < 3e-5, "{g:?} {pass:?}: {found} at {i}, expected {expected}");
            }
        }
    }
}
