use std::sync::Arc;

use crate::geometry::Conv2d;
use crate::tape::{BackwardRule, Mode, Tape, Var};
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
    recorded(tape, x, (weight, bias), (stride, padding), site, false)
}

/// As [`conv2d`], for a batch norm behind it: in training mode the batch's mean and variance of each channel are found
/// while y is written, where the backend can, and go with the value. What [`super::batch_norm`] computes stays the same.
///
/// **Shapes:** as [`conv2d`].
/// **Errors:** as [`conv2d`].
pub fn conv2d_with_moments<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    weight: ParameterId,
    bias: Option<ParameterId>,
    stride: usize,
    padding: usize,
    site: &Arc<str>,
) -> Result<Var<B>> {
    recorded(tape, x, (weight, bias), (stride, padding), site, true)
}

fn recorded<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    (weight, bias): (ParameterId, Option<ParameterId>),
    (stride, padding): (usize, usize),
    site: &Arc<str>,
    with_moments: bool,
) -> Result<Var<B>> {
    let (w, b) = (tape.parameter(weight), bias.map(|bias| tape.parameter(bias)));
    let g = Conv2d::new(x.shape(), w.shape(), stride, padding)?;
    let backend = tape.backend();
    let (from, b) = (x.tensor().buffer(), b.as_ref().map(Tensor::buffer));
    let mut moments = None;
    let y = Tensor::build(&backend, &g.y_shape(), |y| {
        if !with_moments || tape.mode() == Mode::Evaluate {
            return backend.conv2d(&g, from, w.buffer(), b, y);
        }
        let (mut mean, mut variance) = (backend.alloc(g.c_out)?, backend.alloc(g.c_out)?);
        backend.conv2d_with_moments(&g, from, w.buffer(), b, y, &mut mean, &mut variance)?;
        let wrap = |buffer| Tensor::from_buffer(&backend, &[g.c_out], buffer);
        moments = Some([wrap(mean)?, wrap(variance)?]);
        Ok(())
    })?;
    let parameters: Vec<_> = [weight].into_iter().chain(bias).collect();
    let site = tape.add_site(site, LayerKind::Conv)?;
    let y = tape.record("conv2d", &[x], &parameters, &[site], y, Rule { g, x: x.tensor().clone(), w })?;
    Ok(y.with_moments(moments))
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
