use std::sync::Arc;

use crate::geometry::{Gemm, Rows};
use crate::{
    Backend, BackwardRule, Error, Gradient, LayerKind, ParameterId, Pass, Result, Tape, Tensor, Var,
};

/// y = x · weight + bias
///
/// **Shapes:** x `[n, c_in]`, weight `[c_in, c_out]`, bias `[c_out]`, y `[n, c_out]`. An x of more dimensions is read as
/// `[n, c_in]`, and a weight of more dimensions as `[c_in, c_out]`: what stands between the ends is flattened.
/// **Errors:** shapes that do not fit.
pub fn linear<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    weight: ParameterId,
    bias: ParameterId,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let (w, b) = (tape.parameter(weight), tape.parameter(bias));
    if w.shape().len() < 2 {
        return Err(Error::shape("linear", format!("expects weight [..,c_in,c_out], got {:?}", w.shape())));
    }
    let Rows { rows: c_in, channels: c_out } = Rows::new("linear", w.shape())?;
    let n = x.shape().first().copied().unwrap_or(0);
    if n == 0 || x.shape()[1..].iter().product::<usize>() != c_in {
        let message = format!("weight {:?} expects {c_in} input features, got x {:?}", w.shape(), x.shape());
        return Err(Error::shape("linear", message));
    }
    let (backend, x_tensor) = (tape.backend(), x.tensor()?);
    let y = Tensor::build(&backend, &[n, c_out], |y| {
        let g = Gemm { m: n, n: c_out, k: c_in, ..Gemm::default() };
        backend.gemm(&g, 1.0, x_tensor.buffer(), w.buffer(), 0.0, y)?;
        backend.add_bias(&Rows { rows: n, channels: c_out }, b.buffer(), y)
    })?;
    let site = Some(tape.add_site(site, LayerKind::Linear)?);
    tape.record("linear", &[x], &[weight, bias], site, y, Rule { x: x_tensor, w, n })
}

/// Keeps x for dw and w for dx.
struct Rule<B: Backend> {
    x: Tensor<B>,
    w: Tensor<B>,
    n: usize,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { x, w, n } = *self;
        let Rows { rows: c_in, channels: c_out } = Rows::new("linear", w.shape())?;
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let backend = dy.backend().clone();
        // dw = xᵀ · dy
        let dw = Tensor::build(&backend, w.shape(), |dw| {
            let g = Gemm { m: c_in, n: c_out, k: n, transpose_a: true, ..Gemm::default() };
            backend.gemm(&g, 1.0, x.buffer(), dy.buffer(), 0.0, dw)
        })?;
        pass.parameter(0, Gradient::new(dw).scaled(scale))?;
        let db = Tensor::build(&backend, &[c_out], |db| {
            backend.sum_rows(&Rows { rows: n, channels: c_out }, dy.buffer(), db)
        })?;
        pass.parameter(1, Gradient::new(db).scaled(scale))?;
        if pass.needs(0) {
            // dx = dy · wᵀ
            let dx = Tensor::build(&backend, x.shape(), |dx| {
                let g = Gemm { m: n, n: c_in, k: c_out, transpose_b: true, ..Gemm::default() };
                backend.gemm(&g, 1.0, dy.buffer(), w.buffer(), 0.0, dx)
            })?;
            pass.give(0, Gradient::new(dx).scaled(scale))?;
        }
        Ok(())
    }
}
