use std::sync::Arc;

use gradamp_core::{Backend, BackwardRule, Gradient, LayerKind, Pass, Result, Tape, Tensor, Var};

/// A leaky rectifier: y = x if x > 0, otherwise slope · x. It is composed of kernels that every backend has:
///
/// y = (1 − slope) · relu(x) + slope · x
///
/// **Shapes:** x and y have the same shape, which may be any.
pub fn leaky_relu<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    slope: f32,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let (x_tensor, backend) = (x.tensor()?, tape.backend());
    let len = x_tensor.elements();
    let positive = Tensor::build(&backend, x.shape(), |y| backend.relu(len, x_tensor.buffer(), y))?;
    let y = blend(&positive, &x_tensor, slope)?;
    let site = Some(tape.add_site(site, LayerKind::Other)?);
    tape.record("leaky_relu", &[x], &[], site, y, Rule { positive, slope })
}

/// Keeps relu(x), because backward needs to know where x is above 0.
struct Rule<B: Backend> {
    positive: Tensor<B>,
    slope: f32,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let backend = dy.backend().clone();
        let masked = Tensor::build(&backend, dy.shape(), |dx| {
            backend.relu_backward(dy.elements(), self.positive.buffer(), dy.buffer(), dx)
        })?;
        let dx = blend(&masked, &dy, self.slope)?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

/// (1 − slope) · a + slope · b
fn blend<B: Backend>(a: &Tensor<B>, b: &Tensor<B>, slope: f32) -> Result<Tensor<B>> {
    let (backend, len) = (a.backend(), a.elements());
    Tensor::build(backend, a.shape(), |y| {
        backend.axpby(len, 1.0 - slope, a.buffer(), 0.0, y)?;
        backend.axpby(len, slope, b.buffer(), 1.0, y)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradamp_core::{Hooks, Parameters, Reference};

    #[test]
    fn the_slope_applies_below_zero_forward_and_backward() -> Result<()> {
        let backend = Reference;
        let mut parameters = Parameters::new(&backend, 0);
        let mut tape = Tape::train(&mut parameters);
        let x = tape.leaf(Tensor::from_slice(&backend, &[4], &[-2.0, -0.5, 0.5, 3.0])?);
        let y = leaky_relu(&mut tape, &x, 0.25, &"leaky".into())?;
        assert_eq!(y.tensor()?.to_vec()?, [-0.5, -0.125, 0.5, 3.0]);
        let gradients = tape.backward(&y, &Hooks::new())?; // the gradients of the sum of y
        assert_eq!(gradients.leaf(&x).unwrap().values()?.to_vec()?, [0.25, 0.25, 1.0, 1.0]);
        Ok(())
    }
}
