use std::sync::Arc;

use crate::tape::{BackwardRule, Tape, Var};
use crate::{Backend, Gradient, LayerKind, Pass, Result, Tensor};

/// y = max(x, 0), element by element.
///
/// **Shapes:** any.
pub fn relu<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    let backend = tape.backend();
    let y =
        Tensor::build(&backend, x.shape(), |y| backend.relu(x.tensor().elements(), x.tensor().buffer(), y))?;
    let site = tape.add_site(site, LayerKind::Relu)?;
    tape.record("relu", &[x], &[], &[site], y.clone(), Rule { y })
}

/// Keeps y rather than x: the next layer keeps it too, so it costs nothing.
struct Rule<B: Backend> {
    y: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dx = relu_backward(&self.y, &dy.into_unscaled()?)?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

/// dx = dy where y > 0, else 0.
pub(super) fn relu_backward<B: Backend>(y: &Tensor<B>, dy: &Tensor<B>) -> Result<Tensor<B>> {
    Tensor::build(y.backend(), y.shape(), |dx| {
        y.backend().relu_backward(y.elements(), y.buffer(), dy.buffer(), dx)
    })
}
