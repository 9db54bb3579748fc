use std::sync::Arc;

use super::batch_norm::{BatchNorm, FusedRule, Output, batch_norm_relu};
use super::conv2d::{Convolution, Input, Rule, conv2d, recorded};
use super::normaliser::Normaliser;
use crate::folding::{Folded, Folding};
use crate::geometry::Conv2d;
use crate::tape::{Mode, Tape, Var};
use crate::{Backend, Error, Gradient, LayerKind, Pass, Result, Tensor};

/// y = conv2d(relu(batch_norm(x)), weight) + bias, with all three sites. Where the backend folds ([`Backend::folding`]), the
/// convolution reads x, and what it convolves is stored nowhere: for a value that nobody else reads.
///
/// **Shapes:** x `[n, h, w, c_in]`, y `[n, h_out, w_out, c_out]`.
/// **Errors:** as [`super::batch_norm`] and [`conv2d`].
pub fn batch_norm_relu_conv2d<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    (norm, bn_site, relu_site): (&BatchNorm, &Arc<str>, &Arc<str>),
    (layer, site): (&Convolution, &Arc<str>),
) -> Result<Var<B>> {
    let w = tape.parameter(layer.weight);
    let g = Conv2d::new(x.shape(), w.shape(), layer.stride, layer.padding)?;
    if tape.is_probed() || tape.backend().folding(&g).is_none() {
        let z = batch_norm_relu(tape, x, norm, None, bn_site, relu_site)?;
        return conv2d(tape, &z, layer, site);
    }
    let s = Arc::new(Normaliser::new(tape, x, norm)?);
    let sites = [tape.add_site(bn_site, LayerKind::BatchNorm)?, tape.add_site(relu_site, LayerKind::Relu)?];
    let parameters = [norm.gamma, norm.beta];
    let rule = FusedRule { s: s.clone(), y: Output::Folded(g) };
    let z = tape.record_unstored("batch_norm_relu", vec![x.id()], &parameters, &sites, rule);
    recorded(tape, z, Rule { g, x: Input::Folded(s), w }, layer, site)
}

impl<B: Backend> Normaliser<B> {
    /// relu(batch_norm(x)), unstored.
    pub(super) fn folded(&self) -> Folded<'_, B> {
        Folded { x: self.x.buffer(), p: self.operands() }
    }

    /// The gradient at relu(batch_norm(x)) from dy behind the convolution that folds it; in training mode with the sums over it.
    pub(super) fn gradient_through(&self, g: &Conv2d, w: &Tensor<B>, dy: &Tensor<B>) -> Result<Gradient<B>> {
        let backend = dy.backend();
        if self.mode == Mode::Evaluate {
            let dz = Tensor::build(backend, &g.x_shape(), |dz| {
                backend.conv2d_backward_input(g, w.buffer(), dy.buffer(), dz)
            })?;
            return Ok(Gradient::new(dz));
        }
        let (mut dgamma, mut dbeta) = (backend.alloc(g.c_in)?, backend.alloc(g.c_in)?);
        let dz = Tensor::build(backend, &g.x_shape(), |dz| {
            let (w, dy, sums) = (w.buffer(), dy.buffer(), [&mut dgamma, &mut dbeta]);
            let [dgamma, dbeta] = sums;
            folding(backend, g)?.conv2d_backward_input(g, &self.folded(), w, dy, dz, dgamma, dbeta)
        })?;
        let wrap = |buffer| Tensor::from_buffer(backend, &[g.c_in], buffer);
        Ok(Gradient::new(dz).with_sums([wrap(dgamma)?, wrap(dbeta)?]))
    }

    /// Shares from dy at the output of the rectifier behind the batch norm, whose sums are known: dgamma and dbeta. dx takes dy's
    /// place, unless somebody else has it.
    pub(super) fn backward_with_sums(
        &self,
        g: &Conv2d,
        mut dy: Tensor<B>,
        [dgamma, dbeta]: [Tensor<B>; 2],
        scale: f32,
        pass: &mut Pass<B>,
    ) -> Result<()> {
        let (folding, sums) = (folding(self.x.backend(), g)?, (dgamma.buffer(), dbeta.buffer()));
        folding.batch_norm_relu_backward(g, &self.folded(), sums.0, sums.1, dy.buffer_mut()?)?;
        pass.parameter(0, Gradient::new(dgamma).scaled(scale))?;
        pass.parameter(1, Gradient::new(dbeta).scaled(scale))?;
        pass.give(0, Gradient::new(dy).scaled(scale))
    }
}

/// The backend's folding, which has folded this convolution before.
pub(super) fn folding<'a, B: Backend>(backend: &'a B, g: &Conv2d) -> Result<&'a dyn Folding<B>> {
    backend.folding(g).ok_or_else(|| Error::Backend {
        backend: backend.name(),
        message: format!("folds {g:?} at one time and not at another"),
    })
}
