use std::sync::Arc;

use super::folded::folding;
use super::normaliser::Normaliser;
use crate::geometry::Conv2d;
use crate::tape::{BackwardRule, Mode, Tape, Var};
use crate::{Backend, Gradient, LayerKind, ParameterId, Pass, Result, Tensor};

/// The parameters and settings of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// The kernel, `[kh, kw, c_in, c_out]`.
    pub weight: ParameterId,
    /// Added to each channel, `[c_out]`.
    pub bias: Option<ParameterId>,
    /// From one window to the next, in pixels.
    pub stride: usize,
    /// Pixels of zeros on every side.
    pub padding: usize,
    /// Whether a batch norm follows: in training mode the batch's mean and variance of each channel are then found while y is
    /// written, where the backend can, and go with the value. What [`super::batch_norm`] computes stays the same.
    pub before_batch_norm: bool,
}

/// y = conv2d(x, weight) + bias; see [`Conv2d`].
///
/// **Shapes:** x `[n, h, w, c_in]`, y `[n, h_out, w_out, c_out]`.
/// **Errors:** shapes that do not fit.
pub fn conv2d<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &Convolution,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let x_id = x.id();
    let x = x.tensor().clone();
    let w = tape.parameter(layer.weight);
    let g = Conv2d::new(x.shape(), w.shape(), layer.stride, layer.padding)?;
    recorded(tape, x_id, Rule { g, x: Input::Stored(x), w }, layer, site)
}

/// Calls the kernel and records the operation.
pub(super) fn recorded<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: Option<usize>,
    rule: Rule<B>,
    layer: &Convolution,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let backend = tape.backend();
    let (g, bias) = (rule.g, layer.bias.map(|bias| tape.parameter(bias)));
    let mut moments = match layer.before_batch_norm && tape.mode() == Mode::Train {
        true => Some([backend.alloc(g.c_out)?, backend.alloc(g.c_out)?]),
        false => None,
    };
    let y = Tensor::build(&backend, &g.y_shape(), |y| {
        let (w, bias) = (rule.w.buffer(), bias.as_ref().map(Tensor::buffer));
        let moments = moments.as_mut().map(|[mean, variance]| [mean, variance]);
        match (&rule.x, moments) {
            (Input::Folded(z), moments) => {
                folding(&backend, &g)?.conv2d(&g, &z.folded(), w, bias, y, moments)
            }
            (Input::Stored(x), None) => backend.conv2d(&g, x.buffer(), w, bias, y),
            (Input::Stored(x), Some([mean, variance])) => {
                backend.conv2d_with_moments(&g, x.buffer(), w, bias, y, mean, variance)
            }
        }
    })?;
    let moments = match moments {
        Some(both) => {
            let [mean, variance] = both.map(|buffer| Tensor::from_buffer(&backend, &[g.c_out], buffer));
            Some([mean?, variance?])
        }
        None => None,
    };
    let parameters: Vec<_> = [layer.weight].into_iter().chain(layer.bias).collect();
    let site = tape.add_site(site, LayerKind::Conv)?;
    let y = tape.record_from("conv2d", vec![x], &parameters, &[site], y, rule)?;
    Ok(y.with_moments(moments))
}

/// What a convolution reads: a tensor, or what a rectified batch norm is computed from.
pub(super) enum Input<B: Backend> {
    Stored(Tensor<B>),
    Folded(Arc<Normaliser<B>>),
}

/// Keeps x for dw and w for dx; y is of no use.
pub(super) struct Rule<B: Backend> {
    pub(super) g: Conv2d,
    pub(super) x: Input<B>,
    pub(super) w: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { g, x, w } = *self;
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let backend = dy.backend().clone();
        let (x, z) = match x {
            Input::Stored(x) => (x, None),
            Input::Folded(z) => (z.rectify(None)?, Some(z)),
        };
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
            let dx = match z {
                Some(z) => z.gradient_through(&g, &w, &dy)?,
                None => Gradient::new(Tensor::build(&backend, &g.x_shape(), |dx| {
                    backend.conv2d_backward_input(&g, w.buffer(), dy.buffer(), dx)
                })?),
            };
            drop(dy);
            pass.give(0, dx.scaled(scale))?;
        }
        Ok(())
    }
}
