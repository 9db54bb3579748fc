//! The operations of a convolution, the algorithms that compute them, and the tiles into which products are cut.

use std::collections::HashMap;
use std::fmt;

use gradamp_core::geometry::Conv2d;
use serde::{Deserialize, Serialize};

use crate::device::adapter::{Adapter, Api, MATRIX_SIDES};

/// The three operations of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConvOp {
    /// y from x and w.
    #[serde(rename = "forward")]
    Forward,
    /// dx from dy and w.
    #[serde(rename = "input")]
    InputGradient,
    /// dw from x and dy.
    #[serde(rename = "weight")]
    WeightGradient,
}

impl ConvOp {
    /// All operations, the forward operation first.
    pub const ALL: [ConvOp; 3] = [ConvOp::Forward, ConvOp::InputGradient, ConvOp::WeightGradient];
}

impl fmt::Display for ConvOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConvOp::Forward => "forward",
            ConvOp::InputGradient => "input gradient",
            ConvOp::WeightGradient => "weight gradient",
        })
    }
}

/// An algorithm for one operation of a convolution, with the tile of its matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    /// One matrix product that reads windows from the image; see [`implicit_gemm`](crate::ops::conv2d::implicit_gemm).
    #[serde(rename = "direct")]
    ImplicitGemm(Tile),
    /// One matrix product over windows stored as rows; see [`im2col_gemm`](crate::ops::conv2d::im2col_gemm).
    #[serde(rename = "columns")]
    Im2colGemm(Tile),
    /// Thirty-six matrix products of transformed values; see [`winograd`](crate::ops::conv2d::winograd).
    #[serde(rename = "winograd")]
    Winograd(Tile),
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Algorithm::ImplicitGemm(tile) => write!(f, "{tile}"),
            Algorithm::Im2colGemm(tile) => write!(f, "stored windows, {tile}"),
            Algorithm::Winograd(tile) => write!(f, "Winograd, {tile}"),
        }
    }
}

/// The algorithm for each operation of each convolution.
pub(crate) type Algorithms = HashMap<(ConvOp, Conv2d), Algorithm>;

/// The part of a matrix product that one unit computes. The unit is a subgroup or a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tile {
    /// Operands are broadcast within subgroups of this many invocations; each invocation computes 8 rows x 16 columns.
    Subgroup(usize),
    /// Operands go through workgroup memory; each of 16 x 16 invocations computes this many rows and columns.
    Shared(usize, usize),
    /// As `Shared`, but cooperative matrices multiply the operands.
    Cooperative(usize, usize, Matrices),
}

/// Cooperative matrices: square matrices that the invocations of a subgroup multiply together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Matrices {
    /// The number of rows, and of columns.
    pub(crate) side: usize,
    /// The invocations of a subgroup.
    pub(crate) lanes: usize,
}

/// The rows that an invocation of a [`Tile::Subgroup`] computes.
pub(crate) const SUBGROUP_ROWS: usize = 8;
const SUBGROUP_COLUMNS: usize = 16;
/// The invocations of a workgroup with [`Tile::Subgroup`].
pub(crate) const SUBGROUP_INVOCATIONS: usize = 64;
/// The invocations of a workgroup with [`Tile::Shared`] or [`Tile::Cooperative`].
const SHARED_INVOCATIONS: usize = 256;

/// The rows and columns of an invocation in each [`Tile::Shared`], from the largest tile to the smallest.
pub(crate) const SHARED: [(usize, usize); 4] = [(8, 8), (8, 4), (4, 8), (4, 4)];

impl Tile {
    /// The tile's rows and columns.
    pub(crate) fn size(self, op: ConvOp) -> [usize; 2] {
        match (self, op) {
            (Tile::Subgroup(s), ConvOp::WeightGradient) => [8 * s, SUBGROUP_COLUMNS],
            (Tile::Subgroup(s), _) => [SUBGROUP_ROWS * s, SUBGROUP_COLUMNS],
            (Tile::Shared(rows, columns) | Tile::Cooperative(rows, columns, _), _) => {
                [16 * rows, 16 * columns]
            }
        }
    }

    /// The layout of each of the two operands in workgroup memory: the number of lines, and the length of a line. Lengths count
    /// quads of channels, or single values with cooperative matrices.
    pub(crate) fn lines(self, op: ConvOp) -> [[usize; 2]; 2] {
        let (rows, columns, single) = match self {
            Tile::Subgroup(_) => return [[0, 0]; 2],
            Tile::Shared(rows, columns) => (rows, columns, false),
            Tile::Cooperative(rows, columns, _) => (rows, columns, true),
        };
        let across = |elements: usize| if single { [16, 16 * elements + 8] } else { [16, 4 * elements] };
        let down = |elements: usize, padding: usize| match single {
            true => [16 * elements, 24],
            false => [16 * elements, 4 + padding],
        };
        match op {
            ConvOp::Forward => [down(rows, 0), across(columns)],
            ConvOp::InputGradient => [down(rows, 0), down(columns, 1)],
            ConvOp::WeightGradient => [across(rows), across(columns)],
        }
    }

    /// Whether the operands fit into `memory` bytes of workgroup memory. They are quads of f32, or single values in f16 with
    /// cooperative matrices.
    pub(crate) fn fits(self, op: ConvOp, memory: u32) -> bool {
        let bytes = if let Tile::Cooperative(..) = self { 2 } else { 16 };
        let elements: usize = self.lines(op).into_iter().map(|[lines, length]| lines * length).sum();
        bytes * elements <= memory as usize
    }

    /// The number of workgroups that `units` units need.
    pub(crate) fn groups(self, units: usize) -> usize {
        match self {
            Tile::Subgroup(s) => units.div_ceil(SUBGROUP_INVOCATIONS / s),
            Tile::Shared(..) | Tile::Cooperative(..) => units,
        }
    }
}

impl Matrices {
    /// The subgroup sizes that the kernels are written for.
    const LANES: [usize; 4] = [8, 16, 32, 64];

    /// The matrices that the kernels are written for.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        MATRIX_SIDES.into_iter().flat_map(|side| Self::LANES.map(|lanes| Self { side, lanes }))
    }

    /// The cooperative matrices of an adapter; `None` if it has none, or if its subgroups differ in size. Metal does not report the
    /// size of a subgroup, which is 32.
    pub(crate) fn supported(adapter: &Adapter) -> Option<Self> {
        let [least, most] = if adapter.api == Api::Metal { [32; 2] } else { adapter.limits.subgroup };
        let matrices = Self { side: adapter.fast_paths.cooperative? as usize, lanes: least as usize };
        let known = adapter.fast_paths.subgroups && least == most && Self::LANES.contains(&matrices.lanes);
        known.then_some(matrices)
    }

    /// How the subgroups of a workgroup divide a tile: the number of subgroups down and across.
    pub(crate) fn subgroups(self) -> [usize; 2] {
        let count = SHARED_INVOCATIONS / self.lanes;
        let across = 1 << (count.ilog2() / 2);
        [count / across, across]
    }

    /// The tiles whose matrices divide evenly among the subgroups, from the largest to the smallest.
    pub(crate) fn tiles(self) -> impl Iterator<Item = Tile> {
        let [down, across] = self.subgroups().map(|subgroups| subgroups * self.side);
        let even = move |&(rows, columns): &(usize, usize)| {
            (16 * rows).is_multiple_of(down) && (16 * columns).is_multiple_of(across)
        };
        SHARED.into_iter().filter(even).map(move |(rows, columns)| Tile::Cooperative(rows, columns, self))
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tile::Subgroup(lanes) => write!(f, "subgroups of {lanes}"),
            Tile::Shared(rows, columns) => write!(f, "tiles of {} x {}", 16 * rows, 16 * columns),
            Tile::Cooperative(rows, columns, matrices) => {
                write!(f, "tiles of {} x {} by matrices of {}", 16 * rows, 16 * columns, matrices.side)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_divide_evenly_among_subgroups_and_all_matrices_have_a_tile() {
        for matrices in Matrices::all() {
            let [down, across] = matrices.subgroups();
            assert_eq!(down * across * matrices.lanes, SHARED_INVOCATIONS, "{matrices:?}");
            let tiles: Vec<Tile> = matrices.tiles().collect();
            for tile in &tiles {
                let [rows, columns] = tile.size(ConvOp::Forward);
                let (high, wide) = (rows / down / matrices.side, columns / across / matrices.side);
                assert_eq!([high * down * matrices.side, wide * across * matrices.side], [rows, columns]);
            }
            // The smaller tiles have fewer matrices of 16 x 16 than there are subgroups, which are thirty-two.
            let count = if matrices == (Matrices { side: 16, lanes: 8 }) { 2 } else { 4 };
            assert_eq!(tiles.len(), count, "{matrices:?}: {tiles:?}");
        }
    }
}
