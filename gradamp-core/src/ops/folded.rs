use std::sync::Arc;

use super::batch_norm::{BatchNorm, FusedRule, batch_norm_relu};
use super::conv2d::{Convolution, Input, Rule, backward_input, conv2d, recorded};
use super::normaliser::{Normaliser, Rectified};
use crate::folding::{Folding, Share};
use crate::geometry::Conv2d;
use crate::gradient::Sums;
use crate::tape::{Tape, Var};
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
    if tape.is_probed() || !tape.backend().folding().is_some_and(|folding| folding.folds(&g)) {
        let z = batch_norm_relu(tape, x, norm, None, bn_site, relu_site)?;
        return conv2d(tape, &z, layer, site);
    }
    let s = Arc::new(Normaliser::new(tape, x, norm)?);
    let sites = [tape.add_site(bn_site, LayerKind::BatchNorm)?, tape.add_site(relu_site, LayerKind::Relu)?];
    let parameters = [norm.gamma, norm.beta];
    let rule = FusedRule { s: s.clone(), y: None };
    let z = tape.record_unstored("batch_norm_relu", vec![x.id()], &parameters, &sites, rule);
    recorded(tape, z, Rule { g, x: Input::Folded(Rectified { s, z: None }), w }, layer, site)
}

impl<B: Backend> Rectified<B> {
    /// Hands the gradient of z upstream, from dy behind a convolution that reads it: with what other readers have handed, and with
    /// the batch norm's sums over it all.
    pub(super) fn give_through(
        &self,
        g: &Conv2d,
        w: Tensor<B>,
        dy: Tensor<B>,
        scale: f32,
        pass: &mut Pass<B>,
    ) -> Result<()> {
        let Some(others) = pass.take(0) else {
            let dz = self.gradient_through(g, &w, &dy, None)?;
            drop(dy);
            return pass.give(0, dz.scaled(scale));
        };
        // Alone it is computed only if a hook asks for its values.
        let alone = {
            let (g, w, dy) = (*g, w.clone(), dy.clone());
            Gradient::deferred(*self.s.x.shape(), None, move || backward_input(&g, &w, &dy))
        };
        let alone = pass.at_input(0, alone.scaled(scale))?;
        if !alone.is_deferred() {
            pass.share(0, others)?;
            return pass.share(0, alone);
        }
        let (scale, own) = (others.scale(), alone.scale());
        let values = others.into_unscaled()?;
        let share = Share { values: values.buffer(), scale, own };
        let dz = self.gradient_through(g, &w, &dy, Some(share))?;
        pass.share(0, dz)
    }

    /// The gradient of z, with the sums over it.
    fn gradient_through(
        &self,
        g: &Conv2d,
        w: &Tensor<B>,
        dy: &Tensor<B>,
        others: Option<Share<'_, B>>,
    ) -> Result<Gradient<B>> {
        let (z, w, dy) = (self.operands(), w.buffer(), dy.buffer());
        self.gradient(|folding, dz, [dgamma, dbeta]| {
            folding.conv2d_backward_input(g, &z, w, dy, others, dz, dgamma, dbeta)
        })
    }

    /// The gradient of z, with the sums over it, as a kernel gives them.
    pub(super) fn gradient(
        &self,
        kernel: impl FnOnce(&dyn Folding<B>, &mut B::Buffer, [&mut B::Buffer; 2]) -> Result<()>,
    ) -> Result<Gradient<B>> {
        let (backend, channels) = (self.s.x.backend(), self.s.g.channels);
        let mut sums = [backend.alloc(channels)?, backend.alloc(channels)?];
        let dz =
            Tensor::build(backend, self.s.x.shape(), |dz| kernel(folding(backend)?, dz, sums.each_mut()))?;
        let [dgamma, dbeta] = sums.map(|sum| Tensor::from_buffer(backend, &[channels], sum));
        Ok(Gradient::new(dz).with_sums(Sums { dgamma: dgamma?, dbeta: dbeta? }))
    }

    /// Shares from dy at z, whose sums are known; one for the residual, if there is one, with its own scale. dy's place is taken,
    /// unless somebody else has it.
    pub(super) fn backward_with_sums(
        &self,
        mut dy: Tensor<B>,
        sums: Sums<B>,
        scale: f32,
        residual_scale: Option<f32>,
        pass: &mut Pass<B>,
    ) -> Result<()> {
        let Sums { dgamma, dbeta } = sums;
        let backend = dy.backend().clone();
        let mut dx = self.z.as_ref().map(|_| backend.alloc(dy.elements())).transpose()?;
        let (z, known) = (self.operands(), [dgamma.buffer(), dbeta.buffer()]);
        let (rest, g) = (folding(&backend)?, &self.s.g);
        rest.batch_norm_relu_backward(g, &z, known[0], known[1], dy.buffer_mut()?, dx.as_mut())?;
        let dx = match dx {
            None => dy,
            Some(dx) => {
                let dx = Tensor::from_buffer(&backend, dy.shape(), dx)?;
                if let Some(scale) = residual_scale {
                    pass.share(1, Gradient::new(dy).scaled(scale))?;
                }
                dx
            }
        };
        pass.parameter(0, Gradient::new(dgamma).scaled(scale))?;
        pass.parameter(1, Gradient::new(dbeta).scaled(scale))?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

/// The backend's folding, which it has had before.
pub(super) fn folding<B: Backend>(backend: &B) -> Result<&dyn Folding<B>> {
    backend.folding().ok_or_else(|| Error::Backend {
        backend: backend.name(),
        message: "folds at one time and not at another".into(),
    })
}
