use crate::tape::{BackwardRule, Tape, Var};
use crate::{Backend, Error, Gradient, Pass, Result, Tensor};

/// y = a + b: where two branches meet. Glue, not a layer: it has no site.
///
/// **Shapes:** equal.
/// **Errors:** unequal shapes.
pub fn add<B: Backend>(tape: &mut Tape<'_, B>, a: &Var<B>, b: &Var<B>) -> Result<Var<B>> {
    if a.shape() != b.shape() {
        return Err(Error::shape("add", format!("a {:?} and b {:?} differ", a.shape(), b.shape())));
    }
    let backend = tape.backend();
    let elements = a.tensor().elements();
    let y = Tensor::build(&backend, a.shape(), |y| {
        backend.axpby(elements, 1.0, a.tensor().buffer(), 0.0, y)?;
        backend.axpby(elements, 1.0, b.tensor().buffer(), 1.0, y)
    })?;
    tape.record("add", &[a, b], &[], &[], y, Rule)
}

/// Keeps nothing: both branches get dy.
struct Rule;

impl<B: Backend> BackwardRule<B> for Rule {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        pass.give(0, Gradient::new(dy.clone()).scaled(scale))?;
        pass.give(1, Gradient::new(dy).scaled(scale))
    }
}
