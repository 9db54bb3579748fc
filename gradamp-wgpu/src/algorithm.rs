//! How matrix products are cut up.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ops::conv2d::implicit_gemm::Pass;

/// The part of a product that one unit computes: a subgroup or a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tile {
    /// Operands travel through subgroups of this many invocations; 8 rows times 16 columns an invocation.
    Subgroup(usize),
    /// Through workgroup memory, 16 x 16 invocations of this many rows times columns each.
    Shared(usize, usize),
    /// The same, multiplied by cooperative matrices.
    Cooperative(usize, usize, Matrices),
}

/// Square matrices that a subgroup multiplies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Matrices {
    /// Rows, and columns.
    pub(crate) side: usize,
    /// Invocations of a subgroup.
    pub(crate) lanes: usize,
}

/// Rows of an invocation whose operands travel through its subgroup.
pub(crate) const SUBGROUP_ROWS: usize = 8;
const SUBGROUP_COLUMNS: usize = 16;
/// Invocations of a workgroup whose operands travel through subgroups.
pub(crate) const SUBGROUP_INVOCATIONS: usize = 64;
/// Invocations of a workgroup whose operands travel through its memory.
const SHARED_INVOCATIONS: usize = 256;

/// Rows and columns of an invocation, from the largest tile to the smallest.
pub(crate) const SHARED: [(usize, usize); 4] = [(8, 8), (8, 4), (4, 8), (4, 4)];

impl Tile {
    /// Rows and columns.
    pub(crate) fn size(self, pass: Pass) -> [usize; 2] {
        match (self, pass) {
            (Tile::Subgroup(s), Pass::Weight) => [8 * s, SUBGROUP_COLUMNS],
            (Tile::Subgroup(s), _) => [SUBGROUP_ROWS * s, SUBGROUP_COLUMNS],
            (Tile::Shared(rows, columns) | Tile::Cooperative(rows, columns, _), _) => {
                [16 * rows, 16 * columns]
            }
        }
    }

    /// How operands lie in workgroup memory: lines and their length, in quads or, for cooperative matrices, in single
    /// values.
    pub(crate) fn lines(self, pass: Pass) -> [[usize; 2]; 2] {
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
        match pass {
            Pass::Forward => [down(rows, 0), across(columns)],
            Pass::Input => [down(rows, 0), down(columns, 1)],
            Pass::Weight => [across(rows), across(columns)],
        }
    }

    /// Whether the operands fit into that many bytes of workgroup memory: quads of f32, or single f16.
    pub(crate) fn fits(self, pass: Pass, memory: u32) -> bool {
        let bytes = if let Tile::Cooperative(..) = self { 2 } else { 16 };
        let elements: usize = self.lines(pass).into_iter().map(|[lines, length]| lines * length).sum();
        bytes * elements <= memory as usize
    }

    /// The workgroups of that many units.
    pub(crate) fn groups(self, units: usize) -> usize {
        match self {
            Tile::Subgroup(s) => units.div_ceil(SUBGROUP_INVOCATIONS / s),
            Tile::Shared(..) | Tile::Cooperative(..) => units,
        }
    }
}

impl Matrices {
    /// Sides of the matrices that the kernels know.
    pub(crate) const SIDES: [usize; 2] = [8, 16];
    /// Invocations of the subgroups that they know.
    pub(crate) const LANES: [usize; 4] = [8, 16, 32, 64];

    /// All that the kernels know.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::SIDES.into_iter().flat_map(|side| Self::LANES.map(|lanes| Self { side, lanes }))
    }

    /// The subgroups of a workgroup, down and across.
    pub(crate) fn subgroups(self) -> [usize; 2] {
        let count = SHARED_INVOCATIONS / self.lanes;
        let across = 1 << (count.ilog2() / 2);
        [count / across, across]
    }

    /// The tiles whose matrices are shared out evenly among the subgroups, from the largest to the smallest.
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
    fn matrices_are_shared_out_evenly_and_every_kind_has_a_tile() {
        for matrices in Matrices::all() {
            let [down, across] = matrices.subgroups();
            assert_eq!(down * across * matrices.lanes, SHARED_INVOCATIONS, "{matrices:?}");
            let tiles: Vec<Tile> = matrices.tiles().collect();
            for tile in &tiles {
                let [rows, columns] = tile.size(Pass::Forward);
                let (high, wide) = (rows / down / matrices.side, columns / across / matrices.side);
                assert_eq!([high * down * matrices.side, wide * across * matrices.side], [rows, columns]);
            }
            // Thirty-two subgroups have no matrix of 16 x 16 each in the smaller tiles.
            let count = if matrices == (Matrices { side: 16, lanes: 8 }) { 2 } else { 4 };
            assert_eq!(tiles.len(), count, "{matrices:?}: {tiles:?}");
        }
    }
}
