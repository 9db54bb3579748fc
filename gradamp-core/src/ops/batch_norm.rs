use std::sync::Arc;

use super::normaliser::{Normaliser, Rectified};
use super::relu::relu_backward;
use super::{add, relu};
use crate::tape::{BackwardRule, Known, Mode, Tape, Var};
use crate::{Backend, Error, Gradient, LayerKind, ParameterId, Pass, Result, Tensor};

/// The parameters and settings of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Scale, `[c]`.
    pub gamma: ParameterId,
    /// Shift, `[c]`.
    pub beta: ParameterId,
    /// Running mean, `[c]`.
    pub running_mean: ParameterId,
    /// Running variance (unbiased), `[c]`.
    pub running_variance: ParameterId,
    /// Which counter of training batches is its own.
    pub counter: usize,
    /// Added to the variance under the root.
    pub epsilon: f32,
    /// Share of the new batch in the running statistics.
    pub momentum: f32,
}

/// y = (x − mean) / sqrt(variance + epsilon) · gamma + beta, channel by channel.
///
/// In training mode mean and (biased) variance are the batch's, and the running ones move towards them by `momentum`
/// (the running variance towards the unbiased one); in evaluation mode they are the running ones.
///
/// **Shapes:** x and y `[.., c]`.
/// **Errors:** another number of channels; a single value per channel in training mode.
/// **Source:** Ioffe, Szegedy, "Batch Normalization", 2015; running statistics as in PyTorch.
pub fn batch_norm<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &BatchNorm,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let s = Normaliser::new(tape, x, layer)?;
    let y = Tensor::build(x.tensor().backend(), x.shape(), |y| {
        x.tensor().backend().batch_norm(&s.g, &s.operands(), s.x.buffer(), y)
    })?;
    let site = tape.add_site(site, LayerKind::BatchNorm)?;
    tape.record("batch_norm", &[x], &[layer.gamma, layer.beta], &[site], y, Rule { s })
}

/// Backward of [`batch_norm`]; all it keeps is in the normaliser.
struct Rule<B: Backend> {
    s: Normaliser<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        self.s.backward(&dy, scale, pass)
    }
}

/// y = relu(batch_norm(x) + residual) in one pass, with both sites: `bn_site` before the sum, `relu_site` after it.
///
/// **Shapes:** x, residual and y `[.., c]`.
/// **Errors:** as [`batch_norm`]; a residual of another shape.
pub fn batch_norm_relu<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &BatchNorm,
    residual: Option<&Var<B>>,
    bn_site: &Arc<str>,
    relu_site: &Arc<str>,
) -> Result<Var<B>> {
    if tape.is_probed() {
        let mut z = batch_norm(tape, x, layer, bn_site)?;
        if let Some(residual) = residual {
            z = add(tape, &z, residual)?;
        }
        return relu(tape, &z, relu_site);
    }
    if let Some(residual) = residual
        && residual.shape() != x.shape()
    {
        let message = format!("x {:?} and residual {:?} differ", x.shape(), residual.shape());
        return Err(Error::shape("batch_norm_relu", message));
    }
    let s = Arc::new(Normaliser::new(tape, x, layer)?);
    let y = s.rectify(residual.map(Var::tensor))?;
    let sites = [tape.add_site(bn_site, LayerKind::BatchNorm)?, tape.add_site(relu_site, LayerKind::Relu)?];
    let inputs: Vec<_> = [x].into_iter().chain(residual).collect();
    let known = match tape.mode() {
        Mode::Train => Known::Rectified(Rectified { s: s.clone(), z: residual.map(|_| y.clone()) }),
        Mode::Evaluate => Known::Nothing, // there are no sums over the batch
    };
    let rule = FusedRule { s, y: Some(y.clone()) };
    let y = tape.record("batch_norm_relu", &inputs, &[layer.gamma, layer.beta], &sites, y, rule)?;
    Ok(y.knowing(known))
}

/// Backward of [`batch_norm_relu`]. Keeps y for the rectifier's mask: the next layer keeps it too. A convolution that folds it has
/// written it nowhere; it is computed again if a hook asks for values.
pub(super) struct FusedRule<B: Backend> {
    pub(super) s: Arc<Normaliser<B>>,
    pub(super) y: Option<Tensor<B>>,
}

impl<B: Backend> BackwardRule<B> for FusedRule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { s, y } = *self;
        let has_residual = pass.inputs() > 1 && pass.needs(1);
        let (scale, sums) = (dy.scale(), dy.sums().cloned());
        let dy = dy.into_unscaled()?;
        // dz = dy where y > 0: the gradient of the sum under the rectifier, on its way to the residual and to the batch norm.
        // Computed here only if a hook asks for its values, for the batch norm's own kernel masks dy as it reads it.
        let dz = |known: Option<Tensor<B>>| {
            let (s, y, dy) = (s.clone(), y.clone(), dy.clone());
            Gradient::deferred(*dy.shape(), known, move || relu_backward(&s.rectified(y.as_ref())?, &dy))
        };
        let sum = pass.at_input(1, dz(None).scaled(scale))?;
        let residual_scale = sum.scale();
        let kept = sum.is_deferred();
        let seen = sum.into_computed()?;
        let inner = match seen.clone() {
            Some(replaced) if !kept => Gradient::new(replaced),
            known => dz(known),
        };
        let inner = pass.at_output(0, inner.scaled(residual_scale))?;
        let scale = inner.scale();
        if kept && inner.is_deferred() {
            drop(inner); // it shares dy
            let residual_scale = has_residual.then_some(residual_scale);
            return match sums {
                Some(sums) => {
                    let z = y.filter(|_| pass.inputs() > 1);
                    Rectified { s, z }.backward_with_sums(dy, sums, scale, residual_scale, pass)
                }
                None => s.backward_masked(&s.rectified(y.as_ref())?, &dy, scale, residual_scale, pass),
            };
        }
        if has_residual {
            let share = match seen {
                Some(dz) => dz,
                None => relu_backward(&s.rectified(y.as_ref())?, &dy)?,
            };
            pass.share(1, Gradient::new(share).scaled(residual_scale))?;
        }
        s.backward(&inner.into_unscaled()?, scale, pass)
    }
}
