use super::Objective;
use crate::ops::{self, Loss};
use crate::{Backend, Result, Tape, Tensor, Var};

/// The mean squared error: the objective of a regression.
///
/// **Shapes:** output and labels `[n, ..]`, of equal numbers of elements.
///
/// A run with this objective has no accuracy. Its best epoch is that of the least loss.
///
/// **Source:** [`ops::squared_error`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SquaredError;

impl<B: Backend> Objective<B> for SquaredError {
    fn loss(&self, tape: &mut Tape<'_, B>, output: &Var<B>, labels: &Tensor<B>) -> Result<Loss<B>> {
        ops::squared_error(tape, output, labels)
    }
}
