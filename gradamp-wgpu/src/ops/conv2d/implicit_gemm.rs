//! Convolutions as implicit matrix products: how they are cut up, and the dispatch that computes one.
//!
//! | pass | rows | columns | sum |
//! |---|---|---|---|
//! | forward | pixels of y | channels of y | p, q, channels of x |
//! | input gradient | pixels of x, one parity (i mod stride, j mod stride) a dispatch | channels of x | p, q, channels of y |
//! | weight gradient | p, q, channels of x | channels of y | pixels of y, in parts |

use std::fmt;

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;
use serde::{Deserialize, Serialize};

use crate::algorithm::{Matrices, SHARED, SUBGROUP_INVOCATIONS, SUBGROUP_ROWS, Tile};
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::open::Precision;
use crate::shaders::Shader;
use crate::shaders::kernel::Variant;

/// The scalars of `conv2d.wgsl` and `conv2d_tiled.wgsl`.
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

/// The passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// y from x and w.
    Forward,
    /// dx from dy and w.
    Input,
    /// dw from x and dy.
    Weight,
}

impl Pass {
    /// All of them.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::Input, Pass::Weight];
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pass::Forward => "forward",
            Pass::Input => "input gradient",
            Pass::Weight => "weight gradient",
        })
    }
}

/// A dispatch: its pass, how it is cut up, and the numbers of its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Choice {
    pass: Pass,
    tile: Tile,
    bias: bool,
    /// All channel counts are multiples of 4.
    v4: bool,
    half: bool,
}

impl Choice {
    fn variant(self) -> Variant {
        let Self { pass, tile, bias, v4, half } = self;
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
                number("FORWARD", usize::from(pass == Pass::Forward));
                number("INPUT", usize::from(pass == Pass::Input));
                number("WEIGHT", usize::from(pass == Pass::Weight));
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
                number("SCALAR_OUT", usize::from(matrices.is_some() || !v4 || pass == Pass::Input));
                let [a, b] = tile.lines(pass);
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
                match pass {
                    Pass::Forward => Shader::Conv2dTiledForward,
                    Pass::Input => Shader::Conv2dTiledInput,
                    Pass::Weight => Shader::Conv2dTiledWeight,
                }
            }
        };
        let entry = match pass {
            Pass::Forward => "forward",
            Pass::Input => "backward_input",
            Pass::Weight => "backward_weight",
        };
        Variant { shader, entry, parameters }
    }
}

/// All kernels of the family.
pub(crate) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    let subgroups = [4, 8, 16, 32].map(Tile::Subgroup);
    let shared = SHARED.map(|(rows, columns)| Tile::Shared(rows, columns));
    for tile in subgroups.into_iter().chain(shared) {
        for pass in Pass::ALL {
            for flags in 0..8 {
                let [bias, v4, half] = [flags & 1, flags & 2, flags & 4].map(|flag| flag != 0);
                if !bias || pass == Pass::Forward {
                    all.push(Choice { pass, tile, bias, v4, half }.variant());
                }
            }
        }
    }
    for matrices in Matrices::all() {
        for tile in matrices.tiles() {
            for pass in Pass::ALL {
                all.push(Choice { pass, tile, bias: false, v4: true, half: true }.variant());
            }
        }
    }
    all
}

/// One dispatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) g: &'a Conv2d,
    pub(crate) pass: Pass,
    pub(crate) tile: Tile,
    /// Input gradient: the parity of its pixels.
    pub(crate) parity: [usize; 2],
    /// Weight gradient: parts of the sum, and the pixels of each; their results lie one behind the other.
    pub(crate) parts: usize,
    pub(crate) part: usize,
    /// Products in a row: the operands of each lie behind those of the one before.
    pub(crate) batches: usize,
}

impl<'a> Product<'a> {
    /// A product of even parity, summed in one part.
    pub(crate) fn new(g: &'a Conv2d, pass: Pass, tile: Tile) -> Self {
        Self { g, pass, tile, parity: [0, 0], parts: 1, part: g.n * g.pixels(), batches: 1 }
    }

    /// The pixels that are its rows, or that it sums.
    fn pixels(&self) -> usize {
        let Self { g, pass, parity: [row, column], .. } = self;
        match pass {
            Pass::Forward | Pass::Weight => g.n * g.pixels(),
            Pass::Input => g.n * (g.h_in - row).div_ceil(g.stride) * (g.w_in - column).div_ceil(g.stride),
        }
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> [usize; 2] {
        let g = self.g;
        match self.pass {
            Pass::Forward => [self.pixels(), g.c_out],
            Pass::Input => [self.pixels(), g.c_in],
            // Each tap's channels in whole quads.
            Pass::Weight => [g.kh * g.kw * g.c_in.next_multiple_of(4), g.c_out],
        }
    }

    /// Tiles down and across.
    fn tiles(&self) -> [usize; 2] {
        let ([rows, columns], tile) = (self.size(), self.tile.size(self.pass));
        [rows.div_ceil(tile[0]), columns.div_ceil(tile[1])]
    }

    /// Tiles of one product in one part.
    pub(crate) fn units(&self) -> usize {
        self.tiles().into_iter().product()
    }

    /// Sums in as many parts as `parts`, if there are pixels enough.
    #[must_use]
    pub(crate) fn in_parts(self, parts: usize) -> Self {
        let pixels = self.pixels();
        let part = pixels.div_ceil(parts).next_multiple_of(16);
        Self { parts: pixels.div_ceil(part), part, ..self }
    }

    /// Those of the geometry; of the parities of an input gradient, each has its share.
    fn multiplications(&self) -> u64 {
        let parities = if self.pass == Pass::Input { self.g.stride.pow(2) } else { 1 };
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
    /// Records a product. **Buffers:** forward x, w, y and perhaps a bias; input gradient dy, w, dx; weight gradient x, dy,
    /// dw.
    pub(crate) fn product(&self, product: Product<'_>, buffers: &[&Buffer]) -> Result<()> {
        let Product { g, pass, tile, .. } = product;
        let v4 = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
        let half = self.precision() == Precision::Mixed;
        let variant = Choice { pass, tile, bias: buffers.len() > 3, v4, half }.variant();
        let units = product.units() * product.parts * product.batches;
        self.run(variant.kernel(), buffers, &product.params(), tile.groups(units))?;
        self.count(product.multiplications());
        Ok(())
    }
}
