use std::sync::Arc;

use crate::fusion::{GradientRecipe, MaskedGradient, Recipe, Value, relu_backward};
use crate::{Backend, BackwardRule, Gradient, LayerKind, Pass, Result, Shape, Tape, Tensor, Var};

/// y = max(x, 0), element by element.
///
/// **Shapes:** any.
pub fn relu<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    let y = if let Some(norm) = x.value().batch_norm() {
        Value::lazy(Shape::new(x.shape())?, Recipe::BatchNormRelu(norm))
    } else if let Some((norm, residual)) = x.value().batch_norm_sum() {
        Value::rectified_sum(norm, &residual)?
    } else {
        let (x, backend) = (x.tensor()?, tape.backend());
        Value::computed(Tensor::build(&backend, x.shape(), |y| backend.relu(x.elements(), x.buffer(), y))?)
    };
    let site = Some(tape.add_site(site, LayerKind::Relu)?);
    tape.record_value("relu", &[x], &[], site, y, |y| Rule { y: y.clone() })
}

/// Keeps y rather than x. The next layer keeps y as well, so that it costs no memory.
struct Rule<B: Backend> {
    y: Arc<Value<B>>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let (shape, (dy, sums)) = (*dy.shape(), dy.into_unscaled_with_sums()?);
        let y = self.y;
        let dx = match y.rectified() {
            Some(rectified) => {
                let sums = sums.filter(|sums| sums.are_of(&rectified.norm));
                Gradient::lazy(shape, GradientRecipe::Masked(MaskedGradient { rectified, y, dy, sums }))
            }
            None => Gradient::new(relu_backward(&y.tensor()?, &dy)?),
        };
        pass.give(0, dx.scaled(scale))
    }
}
