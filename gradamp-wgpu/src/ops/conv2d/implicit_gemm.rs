//! Convolutions as implicit matrix products: kernels read the windows from the image, and store no im2col matrix.
//!
//! | operation | rows | columns | sum over |
//! |---|---|---|---|
//! | forward | pixels of y | channels of y | p, q, channels of x |
//! | input gradient | pixels of x, of one parity (i mod stride, j mod stride) in each dispatch | channels of x | p, q, channels of y |
//! | weight gradient | p, q, channels of x | channels of y | pixels of y, in parts |

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::{ConvOp, Matrices, SHARED, SUBGROUP_INVOCATIONS, SUBGROUP_ROWS, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::{Kernel, Variant};
use gradamp_core::backend::Precision;

/// The parameters of `conv2d.wgsl` and `conv2d_tiled.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n: u32,
    h_in: u32,
    w_in: u32,
    c_in: u32,
    kh: u32,
    kw: u32,
    c_out: u32,
    stride: u32,
    padding: u32,
    h_out: u32,
    w_out: u32,
    pixels: u32,
    blocks: u32,
    tiles: u32,
    part: u32,
    parity: u32,
    parts: u32,
    batches: u32,
}

/// The parameters of `sum_parts.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct SumParams {
    len: u32,
    parts: u32,
}

const SUM_PARTS: Kernel<'static> = Kernel { shader: Shader::SumParts, entry: "sum_parts", parameters: &[] };

/// The number of workgroups that fills a large GPU.
pub(crate) const ENOUGH_GROUPS: usize = 256;

/// The properties of a product that determine its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProductKernel {
    op: ConvOp,
    tile: Tile,
    bias: bool,
    /// Whether all channel counts are multiples of 4.
    v4: bool,
    /// Whether factors are rounded to f16.
    half: bool,
}

impl ProductKernel {
    fn variant(self) -> Variant {
        let Self { op, tile, bias, v4, half } = self;
        let flag = |name, set: bool| (name, i64::from(set));
        let mut parameters = vec![flag("V4", v4), flag("BIAS", bias), flag("HALF", half)];
        let mut number = |name, value: usize| parameters.push((name, value as i64));
        let shader = match tile {
            Tile::Subgroup(s) => {
                let lanes = s.min(16);
                number("TM", SUBGROUP_ROWS);
                number("S", s);
                number("SUBGROUPS", SUBGROUP_INVOCATIONS / s);
                number("LANES", lanes);
                number("GATHERS", 16 / lanes);
                number("FORWARD", usize::from(op == ConvOp::Forward));
                number("INPUT", usize::from(op == ConvOp::InputGradient));
                number("WEIGHT", usize::from(op == ConvOp::WeightGradient));
                Shader::Conv2d
            }
            Tile::Shared(rows, columns) | Tile::Cooperative(rows, columns, _) => {
                number("TM", rows);
                number("TN", columns);
                number("LOADS_A", rows / 4);
                number("LOADS_B", columns / 4);
                number("ROW_QUADS", rows / 4);
                number("QUADS", columns / 4);
                let matrices = if let Tile::Cooperative(.., matrices) = tile { Some(matrices) } else { None };
                number("COOPERATIVE", matrices.map_or(0, |matrices| matrices.side));
                number("SCALAR_OUT", usize::from(matrices.is_some() || !v4 || op == ConvOp::InputGradient));
                let [a, b] = tile.lines(op);
                number("LINE_A", a[1]);
                number("LINE_B", b[1]);
                number("SIZE_A", a[0] * a[1]);
                number("SIZE_B", b[0] * b[1]);
                if let Some(matrices) = matrices {
                    let [down, across] = matrices.subgroups();
                    number("C", matrices.side);
                    number("STEPS", 16 / matrices.side);
                    number("ACROSS", across);
                    number("FRAGMENTS_A", 16 * rows / (down * matrices.side));
                    number("FRAGMENTS_B", 16 * columns / (across * matrices.side));
                }
                match op {
                    ConvOp::Forward => Shader::Conv2dTiledForward,
                    ConvOp::InputGradient => Shader::Conv2dTiledInput,
                    ConvOp::WeightGradient => Shader::Conv2dTiledWeight,
                }
            }
        };
        let entry = match op {
            ConvOp::Forward => "forward",
            ConvOp::InputGradient => "backward_input",
            ConvOp::WeightGradient => "backward_weight",
        };
        Variant { shader, entry, parameters }
    }
}

/// All kernels of `conv2d.wgsl`, `conv2d_tiled.wgsl` and `sum_parts.wgsl`.
pub(crate) fn kernels() -> Vec<Variant> {
    let mut all = vec![SUM_PARTS.into()];
    let subgroups = [4, 8, 16, 32].map(Tile::Subgroup);
    let shared = SHARED.map(|(rows, columns)| Tile::Shared(rows, columns));
    for tile in subgroups.into_iter().chain(shared) {
        for op in ConvOp::ALL {
            for flags in 0..8 {
                let [bias, v4, half] = [flags & 1, flags & 2, flags & 4].map(|flag| flag != 0);
                if !bias || op == ConvOp::Forward {
                    all.push(ProductKernel { op, tile, bias, v4, half }.variant());
                }
            }
        }
    }
    for matrices in Matrices::all() {
        for tile in matrices.tiles() {
            for op in ConvOp::ALL {
                all.push(ProductKernel { op, tile, bias: false, v4: true, half: true }.variant());
            }
        }
    }
    all
}

/// One matrix product, computed by one dispatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) g: &'a Conv2d,
    pub(crate) op: ConvOp,
    pub(crate) tile: Tile,
    /// For an input gradient: the parity (i mod stride, j mod stride) of its pixels.
    pub(crate) parity: [usize; 2],
    /// For a weight gradient: the number of parts of the sum. The results of the parts are stored one after the other.
    pub(crate) parts: usize,
    /// The pixels of one part.
    pub(crate) part: usize,
    /// The number of products of this geometry. Their operands, and their results, are stored one after the other.
    pub(crate) batches: usize,
}

impl<'a> Product<'a> {
    /// A single product of even parity, summed in one part.
    pub(crate) fn new(g: &'a Conv2d, op: ConvOp, tile: Tile) -> Self {
        Self { g, op, tile, parity: [0, 0], parts: 1, part: g.n * g.pixels(), batches: 1 }
    }

    /// The number of pixels that are the rows of the product, or for a weight gradient the number over which it sums.
    fn pixels(&self) -> usize {
        let Self { g, op, parity: [row, column], .. } = self;
        match op {
            ConvOp::Forward | ConvOp::WeightGradient => g.n * g.pixels(),
            ConvOp::InputGradient => {
                g.n * (g.h_in - row).div_ceil(g.stride) * (g.w_in - column).div_ceil(g.stride)
            }
        }
    }

    /// The rows and columns of the product.
    pub(crate) fn size(&self) -> [usize; 2] {
        let g = self.g;
        match self.op {
            ConvOp::Forward => [self.pixels(), g.c_out],
            ConvOp::InputGradient => [self.pixels(), g.c_in],
            // The channels of each tap are rounded up to whole quads.
            ConvOp::WeightGradient => [g.kh * g.kw * g.c_in.next_multiple_of(4), g.c_out],
        }
    }

    /// The number of tiles down and across.
    fn tiles(&self) -> [usize; 2] {
        let ([rows, columns], tile) = (self.size(), self.tile.size(self.op));
        [rows.div_ceil(tile[0]), columns.div_ceil(tile[1])]
    }

    /// The number of tiles of one product in one part.
    pub(crate) fn units(&self) -> usize {
        self.tiles().into_iter().product()
    }

    /// The product, summed in at most `parts` parts. A part has at least 16 pixels.
    #[must_use]
    pub(crate) fn in_parts(self, parts: usize) -> Self {
        let pixels = self.pixels();
        let part = pixels.div_ceil(parts).next_multiple_of(16);
        Self { parts: pixels.div_ceil(part), part, ..self }
    }

    /// The multiplications of this dispatch. Each parity of an input gradient counts as an equal share of all multiplications.
    fn multiplications(&self) -> u64 {
        let parities = if self.op == ConvOp::InputGradient { self.g.stride.pow(2) } else { 1 };
        self.g.multiplications() * self.batches as u64 / parities as u64
    }

    fn params(&self) -> Params {
        let g = self.g;
        let [blocks, tiles] = self.tiles();
        let [row, column] = self.parity;
        Params {
            n: g.n as u32,
            h_in: g.h_in as u32,
            w_in: g.w_in as u32,
            c_in: g.c_in as u32,
            kh: g.kh as u32,
            kw: g.kw as u32,
            c_out: g.c_out as u32,
            stride: g.stride as u32,
            padding: g.padding as u32,
            h_out: g.h_out as u32,
            w_out: g.w_out as u32,
            pixels: self.pixels() as u32,
            blocks: blocks as u32,
            tiles: tiles as u32,
            part: self.part as u32,
            parity: (row << 16 | column) as u32,
            parts: self.parts as u32,
            batches: self.batches as u32,
        }
    }
}

impl Wgpu {
    /// Records a product.
    ///
    /// **Buffers:** forward: x, w, y and optionally a bias; input gradient: dy, w, dx; weight gradient: x, dy, dw.
    pub(crate) fn product(&self, product: Product<'_>, buffers: &[&Buffer]) -> Result<()> {
        let Product { g, op, tile, .. } = product;
        let v4 = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
        let half = self.precision() == Precision::Mixed;
        let variant = ProductKernel { op, tile, bias: buffers.len() > 3, v4, half }.variant();
        let units = product.units() * product.parts * product.batches;
        self.run(variant.kernel(), buffers, &product.params(), tile.groups(units))?;
        self.count_multiplications(product.multiplications());
        Ok(())
    }

    pub(crate) fn implicit_gemm(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let product = Product::new(g, ConvOp::Forward, tile);
        match (tile, bias) {
            (Tile::Cooperative(..), Some(bias)) => {
                self.product(product, &[x, w, y])?;
                self.add_bias_kernel(&g.y_rows(), bias, y)
            }
            (_, Some(bias)) => self.product(product, &[x, w, y, bias]),
            (_, None) => self.product(product, &[x, w, y]),
        }
    }

    pub(crate) fn implicit_gemm_backward_input(
        &self,
        g: &Conv2d,
        tile: Tile,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        for row in 0..g.stride.min(g.h_in) {
            for column in 0..g.stride.min(g.w_in) {
                let product =
                    Product { parity: [row, column], ..Product::new(g, ConvOp::InputGradient, tile) };
                self.product(product, &[dy, w, dx])?;
            }
        }
        Ok(())
    }

    pub(crate) fn implicit_gemm_backward_weight(
        &self,
        g: &Conv2d,
        tile: Tile,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let product = Product::new(g, ConvOp::WeightGradient, tile);
        let product = product.in_parts(parts(&product));
        if product.parts == 1 {
            return self.product(product, &[x, dy, dw]);
        }
        let len = g.patch() * g.c_out;
        let scratch = self.new_buffer(product.parts * len)?;
        self.product(product, &[x, dy, &scratch])?;
        let params = SumParams { len: len as u32, parts: product.parts as u32 };
        self.run(SUM_PARTS, &[&scratch, dw], &params, len.div_ceil(256))
    }
}

/// The number of parts in which to sum a weight gradient: enough to keep every core busy, but so few that the cost of adding the
/// parts is small.
fn parts(product: &Product<'_>) -> usize {
    let wanted = match product.tile {
        Tile::Subgroup(_) => 64,
        Tile::Shared(..) | Tile::Cooperative(..) => 2 * ENOUGH_GROUPS,
    };
    wanted.div_ceil(product.units() * product.batches).min(product.part.div_ceil(256)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_gradients_are_summed_in_parts_that_fill_a_device_and_are_not_too_short() {
        for (n, side, channels) in [(128, 32, 64), (8, 4, 512), (1, 4, 8)] {
            let g = Conv2d::new(&[n, side, side, channels], &[3, 3, channels, channels], 1, 1).unwrap();
            for tile in [Tile::Subgroup(8), Tile::Shared(4, 4), Tile::Shared(8, 8)] {
                let product = Product::new(&g, ConvOp::WeightGradient, tile);
                let product = product.in_parts(parts(&product));
                assert!(product.parts == 1 || product.part >= 256, "{product:?}");
                assert!(product.part * product.parts >= g.n * g.pixels(), "{product:?}");
                assert!(product.part * (product.parts - 1) < g.n * g.pixels(), "{product:?}");
            }
        }
    }
}
