use std::sync::Arc;

use crate::{Backend, BackwardRule, Gradient, LayerKind, Pass, Result, Tape, Tensor, Var};

/// y = tanh(x), element by element. dx = (1 − y²) · dy.
///
/// **Shapes:** any.
pub fn tanh<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    record(tape, x, site, "tanh", LayerKind::Tanh, B::tanh, B::tanh_backward)
}

/// y = 1 / (1 + exp(−x)), element by element. dx = y · (1 − y) · dy, at most a quarter of dy.
///
/// **Shapes:** any.
pub fn sigmoid<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, site: &Arc<str>) -> Result<Var<B>> {
    record(tape, x, site, "sigmoid", LayerKind::Sigmoid, B::sigmoid, B::sigmoid_backward)
}

/// A kernel that computes y from x.
type Forward<B, Buffer> = fn(&B, usize, &Buffer, &mut Buffer) -> Result<()>;
/// A kernel that computes dx from y and dy.
type Backward<B, Buffer> = fn(&B, usize, &Buffer, &Buffer, &mut Buffer) -> Result<()>;

fn record<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    site: &Arc<str>,
    name: &'static str,
    kind: LayerKind,
    forward: Forward<B, B::Buffer>,
    backward: Backward<B, B::Buffer>,
) -> Result<Var<B>> {
    let (x_tensor, backend) = (x.tensor()?, tape.backend());
    let y =
        Tensor::build(&backend, x.shape(), |y| forward(&backend, x_tensor.elements(), x_tensor.buffer(), y))?;
    drop(x_tensor);
    let site = Some(tape.add_site(site, kind)?);
    tape.record(name, &[x], &[], site, y.clone(), Rule { y, backward })
}

/// Keeps y rather than x: the next layer keeps it too, so it costs no memory.
struct Rule<B: Backend> {
    y: Tensor<B>,
    backward: Backward<B, B::Buffer>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let (y, scale) = (&self.y, dy.scale());
        let dy = dy.into_unscaled()?;
        let dx = Tensor::build(y.backend(), y.shape(), |dx| {
            (self.backward)(y.backend(), y.elements(), y.buffer(), dy.buffer(), dx)
        })?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}
