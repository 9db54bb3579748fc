use std::sync::Arc;

use super::folded::folding;
use super::normaliser::Rectified;
use crate::geometry::Conv2d;
use crate::tape::{BackwardRule, Known, Mode, Tape, Var};
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
    let w = tape.parameter(layer.weight);
    let g = Conv2d::new(x.shape(), w.shape(), layer.stride, layer.padding)?;
    let z = match x.known() {
        Known::Rectified(z) if tape.backend().folding().is_some_and(|folding| folding.folds(&g)) => {
            Some(z.clone())
        }
        _ => None,
    };
    recorded(tape, x.id(), Rule { g, x: Input::Stored(x.tensor().clone(), z), w }, layer, site)
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
            (Input::Folded(z), moments) => folding(&backend)?.conv2d(&g, &z.operands(), w, bias, y, moments),
            (Input::Stored(x, _), None) => backend.conv2d(&g, x.buffer(), w, bias, y),
            (Input::Stored(x, _), Some([mean, variance])) => {
                backend.conv2d_with_moments(&g, x.buffer(), w, bias, y, mean, variance)
            }
        }
    })?;
    let known = match moments {
        Some(both) => {
            let [mean, variance] = both.map(|buffer| Tensor::from_buffer(&backend, &[g.c_out], buffer));
            Known::Moments([mean?, variance?])
        }
        None => Known::Nothing,
    };
    let parameters: Vec<_> = [layer.weight].into_iter().chain(layer.bias).collect();
    let site = tape.add_site(site, LayerKind::Conv)?;
    let y = tape.record_from("conv2d", vec![x], &parameters, &[site], y, rule)?;
    Ok(y.knowing(known))
}

/// What a convolution reads: a tensor, perhaps a rectified batch norm; or what such a one is computed from.
pub(super) enum Input<B: Backend> {
    Stored(Tensor<B>, Option<Rectified<B>>),
    Folded(Rectified<B>),
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
            Input::Stored(x, z) => (x, z),
            Input::Folded(z) => (z.s.rectify(None)?, Some(z)),
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
        if !pass.needs(0) {
            return Ok(());
        }
        match z {
            Some(z) if z.s.mode == Mode::Train => z.give_through(&g, w, dy, scale, pass),
            _ => {
                let dx = backward_input(&g, &w, &dy)?;
                drop(dy);
                pass.give(0, Gradient::new(dx).scaled(scale))
            }
        }
    }
}

/// The input gradient.
pub(super) fn backward_input<B: Backend>(g: &Conv2d, w: &Tensor<B>, dy: &Tensor<B>) -> Result<Tensor<B>> {
    let backend = dy.backend();
    Tensor::build(backend, &g.x_shape(), |dx| backend.conv2d_backward_input(g, w.buffer(), dy.buffer(), dx))
}
