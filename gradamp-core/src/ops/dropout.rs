use crate::geometry;
use crate::random::{Purpose, Stream};
use crate::{Backend, BackwardRule, Gradient, Mode, Pass, Result, Tape, Tensor, Var};

/// Drops each element with the probability `p`, and multiplies the others by 1 / (1 − p). In evaluation y = x.
///
/// dx = dy · mask. The mask is not kept: backward draws it again.
///
/// **Shapes:** any.
///
/// **Errors:** a probability outside [0, 1); a tape without [randomness](Tape::with_random), in training.
///
/// **Source:** N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: A Simple Way to Prevent Neural
/// Networks from Overfitting", JMLR 2014; PyTorch's `torch.nn.Dropout`.
pub fn dropout<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, p: f32) -> Result<Var<B>> {
    drop_groups(tape, x, p, 1)
}

/// Drops each example as a whole with the probability `p`, and multiplies the others by 1 / (1 − p): the branch of a residual block
/// in stochastic depth. In evaluation y = x.
///
/// **Shapes:** x `[n, ..]`, y as x.
///
/// **Errors:** those of [`dropout`].
///
/// **Source:** G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016.
pub fn drop_examples<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, p: f32) -> Result<Var<B>> {
    let group = x.shape().iter().skip(1).product();
    drop_groups(tape, x, p, group)
}

fn drop_groups<B: Backend>(tape: &mut Tape<'_, B>, x: &Var<B>, p: f32, group: usize) -> Result<Var<B>> {
    let g = geometry::Dropout::new(x.shape().iter().product(), group, p)?;
    if tape.mode() == Mode::Evaluate || p == 0.0 {
        return Ok(x.clone());
    }
    let stream = tape.random(Purpose::Forward)?;
    let y = apply(&g, stream, &x.tensor()?)?;
    tape.record("dropout", &[x], &[], None, y, Rule { g, stream })
}

struct Rule {
    g: geometry::Dropout,
    stream: Stream,
}

impl<B: Backend> BackwardRule<B> for Rule {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let scale = dy.scale();
        let dx = apply(&self.g, self.stream, &dy.into_unscaled()?)?;
        pass.give(0, Gradient::new(dx).scaled(scale))
    }
}

fn apply<B: Backend>(g: &geometry::Dropout, stream: Stream, x: &Tensor<B>) -> Result<Tensor<B>> {
    Tensor::build(x.backend(), x.shape(), |y| x.backend().dropout(g, stream, x.buffer(), y))
}
