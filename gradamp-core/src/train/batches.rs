use crate::{Backend, Batch};

/// The batches of one step, as the objective has prepared them.
pub(super) struct StepBatches<B: Backend> {
    /// The number of the first batch within the run.
    pub(super) first: u64,
    pub(super) batches: Vec<Batch<B>>,
}

impl<B: Backend> StepBatches<B> {
    pub(super) fn examples(&self) -> usize {
        self.batches.iter().map(Batch::examples).sum()
    }

    /// Each batch and its number within the run.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Batch<B>)> {
        (self.first..).zip(&self.batches)
    }

    /// The mean over all examples, from those of the batches.
    pub(super) fn mean(&self, means: &[f32]) -> f32 {
        match means {
            [mean] => *mean,
            means => {
                let sums = means.iter().zip(&self.batches);
                let sum: f64 = sums.map(|(mean, batch)| f64::from(*mean) * batch.examples() as f64).sum();
                (sum / self.examples() as f64) as f32
            }
        }
    }
}
