use crate::{Backend, BackwardRule, Error, Gradient, Pass, Result, Tape, Tensor, Var};

/// Loss scaling, an operation between the logits and the loss: y = x. In backward, the gradient's values are multiplied by `scale`, and
/// its scalar by 1/scale.
///
/// Upstream, small gradients then do not vanish on a device that computes in half precision. Hooks and the optimiser see the same
/// gradients as without scaling, to the last bit if `scale` is a power of two. The operation is no layer and has no site.
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
