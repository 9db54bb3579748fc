use crate::geometry::Rows;
use crate::{Backend, BackwardRule, Error, Gradient, Pass, Result, Tape, Tensor, Var};

/// A batch's mean loss on the tape, and how many of its examples were right.
#[derive(Clone, Debug)]
pub struct Loss<B: Backend> {
    /// Where backward begins. Its tensor `[2]` holds the mean loss and the number of right examples.
    pub var: Var<B>,
}

impl<B: Backend> Loss<B> {
    /// Reads (mean loss, right examples) from the device.
    pub fn read(&self) -> Result<(f32, usize)> {
        let values = self.var.tensor()?.to_vec()?;
        Ok((values[0], values[1] as usize))
    }
}

/// The mean softmax cross-entropy of a batch against smoothed labels.
///
/// t_k = (1 − smoothing) · \[k = label\] + smoothing/K; loss = −1/n · Σ_rows Σ_k t_k · ln softmax(logits)_k
///
/// **Shapes:** logits `[n, K]`, labels `[n]` (class indices stored as f32).
/// **Errors:** shapes that do not fit; a smoothing outside [0, 1].
/// **Source:** PyTorch's `cross_entropy` with `label_smoothing`.
pub fn softmax_cross_entropy<B: Backend>(
    tape: &mut Tape<'_, B>,
    logits: &Var<B>,
    labels: &Tensor<B>,
    smoothing: f32,
) -> Result<Loss<B>> {
    const NAME: &str = "softmax_cross_entropy";
    let g = Rows::new(NAME, logits.shape())?;
    if labels.elements() != g.rows {
        let message = format!("labels {:?} do not fit logits {:?}", labels.shape(), logits.shape());
        return Err(Error::shape(NAME, message));
    }
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::setting(
            "label_smoothing",
            format!("expected a number in [0, 1], found {smoothing}"),
        ));
    }
    let (backend, x) = (tape.backend(), logits.tensor()?);
    let mut dlogits = backend.alloc(g.len())?;
    let out = Tensor::build(&backend, &[2], |out| {
        backend.softmax_cross_entropy(&g, smoothing, x.buffer(), labels.buffer(), out, &mut dlogits)
    })?;
    let dlogits = Tensor::from_buffer(&backend, logits.shape(), dlogits)?;
    Ok(Loss { var: tape.record(NAME, &[logits], &[], None, out, Rule { dlogits })? })
}

/// Keeps dlogits, which forward had in hand: the same pass computes both.
struct Rule<B: Backend> {
    dlogits: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        // Nearly always the pass begins here, at a gradient of ones, and no value need be read.
        let outer = if dy.is_ones() { dy.scale() } else { dy.values()?.to_vec()?[0] };
        pass.give(0, Gradient::new(self.dlogits).scaled(outer))
    }
}
