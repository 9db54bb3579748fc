//! The gradient with respect to the weight: a small matrix, a long sum.

use crate::Cpu;
use crate::elementwise::add_parts;
use crate::gemm::{Dense, Panels, Right, ScratchSize, Stored, multiply};
use crate::windows::Windows;
use crate::winograd::Winograd;
use gradamp_core::Result;
use gradamp_core::geometry::Conv2d;

use super::store;

/// dw of a convolution: windowsᵀ · dy. The sum over pixels is cut into chunks, so that there is work for many threads
/// also where dw is small; the chunks' sums are added in their order.
pub(crate) fn conv2d_backward_weight(
    cpu: &Cpu,
    g: &Conv2d,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> Result<()> {
    if let Some(winograd) = Winograd::of(g) {
        return winograd.backward_weight(cpu, g, x, dy, dw);
    }
    /// Elements of a block of dw: a quarter of a second-level cache of 1 MiB.
    const BLOCK: usize = 64 * 1024;
    /// Tasks that keep many threads busy.
    const TASKS: usize = 32;
    /// Pixels that are worth a sum of their own.
    const PIXELS: usize = 1024;

    let kernel = cpu.kernel(g.c_out);
    let (pixels, patch, elements) = (g.n * g.pixels(), g.patch(), g.patch() * g.c_out);
    let most = (BLOCK / g.c_out.next_multiple_of(kernel.columns)).max(8 * kernel.rows);
    let blocks = patch.div_ceil(most);
    let rows = patch.div_ceil(blocks).next_multiple_of(kernel.rows);
    let chunks = TASKS.div_ceil(blocks).min(pixels.div_ceil(PIXELS));
    let chunk = pixels.div_ceil(chunks);
    let chunks = pixels.div_ceil(chunk);

    // Where many blocks read dy, it is packed once for all; elsewhere piece by piece, in less memory.
    let dense = Dense::new(&dy[..pixels * g.c_out], g.c_out);
    let packs_once = blocks >= 4;
    let mut packed = cpu.take(if packs_once { Panels::elements(kernel, pixels, g.c_out) } else { 0 })?;
    let dy = match packs_once {
        true => Right::Packed(dense.pack_all(cpu.threads(), kernel, &mut packed)),
        false => Right::Plain(dense),
    };
    let size = ScratchSize::new(kernel, Stored::Transposed, rows, g.c_out, !packs_once);
    let mut memory = cpu.take(size.elements() * cpu.threads().count())?;
    let windows = Windows::of(g, x);
    let dw = &mut dw[..elements];
    let mut product = |dw: &mut [f32]| {
        let parts = dw.chunks_mut(elements).enumerate();
        let tasks = parts.flat_map(|(chunk, dw)| {
            dw.chunks_mut(rows * g.c_out).enumerate().map(move |(block, dw)| (chunk, block, dw))
        });
        cpu.threads().each_with(tasks, size.cut(&mut memory), |(part, block, dw), scratch| {
            let rows = block * rows..patch.min((block + 1) * rows);
            let depth = part * chunk..pixels.min((part + 1) * chunk);
            let tiles = multiply(kernel, (Stored::Transposed, &windows), dy, rows, depth, scratch);
            store(&tiles, dw.len() / g.c_out, None, dw, |row| row * g.c_out);
        });
    };
    if chunks == 1 {
        product(dw);
        return Ok(());
    }
    let mut parts = cpu.take(chunks * elements)?;
    product(&mut parts);
    add_parts(cpu.threads(), &parts, dw);
    Ok(())
}
