//! Convolutions and their gradients: which way they are computed.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;
use serde::{Deserialize, Serialize};

use crate::algorithm::{Matrices, SHARED, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::open::Precision;
use crate::ops::conv2d::implicit_gemm::{Pass, Product};
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

pub(crate) mod im2col_gemm;
pub(crate) mod implicit_gemm;
pub(crate) mod winograd;

/// A way to compute a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// One product.
    Direct(Tile),
    /// One product over windows that are stored; see [`im2col_gemm`].
    Columns(Tile),
    /// Thirty-six products of transformed values, each cut up like this; see [`winograd`](crate::ops::conv2d::winograd).
    Winograd(Tile),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Direct(tile) => write!(f, "{tile}"),
            Way::Columns(tile) => write!(f, "stored windows, {tile}"),
            Way::Winograd(tile) => write!(f, "Winograd, {tile}"),
        }
    }
}

/// Workgroups that fill a large GPU.
const ENOUGH_GROUPS: usize = 256;

const SUM_PARTS: Kernel<'static> = Kernel { shader: Shader::SumParts, entry: "sum_parts", parameters: &[] };

/// All kernels of the family.
pub(crate) const KERNELS: &[Kernel<'static>] = &[SUM_PARTS];

/// The scalars of `sum_parts.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct SumParams {
    len: u32,
    parts: u32,
}

impl Wgpu {
    pub(crate) fn conv2d_kernel(
        &self,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        self.conv2d_by(self.way(Pass::Forward, g), g, x, w, bias, y)
    }

    pub(crate) fn conv2d_by(
        &self,
        way: Way,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        let tile = match way {
            Way::Winograd(tile) => return self.winograd_kernel(g, tile, x, w, bias, y),
            Way::Columns(tile) => return self.columns_kernel(g, tile, x, w, bias, y),
            Way::Direct(tile) => tile,
        };
        let product = Product::new(g, Pass::Forward, tile);
        match (tile, bias) {
            (Tile::Cooperative(..), Some(bias)) => {
                self.product(product, &[x, w, y])?;
                self.add_bias_kernel(&g.y_rows(), bias, y)
            }
            (_, Some(bias)) => self.product(product, &[x, w, y, bias]),
            (_, None) => self.product(product, &[x, w, y]),
        }
    }

    pub(crate) fn conv2d_backward_input_kernel(
        &self,
        g: &Conv2d,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        self.conv2d_backward_input_by(self.way(Pass::Input, g), g, w, dy, dx)
    }

    pub(crate) fn conv2d_backward_input_by(
        &self,
        way: Way,
        g: &Conv2d,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        let tile = match way {
            Way::Winograd(tile) => return self.winograd_backward_input_kernel(g, tile, w, dy, dx),
            Way::Direct(tile) | Way::Columns(tile) => tile, // windows are stored for the other passes only
        };
        for row in 0..g.stride.min(g.h_in) {
            for column in 0..g.stride.min(g.w_in) {
                let product = Product { parity: [row, column], ..Product::new(g, Pass::Input, tile) };
                self.product(product, &[dy, w, dx])?;
            }
        }
        Ok(())
    }

    pub(crate) fn conv2d_backward_weight_kernel(
        &self,
        g: &Conv2d,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        self.conv2d_backward_weight_by(self.way(Pass::Weight, g), g, x, dy, dw)
    }

    pub(crate) fn conv2d_backward_weight_by(
        &self,
        way: Way,
        g: &Conv2d,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        let tile = match way {
            Way::Winograd(tile) => return self.winograd_backward_weight_kernel(g, tile, x, dy, dw),
            Way::Columns(tile) => return self.columns_backward_weight_kernel(g, tile, x, dy, dw),
            Way::Direct(tile) => tile,
        };
        let product = Product::new(g, Pass::Weight, tile);
        let product = product.in_parts(parts(&product));
        if product.parts == 1 {
            return self.product(product, &[x, dy, dw]);
        }
        let len = g.patch() * g.c_out;
        let scratch = self.take(product.parts * len)?;
        self.product(product, &[x, dy, &scratch])?;
        let params = SumParams { len: len as u32, parts: product.parts as u32 };
        self.run(SUM_PARTS, &[&scratch, dw], &params, len.div_ceil(256))
    }

    /// The way to compute a pass where nothing was measured.
    pub(crate) fn fixed_way(&self, pass: Pass, g: &Conv2d) -> Way {
        if let Some(lanes) = self.fixed_subgroup() {
            let tile = Tile::Subgroup(lanes);
            let pays = self.precision() == Precision::F32 && winograd::pays(pass, g, tile);
            return match im2col_gemm::fits(pass, g) {
                true => Way::Columns(tile),
                false if pays => Way::Winograd(tile),
                false => Way::Direct(tile),
            };
        }
        let cooperative = self.matrices().and_then(|matrices| cooperative(pass, g, matrices));
        let memory = self.adapter().limits.workgroup_memory;
        Way::Direct(cooperative.unwrap_or_else(|| shared(pass, g, memory)))
    }
}

/// The largest tile that still gives every core work, and fits into `memory` bytes of workgroup memory.
fn shared(pass: Pass, g: &Conv2d, memory: u32) -> Tile {
    let enough = |&&(rows, columns): &&(usize, usize)| {
        let tile = Tile::Shared(rows, columns);
        let product = Product::new(g, pass, tile);
        let waste = product.size()[1] <= 8 * columns && columns > 4; // half of the columns would be beyond the matrix
        !waste && tile.fits(pass, memory) && product.units() >= ENOUGH_GROUPS
    };
    let &(rows, columns) = SHARED.iter().find(enough).unwrap_or(&(4, 4));
    Tile::Shared(rows, columns)
}

/// The largest tile of cooperative matrices that divides the product; they write whole fragments, row by row.
pub(crate) fn cooperative(pass: Pass, g: &Conv2d, matrices: Matrices) -> Option<Tile> {
    let lines =
        g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4) && (pass != Pass::Input || g.stride == 1);
    matrices.tiles().filter(|_| lines).find(|&tile| {
        let (size, unit) = (Product::new(g, pass, tile).size(), tile.size(pass));
        size[0].is_multiple_of(unit[0]) && size[1].is_multiple_of(unit[1])
    })
}

/// In how many parts to sum a weight gradient: enough to keep every core busy, but none so short that its own cost shows.
pub(crate) fn parts(product: &Product<'_>) -> usize {
    let wanted = match product.tile {
        Tile::Subgroup(_) => 64,
        Tile::Shared(..) | Tile::Cooperative(..) => 2 * ENOUGH_GROUPS,
    };
    wanted.div_ceil(product.units() * product.batches).min(product.part.div_ceil(256)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    #[test]
    fn tiles_are_large_where_there_is_work_enough_and_never_mostly_beyond_the_matrix() {
        for (n, side, channels, tile) in [
            (128, 32, 128, Tile::Shared(8, 8)),
            (128, 32, 64, Tile::Shared(8, 4)), // half of 128 columns would be beyond the matrix
            (1, 32, 64, Tile::Shared(4, 4)),
            (8, 4, 8, Tile::Shared(4, 4)),
        ] {
            let g = Conv2d::new(&[n, side, side, channels], &[3, 3, channels, channels], 1, 1).unwrap();
            assert_eq!(shared(Pass::Forward, &g, 32 << 10), tile, "{g:?}");
        }
    }

    /// A limit of three convolutions: the third one ends a submission, whatever the pass and the stride.
    #[test]
    fn what_multiplies_for_long_is_handed_over() {
        for gpu in testing::each() {
            for stride in [1, 2] {
                let g = Conv2d::new(&[2, 8, 8, 16], &[3, 3, 16, 16], stride, 1).unwrap();
                let [x, w, y] = [g.x_shape(), g.w_shape(), g.y_shape()]
                    .map(|shape| gpu.take(shape.iter().product()).unwrap());
                testing::limit(&gpu, 3 * g.multiplications());
                for pass in Pass::ALL {
                    gpu.flush(false).unwrap();
                    let made = [(); 4].map(|()| {
                        let way = Way::Direct(Tile::Shared(4, 4));
                        match pass {
                            Pass::Forward => gpu.conv2d_by(way, &g, &x, &w, None, &y).unwrap(),
                            Pass::Input => gpu.conv2d_backward_input_by(way, &g, &w, &y, &x).unwrap(),
                            Pass::Weight => gpu.conv2d_backward_weight_by(way, &g, &x, &y, &w).unwrap(),
                        }
                        gpu.made().submissions
                    });
                    let first = made[0];
                    assert_eq!(made, [first, first, first + 1, first + 1], "{pass}, stride {stride}");
                }
            }
        }
    }

    #[test]
    fn tiles_fit_into_the_memory_of_a_workgroup() {
        let g = Conv2d::new(&[128, 32, 32, 128], &[3, 3, 128, 128], 1, 1).unwrap();
        assert_eq!(shared(Pass::Input, &g, 32 << 10), Tile::Shared(8, 8));
        for memory in [16 << 10, 18 << 10] {
            let tile = shared(Pass::Input, &g, memory);
            assert_eq!(tile == Tile::Shared(8, 8), memory == 18 << 10, "{tile}");
            assert!(tile.fits(Pass::Input, memory));
        }
        // The least that WebGPU promises.
        assert!(Pass::ALL.iter().all(|&pass| Tile::Shared(4, 4).fits(pass, 16 << 10)));
    }

    #[test]
    fn weight_gradients_are_summed_in_parts_that_fill_a_device_and_are_none_too_short() {
        for (n, side, channels) in [(128, 32, 64), (8, 4, 512), (1, 4, 8)] {
            let g = Conv2d::new(&[n, side, side, channels], &[3, 3, channels, channels], 1, 1).unwrap();
            for tile in [Tile::Subgroup(8), Tile::Shared(4, 4), Tile::Shared(8, 8)] {
                let product = Product::new(&g, Pass::Weight, tile);
                let product = product.in_parts(parts(&product));
                assert!(product.parts == 1 || product.part >= 256, "{product:?}");
                assert!(product.part * product.parts >= g.n * g.pixels(), "{product:?}");
                assert!(product.part * (product.parts - 1) < g.n * g.pixels(), "{product:?}");
            }
        }
    }
}
