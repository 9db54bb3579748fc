use std::sync::Arc;

use crate::geometry::Conv2d;
use crate::tape::{BackwardRule, Tape, Var};
use crate::{Backend, Gradient, LayerKind, ParameterId, Pass, Result, Tensor};

/// y = conv2d(x, weight) + bias; see [`Conv2d`].
///
/// **Shapes:** x `[n, h, w, c_in]`, weight `[kh, kw, c_in, c_out]`, bias `[c_out]`, y `[n, h_out, w_out, c_out]`.
/// **Errors:** shapes that do not fit.
pub fn conv2d<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    weight: ParameterId,
    bias: Option<ParameterId>,
    stride: usize,
    padding: usize,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let (w, b) = (tape.parameter(weight), bias.map(|bias| tape.parameter(bias)));
    let g = Conv2d::new(x.shape(), w.shape(), stride, padding)?;
    let backend = tape.backend();
    let y = Tensor::build(&backend, &g.y_shape(), |y| {
        backend.conv2d(&g, x.tensor().buffer(), w.buffer(), b.as_ref().map(Tensor::buffer), y)
    })?;
    let parameters: Vec<_> = [weight].into_iter().chain(bias).collect();
    let site = tape.add_site(site, LayerKind::Conv)?;
    tape.record("conv2d", &[x], &parameters, &[site], y, Rule { g, x: x.tensor().clone(), w })
}

/// Keeps x for dw and w for dx; y is of no use.
struct Rule<B: Backend> {
    g: Conv2d,
    x: Tensor<B>,
    w: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { g, x, w } = *self;
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let backend = dy.backend().clone();
        let dw = Tensor::build(&backend, &g.w_shape(), |dw| {
            backend.conv2d_backward_weight(&g, x.buffer(), dy.buffer(), dw)
        })?;
        drop(x);
        pass.parameter(0, Gradient::new(dw).scaled(scale))?;
        if pass.parameters() > 1 {
            let db =
                Tensor::build(&backend, &[g.c_out], |db| backend.sum_rows(&g.y_rows(), dy.buffer(), db))?;
            pass.parameter(1, Gradient::new(db).scaled(scale))?;
        }
        if pass.needs(0) {
            let dx = Tensor::build(&backend, &g.x_shape(), |dx| {
                backend.conv2d_backward_input(&g, w.buffer(), dy.buffer(), dx)
            })?;
            drop(dy);
            pass.give(0, Gradient::new(dx).scaled(scale))?;
        }
        Ok(())
    }
}
