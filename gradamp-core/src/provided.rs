//! What backends need not write: the compositions behind the longer of [`Backend`]'s provided methods.

use crate::backend::BatchNormOperands;
use crate::geometry::{Conv2d, Gemm, Rows};
use crate::random::Stream;
use crate::{Backend, Result};

/// See [`Backend::conv2d`].
pub(crate) fn conv2d<B: Backend>(
    backend: &B,
    g: &Conv2d,
    x: &B::Buffer,
    w: &B::Buffer,
    bias: Option<&B::Buffer>,
    y: &mut B::Buffer,
) -> Result<()> {
    let mut columns = backend.alloc(g.pixels() * g.patch())?;
    for image in 0..g.n {
        backend.im2col(g, image..image + 1, x, &mut columns)?;
        let product = Gemm {
            m: g.pixels(),
            n: g.c_out,
            k: g.patch(),
            c_offset: image * g.pixels() * g.c_out,
            ..Gemm::default()
        };
        backend.gemm(&product, 1.0, &columns, w, 0.0, y)?;
    }
    match bias {
        Some(bias) => backend.add_bias(&g.y_rows(), bias, y),
        None => Ok(()),
    }
}

/// See [`Backend::conv2d_backward_input`].
pub(crate) fn conv2d_backward_input<B: Backend>(
    backend: &B,
    g: &Conv2d,
    w: &B::Buffer,
    dy: &B::Buffer,
    dx: &mut B::Buffer,
) -> Result<()> {
    let mut columns = backend.alloc(g.pixels() * g.patch())?;
    for image in 0..g.n {
        let product = Gemm {
            m: g.pixels(),
            n: g.patch(),
            k: g.c_out,
            transpose_b: true,
            a_offset: image * g.pixels() * g.c_out,
            ..Gemm::default()
        };
        backend.gemm(&product, 1.0, dy, w, 0.0, &mut columns)?;
        backend.col2im(g, image..image + 1, &columns, dx)?;
    }
    Ok(())
}

/// See [`Backend::conv2d_backward_weight`].
pub(crate) fn conv2d_backward_weight<B: Backend>(
    backend: &B,
    g: &Conv2d,
    x: &B::Buffer,
    dy: &B::Buffer,
    dw: &mut B::Buffer,
) -> Result<()> {
    let mut columns = backend.alloc(g.pixels() * g.patch())?;
    for image in 0..g.n {
        backend.im2col(g, image..image + 1, x, &mut columns)?;
        let product = Gemm {
            m: g.patch(),
            n: g.c_out,
            k: g.pixels(),
            transpose_a: true,
            b_offset: image * g.pixels() * g.c_out,
            ..Gemm::default()
        };
        backend.gemm(&product, 1.0, &columns, dy, if image == 0 { 0.0 } else { 1.0 }, dw)?;
    }
    Ok(())
}

/// See [`Backend::sum_squares`].
pub(crate) fn sum_squares<B: Backend>(
    backend: &B,
    g: &Rows,
    x: &B::Buffer,
    out: &mut B::Buffer,
) -> Result<()> {
    // With a mean of 0 and a variance of 1, x̂ is x, and dgamma = Σ_r dy · x̂ with dy = x.
    let [zeros, ones] = constants(backend, g)?;
    let p = BatchNormOperands { mean: &zeros, variance: &ones, gamma: &ones, beta: &zeros, epsilon: 0.0 };
    let (mut dx, mut dbeta) = (backend.alloc(g.len())?, backend.alloc(g.channels)?);
    backend.batch_norm_backward(g, &p, x, x, &mut dx, out, &mut dbeta)
}

/// See [`Backend::scale_channels`].
pub(crate) fn scale_channels<B: Backend>(
    backend: &B,
    g: &Rows,
    factors: &B::Buffer,
    x: &B::Buffer,
    y: &mut B::Buffer,
) -> Result<()> {
    let [zeros, ones] = constants(backend, g)?;
    let p = BatchNormOperands { mean: &zeros, variance: &ones, gamma: factors, beta: &zeros, epsilon: 0.0 };
    backend.batch_norm(g, &p, x, y)
}

/// See [`Backend::add_noise`].
pub(crate) fn add_noise<B: Backend>(
    backend: &B,
    len: usize,
    stream: Stream,
    deviation: f32,
    y: &mut B::Buffer,
) -> Result<()> {
    let mut normals = vec![0.0; len];
    stream.normals(0, &mut normals);
    let mut noise = backend.alloc(len)?;
    backend.write(&normals, &mut noise)?;
    backend.axpby(len, deviation, &noise, 1.0, y)
}

/// A zero and a one for each channel.
fn constants<B: Backend>(backend: &B, g: &Rows) -> Result<[B::Buffer; 2]> {
    let constant = |value| -> Result<B::Buffer> {
        let mut buffer = backend.alloc(g.channels)?;
        backend.write(&vec![value; g.channels], &mut buffer)?;
        Ok(buffer)
    };
    Ok([constant(0.0)?, constant(1.0)?])
}
