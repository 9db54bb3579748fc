//! Convolutions and their gradients, and the choice of the algorithm that computes each.

use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::algorithm::{Algorithm, ConvOp, Matrices, SHARED, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::conv2d::implicit_gemm::{ENOUGH_GROUPS, Product};
use gradamp_core::backend::Precision;

pub(crate) mod im2col_gemm;
pub(crate) mod implicit_gemm;
pub(crate) mod winograd;

impl Wgpu {
    pub(crate) fn conv2d_kernel(
        &self,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        self.conv2d_with(self.algorithm(ConvOp::Forward, g), g, x, w, bias, y)
    }

    pub(crate) fn conv2d_with(
        &self,
        algorithm: Algorithm,
        g: &Conv2d,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        match algorithm {
            Algorithm::ImplicitGemm(tile) => self.implicit_gemm(g, tile, x, w, bias, y),
            Algorithm::Im2colGemm(tile) => self.im2col_gemm(g, tile, x, w, bias, y),
            Algorithm::Winograd(tile) => self.winograd(g, tile, x, w, bias, y),
        }
    }

    pub(crate) fn conv2d_backward_input_kernel(
        &self,
        g: &Conv2d,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        self.conv2d_backward_input_with(self.algorithm(ConvOp::InputGradient, g), g, w, dy, dx)
    }

    pub(crate) fn conv2d_backward_input_with(
        &self,
        algorithm: Algorithm,
        g: &Conv2d,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        match algorithm {
            Algorithm::Winograd(tile) => self.winograd_backward_input(g, tile, w, dy, dx),
            // There is no input gradient over stored windows.
            Algorithm::ImplicitGemm(tile) | Algorithm::Im2colGemm(tile) => {
                self.implicit_gemm_backward_input(g, tile, w, dy, dx)
            }
        }
    }

    pub(crate) fn conv2d_backward_weight_kernel(
        &self,
        g: &Conv2d,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        self.conv2d_backward_weight_with(self.algorithm(ConvOp::WeightGradient, g), g, x, dy, dw)
    }

    pub(crate) fn conv2d_backward_weight_with(
        &self,
        algorithm: Algorithm,
        g: &Conv2d,
        x: &Buffer,
        dy: &Buffer,
        dw: &Buffer,
    ) -> Result<()> {
        match algorithm {
            Algorithm::ImplicitGemm(tile) => self.implicit_gemm_backward_weight(g, tile, x, dy, dw),
            Algorithm::Im2colGemm(tile) => self.im2col_gemm_backward_weight(g, tile, x, dy, dw),
            Algorithm::Winograd(tile) => self.winograd_backward_weight(g, tile, x, dy, dw),
        }
    }

    fn algorithm(&self, op: ConvOp, g: &Conv2d) -> Algorithm {
        self.algorithm_or(op, g, || self.default_algorithm(op, g))
    }

    /// The algorithm for an operation that was not tuned.
    pub(crate) fn default_algorithm(&self, op: ConvOp, g: &Conv2d) -> Algorithm {
        if let Some(lanes) = self.broadcast_lanes() {
            let tile = Tile::Subgroup(lanes);
            let pays = self.precision() == Precision::F32 && winograd::pays(op, g, tile);
            return match im2col_gemm::fits(op, g) {
                true => Algorithm::Im2colGemm(tile),
                false if pays => Algorithm::Winograd(tile),
                false => Algorithm::ImplicitGemm(tile),
            };
        }
        let cooperative = self.matrices().and_then(|matrices| cooperative_tile(op, g, matrices));
        let memory = self.adapter().limits.workgroup_memory;
        Algorithm::ImplicitGemm(cooperative.unwrap_or_else(|| shared_tile(op, g, memory)))
    }

    /// Every algorithm that this adapter can run for an operation.
    pub(crate) fn algorithms(&self, op: ConvOp, g: &Conv2d) -> Vec<Algorithm> {
        let [least, most] = self.adapter().limits.subgroup;
        let fixed = least == most && [4, 8, 16, 32].contains(&least) && self.adapter().fast_paths.subgroups;
        let mut tiles: Vec<Tile> = fixed.then_some(Tile::Subgroup(least as usize)).into_iter().collect();
        if self.runs_tiled() {
            let shared = SHARED.map(|(rows, columns)| Tile::Shared(rows, columns));
            let memory = self.adapter().limits.workgroup_memory;
            tiles.extend(shared.into_iter().filter(|tile| tile.fits(op, memory)));
        }
        let cooperative = self.matrices().and_then(|matrices| cooperative_tile(op, g, matrices));
        let implicit = tiles.iter().copied().chain(cooperative).map(Algorithm::ImplicitGemm);
        let over_tiles = |fits: bool, algorithm: fn(Tile) -> Algorithm| {
            tiles.iter().copied().filter(move |_| fits).map(algorithm)
        };
        let im2col = over_tiles(im2col_gemm::fits(op, g), Algorithm::Im2colGemm);
        let winograd = self.precision() == Precision::F32 && winograd::fits(g);
        implicit.chain(im2col).chain(over_tiles(winograd, Algorithm::Winograd)).collect()
    }
}

/// The largest tile that still gives every core work, and whose operands fit into `memory` bytes of workgroup memory.
fn shared_tile(op: ConvOp, g: &Conv2d, memory: u32) -> Tile {
    let enough = |&&(rows, columns): &&(usize, usize)| {
        let tile = Tile::Shared(rows, columns);
        let product = Product::new(g, op, tile);
        let waste = product.size()[1] <= 8 * columns && columns > 4; // half of a tile's columns would be beyond the matrix
        !waste && tile.fits(op, memory) && product.units() >= ENOUGH_GROUPS
    };
    let &(rows, columns) = SHARED.iter().find(enough).unwrap_or(&(4, 4));
    Tile::Shared(rows, columns)
}

/// The largest tile of cooperative matrices that divides the product evenly; `None` if no tile does. Cooperative matrices write
/// whole fragments only, to consecutive rows.
pub(crate) fn cooperative_tile(op: ConvOp, g: &Conv2d, matrices: Matrices) -> Option<Tile> {
    let quads = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
    let in_rows = quads && (op != ConvOp::InputGradient || g.stride == 1);
    matrices.tiles().filter(|_| in_rows).find(|&tile| {
        let (size, unit) = (Product::new(g, op, tile).size(), tile.size(op));
        size[0].is_multiple_of(unit[0]) && size[1].is_multiple_of(unit[1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn tiles_are_large_if_there_is_enough_work_and_never_half_beyond_the_matrix() {
        for (n, side, channels, tile) in [
            (128, 32, 128, Tile::Shared(8, 8)),
            (128, 32, 64, Tile::Shared(8, 4)), // half of 128 columns would be beyond the matrix
            (1, 32, 64, Tile::Shared(4, 4)),
            (8, 4, 8, Tile::Shared(4, 4)),
        ] {
            let g = Conv2d::new(&[n, side, side, channels], &[3, 3, channels, channels], 1, 1).unwrap();
            assert_eq!(shared_tile(ConvOp::Forward, &g, 32 << 10), tile, "{g:?}");
        }
    }

    /// With a limit of three convolutions, the third one ends a submission, for every operation and stride.
    #[test]
    fn work_is_submitted_after_many_multiplications() {
        for gpu in testing::gpus() {
            for stride in [1, 2] {
                let g = Conv2d::new(&[2, 8, 8, 16], &[3, 3, 16, 16], stride, 1).unwrap();
                let [x, w, y] = [g.x_shape(), g.w_shape(), g.y_shape()]
                    .map(|shape| gpu.new_buffer(shape.iter().product()).unwrap());
                gpu.limit_multiplications(3 * g.multiplications());
                for op in ConvOp::ALL {
                    gpu.flush(false).unwrap();
                    let submissions = [(); 4].map(|()| {
                        let algorithm = Algorithm::ImplicitGemm(Tile::Shared(4, 4));
                        match op {
                            ConvOp::Forward => gpu.conv2d_with(algorithm, &g, &x, &w, None, &y).unwrap(),
                            ConvOp::InputGradient => {
                                gpu.conv2d_backward_input_with(algorithm, &g, &w, &y, &x).unwrap()
                            }
                            ConvOp::WeightGradient => {
                                gpu.conv2d_backward_weight_with(algorithm, &g, &x, &y, &w).unwrap()
                            }
                        }
                        gpu.counters().submissions
                    });
                    let first = submissions[0];
                    assert_eq!(submissions, [first, first, first + 1, first + 1], "{op}, stride {stride}");
                }
            }
        }
    }

    #[test]
    fn tiles_fit_into_the_memory_of_a_workgroup() {
        let g = Conv2d::new(&[128, 32, 32, 128], &[3, 3, 128, 128], 1, 1).unwrap();
        assert_eq!(shared_tile(ConvOp::InputGradient, &g, 32 << 10), Tile::Shared(8, 8));
        for memory in [16 << 10, 18 << 10] {
            let tile = shared_tile(ConvOp::InputGradient, &g, memory);
            assert_eq!(tile == Tile::Shared(8, 8), memory == 18 << 10, "{tile}");
            assert!(tile.fits(ConvOp::InputGradient, memory));
        }
        // The least workgroup memory that WebGPU guarantees.
        assert!(ConvOp::ALL.iter().all(|&op| Tile::Shared(4, 4).fits(op, 16 << 10)));
    }
}
