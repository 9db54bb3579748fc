//! Convolutions and their gradients, as implicit matrix products.
//!
//! | pass | rows | columns | sum |
//! |---|---|---|---|
//! | forward | pixels of y | channels of y | p, q, channels of x |
//! | input gradient | pixels of x, one parity (i mod stride, j mod stride) a dispatch | channels of x | p, q, channels of y |
//! | weight gradient | p, q, channels of x | channels of y | pixels of y, in parts |

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::gpu::{Precision, Wgpu};
use crate::kernel::{Kernel, Variant};
use crate::memory::Buffer;
use crate::shaders::Shader;

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
}

/// What a dispatch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    Forward,
    Input,
    Weight,
}

/// How a product is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tile {
    /// Operands travel through subgroups of this many invocations; 8 rows times 16 columns an invocation.
    Subgroup(usize),
    /// Through workgroup memory, 16 x 16 invocations of this many rows times columns each.
    Shared(usize, usize),
    /// The same, multiplied by cooperative matrices of the third number's side.
    Cooperative(usize, usize, usize),
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

const SUBGROUP_ROWS: usize = 8;
const SUBGROUP_COLUMNS: usize = 16;
/// Invocations of a workgroup whose operands travel through subgroups.
const SUBGROUP_INVOCATIONS: usize = 64;

impl Tile {
    /// Rows and columns of the unit that computes a tile: a subgroup or a workgroup.
    fn size(self, pass: Pass) -> [usize; 2] {
        match (self, pass) {
            (Tile::Subgroup(s), Pass::Weight) => [8 * s, SUBGROUP_COLUMNS],
            (Tile::Subgroup(s), _) => [SUBGROUP_ROWS * s, SUBGROUP_COLUMNS],
            (Tile::Shared(rows, columns) | Tile::Cooperative(rows, columns, _), _) => {
                [16 * rows, 16 * columns]
            }
        }
    }

    /// The workgroups of that many units.
    fn groups(self, units: usize) -> usize {
        match self {
            Tile::Subgroup(s) => units.div_ceil(SUBGROUP_INVOCATIONS / s),
            Tile::Shared(..) | Tile::Cooperative(..) => units,
        }
    }
}

impl Choice {
    fn variant(self) -> Variant {
        let Self { pass, tile, bias, v4, half } = self;
        let flag = |name, set: bool| (name, i64::from(set));
        let mut parameters = vec![
            flag("V4", v4),
            flag("BIAS", bias),
            flag("HALF", half),
            flag("FORWARD", pass == Pass::Forward),
            flag("INPUT", pass == Pass::Input),
            flag("WEIGHT", pass == Pass::Weight),
        ];
        let mut number = |name, value: usize| parameters.push((name, value as i64));
        let shader = match tile {
            Tile::Subgroup(s) => {
                let lanes = s.min(16);
                number("TM", SUBGROUP_ROWS);
                number("S", s);
                number("SUBGROUPS", SUBGROUP_INVOCATIONS / s);
                number("LANES", lanes);
                number("GATHERS", 16 / lanes);
                Shader::Conv2d
            }
            Tile::Shared(rows, columns) | Tile::Cooperative(rows, columns, _) => {
                number("TM", rows);
                number("TN", columns);
                number("LOADS_A", rows / 4);
                number("LOADS_B", columns / 4);
                number("ROW_QUADS", rows / 4);
                number("QUADS", columns / 4);
                let side = if let Tile::Cooperative(.., side) = tile { side } else { 0 };
                number("COOPERATIVE", side);
                number("SCALAR_OUT", usize::from(side > 0 || !v4 || pass == Pass::Input));
                // How a tile lies in workgroup memory: lines and their length, in quads or, for cooperative matrices,
                // in single values.
                let across =
                    |elements: usize| if side > 0 { [16, 16 * elements + 8] } else { [16, 4 * elements] };
                let down = |elements: usize, padding: usize| match side > 0 {
                    true => [16 * elements, 24],
                    false => [16 * elements, 4 + padding],
                };
                let [a, b] = match pass {
                    Pass::Forward => [down(rows, 0), across(columns)],
                    Pass::Input => [down(rows, 0), down(columns, 1)],
                    Pass::Weight => [across(rows), across(columns)],
                };
                number("LINE_A", a[1]);
                number("LINE_B", b[1]);
                number("SIZE_A", a[0] * a[1]);
                number("SIZE_B", b[0] * b[1]);
                if side > 0 {
                    number("C", side);
                    number("STEPS", 16 / side);
                    number("FRAGMENTS_A", 4 * rows / side);
                    number("FRAGMENTS_B", 8 * columns / side);
                }
                Shader::Conv2dTiled
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
#[cfg(test)]
pub(crate) fn variants() -> Vec<Variant> {
    let mut all = vec![SUM_PARTS.into()];
    let subgroups = [4, 8, 16].map(Tile::Subgroup);
    let shared = SHARED.map(|(rows, columns)| Tile::Shared(rows, columns));
    for tile in subgroups.into_iter().chain(shared) {
        for pass in [Pass::Forward, Pass::Input, Pass::Weight] {
            for flags in 0..8 {
                let [bias, v4, half] = [flags & 1, flags & 2, flags & 4].map(|flag| flag != 0);
                if !bias || pass == Pass::Forward {
                    all.push(Choice { pass, tile, bias, v4, half }.variant());
                }
            }
        }
    }
    for (rows, columns) in SHARED {
        for side in [8, 16] {
            let tile = Tile::Cooperative(rows, columns, side);
            for pass in [Pass::Forward, Pass::Input, Pass::Weight] {
                all.push(Choice { pass, tile, bias: false, v4: true, half: true }.variant());
            }
        }
    }
    all
}

/// Rows and columns of an invocation, from the largest tile to the smallest.
pub(crate) const SHARED: [(usize, usize); 4] = [(8, 8), (8, 4), (4, 8), (4, 4)];

const SUM_PARTS: Kernel<'static> = Kernel { shader: Shader::SumParts, entry: "sum_parts", parameters: &[] };

/// The scalars of `sum_parts.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct SumParams {
    len: u32,
    parts: u32,
}

impl Params {
    fn new(g: &Conv2d) -> Self {
        Self {
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
            ..Self::zeroed()
        }
    }
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
        let pixels = g.n * g.pixels();
        let params = Params { pixels: pixels as u32, ..Params::new(g) };
        let size = [pixels, g.c_out];
        let tile = self.tile(Pass::Forward, g, size);
        match (tile, bias) {
            (Tile::Cooperative(..), Some(bias)) => {
                self.product(g, Pass::Forward, tile, size, params, 1, &[x, w, y])?;
                self.add_bias_kernel(&g.y_rows(), bias, y)
            }
            _ => {
                let buffers: Vec<&Buffer> = [x, w, y].into_iter().chain(bias).collect();
                self.product(g, Pass::Forward, tile, size, params, 1, &buffers)
            }
        }
    }

    pub(crate) fn conv2d_backward_input_kernel(
        &self,
        g: &Conv2d,
        w: &Buffer,
        dy: &Buffer,
        dx: &Buffer,
    ) -> Result<()> {
        for row in 0..g.stride.min(g.h_in) {
            for column in 0..g.stride.min(g.w_in) {
                let [height, width] = [g.h_in - row, g.w_in - column].map(|size| size.div_ceil(g.stride));
                let pixels = g.n * height * width;
                let parity = (row << 16 | column) as u32;
                let params = Params { pixels: pixels as u32, parity, ..Params::new(g) };
                let tile = self.tile(Pass::Input, g, [pixels, g.c_in]);
                self.product(g, Pass::Input, tile, [pixels, g.c_in], params, 1, &[dy, w, dx])?;
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
        let pixels = g.n * g.pixels();
        // Rows of w, each tap's channels in whole quads.
        let size = [g.kh * g.kw * g.c_in.next_multiple_of(4), g.c_out];
        let tile = self.tile(Pass::Weight, g, size);
        let [rows, columns] = tile.size(Pass::Weight);
        let units = size[0].div_ceil(rows) * size[1].div_ceil(columns);
        let part = pixels.div_ceil(self.parts(tile, units, pixels)).next_multiple_of(16);
        let parts = pixels.div_ceil(part);
        let params = Params { pixels: pixels as u32, part: part as u32, ..Params::new(g) };
        if parts == 1 {
            return self.product(g, Pass::Weight, tile, size, params, 1, &[x, dy, dw]);
        }
        let len = g.patch() * g.c_out;
        let scratch = self.take(parts * len)?;
        self.product(g, Pass::Weight, tile, size, params, parts, &[x, dy, &scratch])?;
        let params = SumParams { len: len as u32, parts: parts as u32 };
        self.run(SUM_PARTS, &[&scratch, dw], &params, len.div_ceil(256))
    }

    /// A pass at stride 1, cut up in a certain way and summed in one part.
    pub(crate) fn conv2d_in_one_part(
        &self,
        g: &Conv2d,
        pass: Pass,
        tile: Tile,
        buffers: &[&Buffer],
    ) -> Result<()> {
        let pixels = g.n * g.pixels();
        let size = match pass {
            Pass::Forward => [pixels, g.c_out],
            Pass::Input => [pixels, g.c_in],
            Pass::Weight => [g.patch(), g.c_out],
        };
        let params = Params { pixels: pixels as u32, part: pixels as u32, ..Params::new(g) };
        self.product(g, pass, tile, size, params, 1, buffers)
    }

    /// Records the product of `size` rows and columns, `parts` times.
    fn product(
        &self,
        g: &Conv2d,
        pass: Pass,
        tile: Tile,
        size: [usize; 2],
        params: Params,
        parts: usize,
        buffers: &[&Buffer],
    ) -> Result<()> {
        let [rows, columns] = tile.size(pass);
        let (blocks, tiles) = (size[0].div_ceil(rows), size[1].div_ceil(columns));
        let params = Params { blocks: blocks as u32, tiles: tiles as u32, ..params };
        let v4 = g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4);
        let half = self.precision() == Precision::Mixed;
        let variant = Choice { pass, tile, bias: buffers.len() > 3, v4, half }.variant();
        self.run(variant.kernel(), buffers, &params, tile.groups(blocks * tiles * parts))
    }

    /// How to cut up a product where nothing was measured: the largest tile that still gives every core work.
    fn tile(&self, pass: Pass, g: &Conv2d, size: [usize; 2]) -> Tile {
        if let Some(lanes) = self.fixed_subgroup() {
            return Tile::Subgroup(lanes);
        }
        let candidates = self.cooperative().and_then(|side| cooperative(pass, g, size, side));
        let [rows, columns] = size;
        let enough = |&&(r, c): &&(usize, usize)| {
            let waste = columns <= 8 * c && c > 4; // half of the columns would be beyond the matrix
            !waste && rows.div_ceil(16 * r) * columns.div_ceil(16 * c) >= ENOUGH_GROUPS
        };
        candidates.unwrap_or_else(|| {
            let &(rows, columns) = SHARED.iter().find(enough).unwrap_or(&(4, 4));
            Tile::Shared(rows, columns)
        })
    }

    /// In how many parts to sum a weight gradient whose product has that many units: enough to keep every core busy,
    /// but none so short that its own cost shows.
    fn parts(&self, tile: Tile, units: usize, pixels: usize) -> usize {
        let wanted = match tile {
            Tile::Subgroup(_) => 64,
            Tile::Shared(..) | Tile::Cooperative(..) => 2 * ENOUGH_GROUPS,
        };
        wanted.div_ceil(units).min(pixels.div_ceil(256)).max(1)
    }
}

/// The largest tile of cooperative matrices that divides the product; they write whole fragments, row by row.
fn cooperative(pass: Pass, g: &Conv2d, [rows, columns]: [usize; 2], side: usize) -> Option<Tile> {
    let lines =
        g.c_in.is_multiple_of(4) && g.c_out.is_multiple_of(4) && (pass != Pass::Input || g.stride == 1);
    let divides = |&&(r, c): &&(usize, usize)| rows.is_multiple_of(16 * r) && columns.is_multiple_of(16 * c);
    let (r, c) = SHARED.iter().filter(|_| lines).find(divides)?;
    Some(Tile::Cooperative(*r, *c, side))
}

/// Workgroups that fill a large GPU.
const ENOUGH_GROUPS: usize = 256;
