use serde::{Deserialize, Serialize};

use super::site_gradient::Sums;
use super::{LossScale, StepReport, exact};
use crate::amplify::{History, SiteStatistics};

/// Where a run stands: with the parameters and velocities all that it takes to go on bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// The epoch, from 0.
    pub epoch: usize,
    /// Batches of this epoch that are done.
    pub batch: usize,
    /// Steps of the whole run that are done.
    pub step: u64,
    /// Sum over this epoch's examples of the training loss.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// This epoch's examples that were right when they were trained on.
    pub correct: u64,
    /// This epoch's examples so far.
    pub examples: u64,
    /// Seconds spent on this epoch's steps.
    pub seconds: f64,
    /// Seconds spent on the run so far.
    pub total_seconds: f64,
    /// The best accuracy of any evaluation, and its epoch.
    pub best: Option<(f64, usize)>,
    /// Where loss scaling stands, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// What was gathered about this epoch's gradients.
    pub(super) gradients: Sums,
    /// The same for policies, by the sites' numbers; empty where none asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) statistics: Vec<SiteStatistics>,
    /// What policies may look back on: the epochs before this one.
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
}

impl TrainState {
    /// Counts a step.
    pub(super) fn take(&mut self, step: &StepReport) {
        self.batch += 1;
        self.step += 1;
        self.loss_sum += f64::from(step.loss) * step.examples as f64;
        self.correct += step.correct as u64;
        self.examples += step.examples as u64;
        self.seconds += step.seconds;
        self.total_seconds += step.seconds;
    }
}
