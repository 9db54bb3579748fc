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
    /// ‖Σ g‖: how far the gradients went together. For several epochs, the sum of their values. `None` for gradients of outputs, which
    /// belong to other images at each step.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub net: Option<f64>,
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
    /// The sums over the steps of these epochs and those of `more`.
    #[must_use]
    pub fn and(self, more: &Self) -> Self {
        let net = match (self.steps, more.steps) {
            (0, _) => more.net,
            (_, 0) => self.net,
            _ => self.net.zip(more.net).map(|(a, b)| a + b),
        };
        Self { steps: self.steps + more.steps, norm: self.norm + more.norm, net }
    }

    /// The mean of ‖g‖; `None` if no step was measured.
    pub fn mean_norm(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.norm / self.steps as f64)
    }

    /// ‖Σ g‖ / Σ ‖g‖, in [0, 1] up to rounding; `None` if all gradients are 0, or if their sum was not measured.
    pub fn cancellation(&self) -> Option<f64> {
        self.net.filter(|_| self.norm > 0.0).map(|net| net / self.norm)
    }
}
