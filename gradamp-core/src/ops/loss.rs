use crate::geometry::Rows;
use crate::{Backend, BackwardRule, Error, Gradient, Pass, Result, Tape, Tensor, Var};

/// A batch's mean loss, and the number of its examples that are classified correctly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss<B: Backend> {
    /// The mean loss `[]`. Backward begins with this value.
    pub mean: Var<B>,
    /// The number of correct examples `[]`. It is not on the tape.
    pub correct: Tensor<B>,
}

impl<B: Backend> Loss<B> {
    /// Reads (mean loss, correct examples) from the device.
    pub fn read(&self) -> Result<(f32, usize)> {
        let mean = self.mean.tensor()?;
        let sources = [&mean, &self.correct].map(|tensor| (tensor.buffer(), 1));
        let values = mean.backend().read_all(&sources)?.concat();
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
    let mut dlogits = backend.allocate(g.len())?;
    let mut correct = backend.allocate(1)?;
    let mean = Tensor::build(&backend, &[], |mean| {
        backend.softmax_cross_entropy(
            &g,
            smoothing,
            x.buffer(),
            labels.buffer(),
            mean,
            &mut correct,
            &mut dlogits,
        )
    })?;
    let dlogits = Tensor::from_buffer(&backend, logits.shape(), dlogits)?;
    let mean = tape.record(NAME, &[logits], &[], None, mean, Rule { dlogits })?;
    Ok(Loss { mean, correct: Tensor::from_buffer(&backend, &[], correct)? })
}

/// Keeps dlogits, which the forward kernel computes together with the loss.
struct Rule<B: Backend> {
    dlogits: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        // A pass that begins here has a gradient of ones: its scale is known without reading a value from the device.
        let outer = if dy.is_ones() { dy.scale() } else { dy.values()?.to_vec()?[0] };
        pass.give(0, Gradient::new(self.dlogits).scaled(outer))
    }
}
