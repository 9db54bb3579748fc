use crate::{Backend, BackwardRule, Error, Gradient, Pass, Result, Tape, Tensor, Var};

/// Loss scaling: y = x, whose gradient goes on as values `scale` times as large and a lazy scalar of 1/scale.
///
/// Below, a device that stores gradients in half precision keeps small ones from vanishing, while hooks and the
/// optimiser meet the same gradients as ever, to the last bit where `scale` is a power of two. Glue, not a layer: it has
/// no site. It stands between the logits and the loss.
///
/// **Shapes:** any.
/// **Errors:** a scale that is not above 0 and finite.
/// **Source:** Micikevicius et al., *Mixed Precision Training*, section 3.2.
pub fn loss_scale<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, scale: f32) -> Result<Var<B>> {
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(Error::setting("loss_scale", format!("expected a number above 0, found {scale}")));
    }
    tape.record("loss_scale", &[x], &[], None, x.tensor()?, Rule { scale })
}

/// Keeps the factor.
struct Rule {
    scale: f32,
}

impl<B: Backend> BackwardRule<B> for Rule {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let values = dy.unscaled()?;
        let backend = values.backend();
        let dx = Tensor::build(backend, dy.shape(), |dx| {
            backend.axpby(values.elements(), self.scale, values.buffer(), 0.0, dx)
        })?;
        pass.give(0, Gradient::new(dx).scaled(dy.scale() / self.scale))
    }
}
