//! Convolutions and their gradients.

use bytemuck::{Pod, Zeroable};
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use crate::gpu::Wgpu;
use crate::kernel::Kernel;
use crate::pool::Buffer;
use crate::shaders::Shader;

/// The scalars of `conv2d.wgsl`.
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

/// Pixels of an invocation.
const TM: usize = 8;
/// Output channels of an invocation.
const CHANNELS: usize = 16;

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

fn parameters(s: usize, v4: bool, pass: &'static str, bias: bool) -> Vec<(&'static str, i64)> {
    let mut all = vec![
        ("S", s as i64),
        ("SUBGROUPS", 64 / s as i64),
        ("LANES", s.min(16) as i64),
        ("GATHERS", 16 / s.min(16) as i64),
        ("TM", TM as i64),
        ("V4", v4.into()),
        ("BIAS", bias.into()),
    ];
    all.extend(["FORWARD", "INPUT", "WEIGHT", "SUM"].map(|name| (name, (name == pass).into())));
    all
}

impl Wgpu {
    fn conv(&self, pass: &'static str, entry: &'static str, g: &Conv2d, bias: bool, buffers: &[&Buffer], params: &Params, units: usize) -> Result<()> {
        let s = self.adapter().limits.subgroup[0] as usize;
        let v4 = g.c_in % 4 == 0 && g.c_out % 4 == 0;
        let parameters = parameters(s, v4, pass, bias);
        let kernel = Kernel { shader: Shader::Conv2d, entry, parameters: &parameters };
        self.run(kernel, buffers, params, units.div_ceil(64 / s))
    }

    pub(crate) fn conv2d_kernel(&self, g: &Conv2d, x: &Buffer, w: &Buffer, bias: Option<&Buffer>, y: &Buffer) -> Result<()> {
        let s = self.adapter().limits.subgroup[0] as usize;
        let pixels = g.n * g.pixels();
        let blocks = pixels.div_ceil(TM * s);
        let tiles = g.c_out.div_ceil(CHANNELS);
        let params = Params { pixels: pixels as u32, blocks: blocks as u32, tiles: tiles as u32, ..Params::new(g) };
        let buffers: Vec<&Buffer> = [x, w, y].into_iter().chain(bias).collect();
        self.conv("FORWARD", "forward", g, bias.is_some(), &buffers, &params, blocks * tiles)
    }

    pub(crate) fn conv2d_backward_input_kernel(&self, g: &Conv2d, w: &Buffer, dy: &Buffer, dx: &Buffer) -> Result<()> {
        let s = self.adapter().limits.subgroup[0] as usize;
        for row in 0..g.stride.min(g.h_in) {
            for column in 0..g.stride.min(g.w_in) {
                let pixels = g.n * (g.h_in - row).div_ceil(g.stride) * (g.w_in - column).div_ceil(g.stride);
                let blocks = pixels.div_ceil(TM * s);
                let tiles = g.c_in.div_ceil(CHANNELS);
                let params = Params {
                    pixels: pixels as u32,
                    blocks: blocks as u32,
                    tiles: tiles as u32,
                    parity: (row << 16 | column) as u32,
                    ..Params::new(g)
                };
                self.conv("INPUT", "backward_input", g, false, &[dy, w, dx], &params, blocks * tiles)?;
            }
        }
        Ok(())
    }

    pub(crate) fn conv2d_backward_weight_kernel(&self, g: &Conv2d, x: &Buffer, dy: &Buffer, dw: &Buffer) -> Result<()> {
        let s = self.adapter().limits.subgroup[0] as usize;
        let pixels = g.n * g.pixels();
        let rows = g.kh * g.kw * g.c_in.div_ceil(4);
        let blocks = rows.div_ceil(2 * s);
        let tiles = g.c_out.div_ceil(CHANNELS);
        // Enough parts to keep every core busy, but none shorter than what hides a part's own cost.
        let parts = 64usize.div_ceil(blocks * tiles).min(pixels.div_ceil(64)).max(1);
        let part = pixels.div_ceil(parts).next_multiple_of(16);
        let parts = pixels.div_ceil(part);
        let params = Params {
            pixels: pixels as u32,
            blocks: blocks as u32,
            tiles: tiles as u32,
            part: part as u32,
            ..Params::new(g)
        };
        let len = g.patch() * g.c_out;
        if parts == 1 {
            return self.conv("WEIGHT", "backward_weight", g, false, &[x, dy, dw], &params, blocks * tiles);
        }
        let scratch = self.take(parts * len)?;
        self.conv("WEIGHT", "backward_weight", g, false, &[x, dy, &scratch], &params, blocks * tiles * parts)?;
        let params = Params { pixels: parts as u32, ..params };
        let parameters = parameters(s, false, "SUM", false);
        let kernel = Kernel { shader: Shader::Conv2d, entry: "sum_parts", parameters: &parameters };
        self.run(kernel, &[&scratch, dw], &params, len.div_ceil(64))
    }
}
