use crate::geometry::{Gemm, Rows};
use crate::{Backend, BackwardRule, Error, Gradient, Pass, Result, Tape, Tensor, Var};

/// A batch's mean loss, and the number of its examples that are classified correctly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loss<B: Backend> {
    /// The mean loss `[]`. Backward begins with this value.
    pub mean: Var<B>,
    /// The number of correct examples `[]`. It is not on the tape. `None` for a loss without classes.
    pub correct: Option<Tensor<B>>,
}

impl<B: Backend> Loss<B> {
    /// A loss without classes, for objectives from outside.
    pub fn of(mean: Var<B>) -> Self {
        Self { mean, correct: None }
    }

    /// The same loss, with the number of correct examples `[]`.
    #[must_use]
    pub fn with_correct(self, correct: Tensor<B>) -> Self {
        Self { correct: Some(correct), ..self }
    }

    /// Reads (mean loss, correct examples) from the device. A loss without classes has 0 correct examples.
    pub fn read(&self) -> Result<(f32, usize)> {
        let mean = self.mean.tensor()?;
        let both = [Some(&mean), self.correct.as_ref()].into_iter().flatten();
        let sources: Vec<_> = both.map(|tensor| (tensor.buffer(), 1)).collect();
        let values = mean.backend().read_all(&sources)?.concat();
        Ok((values[0], values.get(1).map_or(0, |correct| *correct as usize)))
    }
}

/// The mean softmax cross-entropy of a batch, against class indices or against shares of classes.
///
/// t_k = (1 − smoothing) · \[k = label\] + smoothing/K; loss = −1/n · Σ_rows Σ_k t_k · ln softmax(logits)_k
///
/// Against shares that sum to T in a row: t_k = (1 − smoothing) · share_k + smoothing · T/K. A row is correct if its largest logit is
/// where the label or the largest share is.
///
/// **Shapes:** logits `[n, K]`; labels `[n]` (class indices stored as f32) or `[n, K]` (shares).
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
    let are_shares = match **labels.shape() {
        [rows] if rows == g.rows => false,
        [rows, classes] if rows == g.rows && classes == g.channels => true,
        _ => {
            let message = format!("labels {:?} do not fit logits {:?}", labels.shape(), logits.shape());
            return Err(Error::shape(NAME, message));
        }
    };
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
        let (logits, labels) = (x.buffer(), labels.buffer());
        match are_shares {
            true => {
                backend.soft_cross_entropy(&g, smoothing, logits, labels, mean, &mut correct, &mut dlogits)
            }
            false => {
                backend.softmax_cross_entropy(&g, smoothing, logits, labels, mean, &mut correct, &mut dlogits)
            }
        }
    })?;
    let gradient = Tensor::from_buffer(&backend, logits.shape(), dlogits)?;
    let mean = tape.record(NAME, &[logits], &[], None, mean, Rule { gradient })?;
    Ok(Loss::of(mean).with_correct(Tensor::from_buffer(&backend, &[], correct)?))
}

/// The mean squared error over all elements of a batch.
///
/// loss = 1/N · Σ_i (y_i − target_i)²; dy_i = 2/N · (y_i − target_i)
///
/// **Shapes:** y and targets of the same N elements.
/// **Errors:** unequal numbers of elements, or none.
/// **Source:** PyTorch's `mse_loss`.
pub fn squared_error<B: Backend>(tape: &mut Tape<'_, B>, y: &Var<B>, targets: &Tensor<B>) -> Result<Loss<B>> {
    const NAME: &str = "squared_error";
    let elements = targets.elements();
    if elements == 0 || y.shape().iter().product::<usize>() != elements {
        let message = format!("targets {:?} do not fit an output {:?}", targets.shape(), y.shape());
        return Err(Error::shape(NAME, message));
    }
    let (backend, x) = (tape.backend(), y.tensor()?);
    let difference = Tensor::build(&backend, y.shape(), |out| {
        backend.axpby(elements, 1.0, targets.buffer(), 0.0, out)?;
        backend.axpby(elements, 1.0, x.buffer(), -1.0, out)
    })?;
    let mean = Tensor::build(&backend, &[], |mean| {
        let g = Gemm { m: 1, n: 1, k: elements, ..Gemm::default() };
        let (row, column) = (difference.buffer(), difference.buffer());
        backend.gemm(&g, 1.0 / elements as f32, row, column, 0.0, mean)
    })?;
    let gradient = Tensor::build(&backend, y.shape(), |out| {
        backend.axpby(elements, 2.0 / elements as f32, difference.buffer(), 0.0, out)
    })?;
    Ok(Loss::of(tape.record(NAME, &[y], &[], None, mean, Rule { gradient })?))
}

/// Keeps the gradient of the loss, which is known once the loss is.
struct Rule<B: Backend> {
    gradient: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        // A pass that begins here has a gradient of ones: its scale is known without reading a value from the device.
        let outer = if dy.is_ones() { dy.scale() } else { dy.values()?.to_vec()?[0] };
        pass.give(0, Gradient::new(self.gradient).scaled(outer))
    }
}
