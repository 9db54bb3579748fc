//! The gradient statistics of past epochs, for the policies that decide by them.

use serde::{Deserialize, Serialize};

use crate::train::exact;

/// The gradient statistics of the last epochs, oldest first: part of the run's state, and so of its checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    epochs: Vec<EpochStatistics>,
}

/// The gradient statistics of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochStatistics {
    /// The epoch, from 0.
    pub epoch: usize,
    /// By the numbers of sites.
    pub sites: Vec<SiteStatistics>,
}

/// The statistics of one site's gradients as they would be without amplification: the gain that was in force is divided out
/// (its geometric mean, if it depends on the path).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteStatistics {
    /// The gradient that arrives at the layer's output.
    pub output: Moments,
    /// The gradient of the layer's parameters as one vector; for a container, of the parameters of all its layers.
    pub params: Moments,
}

/// Sums over the measured steps of a gradient g.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// The number of steps; 0 if there is no such gradient.
    pub steps: u64,
    /// Σ ‖g‖
    #[serde(with = "exact")]
    pub norm: f64,
    /// Σ sum(g)
    #[serde(with = "exact")]
    pub sum: f64,
    /// Σ sum(|g|)
    #[serde(with = "exact")]
    pub magnitude: f64,
}

impl History {
    /// The history of some epochs, oldest first.
    pub fn new(epochs: Vec<EpochStatistics>) -> Self {
        Self { epochs }
    }

    /// Whether there are no epochs.
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }

    /// The epochs, oldest first.
    pub fn epochs(&self) -> &[EpochStatistics] {
        &self.epochs
    }

    /// Adds an epoch at the end and removes the oldest ones until there are at most `keep`.
    pub(crate) fn push(&mut self, epoch: EpochStatistics, keep: usize) {
        self.epochs.push(epoch);
        self.epochs.drain(..self.epochs.len().saturating_sub(keep));
    }

    /// The last `count` epochs before `epoch`, oldest first; `None` if one of them is missing.
    pub(super) fn before(&self, epoch: usize, count: usize) -> Option<&[EpochStatistics]> {
        let end = self.epochs.partition_point(|known| known.epoch < epoch);
        let found = &self.epochs[end.checked_sub(count)?..end];
        found.iter().rev().zip(1..).all(|(known, back)| known.epoch + back == epoch).then_some(found)
    }
}

impl EpochStatistics {
    /// The statistics of the site of this number.
    pub fn site(&self, index: usize) -> Option<&SiteStatistics> {
        self.sites.get(index)
    }
}

impl Moments {
    /// The sums over these steps and those of `more`.
    #[must_use]
    pub fn and(self, more: &Self) -> Self {
        Self {
            steps: self.steps + more.steps,
            norm: self.norm + more.norm,
            sum: self.sum + more.sum,
            magnitude: self.magnitude + more.magnitude,
        }
    }

    /// The mean of ‖g‖; `None` if no step was measured.
    pub fn mean_norm(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.norm / self.steps as f64)
    }

    /// |Σ sum(g)| / Σ sum(|g|), in [0, 1]; `None` if all gradients are 0.
    pub fn cancellation(&self) -> Option<f64> {
        (self.magnitude > 0.0).then(|| self.sum.abs() / self.magnitude)
    }
}
