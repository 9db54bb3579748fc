//! What a training minimises: the loss of a batch, and what is done to the batch before.
//!
//! ```
//! use gradamp_core::objective::{CrossEntropy, Mixing, Objective};
//! use gradamp_core::prelude::*;
//! use gradamp_core::{Parameters, Reference, Tape, Tensor};
//!
//! let mixing = Mixing::default().with_mixup(0.2);
//! let objective = CrossEntropy::default().with_label_smoothing(0.1).with_mixing(mixing);
//! let mut parameters = Parameters::new(&Reference, 0);
//! let mut tape = Tape::train(&mut parameters);
//! let logits = tape.leaf(Tensor::from_slice(&Reference, &[1, 2], &[0.0, 0.0])?);
//! let shares = Tensor::from_slice(&Reference, &[1, 2], &[0.25, 0.75])?;
//! let loss = objective.loss(&mut tape, &logits, &shares)?;
//! assert_eq!(loss.mean.tensor()?.to_vec()?, [2.0_f32.ln()]);
//! # Ok::<(), gradamp_core::Error>(())
//! ```

mod cross_entropy;
mod mixing;
mod squared_error;

use crate::ops::Loss;
use crate::random::Stream;
use crate::{Backend, Batch, Result, Tape, Tensor, Var};

pub use cross_entropy::CrossEntropy;
pub use mixing::Mixing;
pub use squared_error::SquaredError;

/// What a training minimises. [`Trainer::set_objective`](crate::train::Trainer::set_objective) takes any.
///
/// An objective decides what a batch's labels are: class indices `[n]`, shares of classes `[n, K]`, or values.
pub trait Objective<B: Backend> {
    /// What a training step makes of a batch of its source, such as a mixture of its images. `stream` depends on the run's seed and
    /// on the batch's number within the run, so that a resumed run prepares the same batch. The default returns the batch unchanged.
    fn prepare(&self, batch: Batch<B>, _classes: usize, _stream: Stream) -> Result<Batch<B>> {
        Ok(batch)
    }

    /// The loss of a training step: the mean over the batch's examples.
    ///
    /// **Errors:** labels that do not fit the model's output.
    fn loss(&self, tape: &mut Tape<'_, B>, output: &Var<B>, labels: &Tensor<B>) -> Result<Loss<B>>;

    /// The loss in an evaluation, without what only regularises. The default is [`Objective::loss`].
    fn evaluate(&self, tape: &mut Tape<'_, B>, output: &Var<B>, labels: &Tensor<B>) -> Result<Loss<B>> {
        self.loss(tape, output, labels)
    }
}
