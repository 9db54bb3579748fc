use derive_setters::Setters;

use super::{Mixing, Objective};
use crate::ops::{self, Loss};
use crate::random::Stream;
use crate::{Backend, Batch, Error, Result, Tape, Tensor, Var};

/// Softmax cross-entropy against class indices or shares of classes: the objective of a classifier.
///
/// **Shapes:** output `[n, K]`; labels `[n]` (class indices) or `[n, K]` (shares).
///
/// An evaluation neither smooths nor mixes.
///
/// **Source:** [`ops::softmax_cross_entropy`]; label smoothing by C. Szegedy et al., "Rethinking the Inception Architecture for
/// Computer Vision", CVPR 2016.
#[derive(Clone, Copy, Debug, Default, PartialEq, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct CrossEntropy {
    /// The share of each label that is spread over all classes, in [0, 1].
    pub label_smoothing: f32,
    /// The mixture of each batch's images.
    pub mixing: Mixing,
}

impl CrossEntropy {
    /// Checks every number against its range.
    ///
    /// **Errors:** a smoothing outside [0, 1]; those of [`Mixing::check`].
    pub fn check(&self) -> Result<()> {
        let smoothing = self.label_smoothing;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::setting(
                "label_smoothing",
                format!("expected a number in [0, 1], found {smoothing}"),
            ));
        }
        self.mixing.check()
    }
}

impl<B: Backend> Objective<B> for CrossEntropy {
    fn prepare(&self, batch: Batch<B>, classes: usize, stream: Stream) -> Result<Batch<B>> {
        self.mixing.mix(batch, classes, stream)
    }

    fn loss(&self, tape: &mut Tape<'_, B>, output: &Var<B>, labels: &Tensor<B>) -> Result<Loss<B>> {
        ops::softmax_cross_entropy(tape, output, labels, self.label_smoothing)
    }

    fn evaluate(&self, tape: &mut Tape<'_, B>, output: &Var<B>, labels: &Tensor<B>) -> Result<Loss<B>> {
        ops::softmax_cross_entropy(tape, output, labels, 0.0)
    }
}
