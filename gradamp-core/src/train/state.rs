use serde::{Deserialize, Serialize};

use super::site_gradient::Sums;
use super::{LossScale, exact};
use crate::amplify::{History, Score, SiteStatistics};

/// The state of a run. Together with the parameters and the velocities it is all that a resumed run needs to go on bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The number of finished batches of this epoch, or of its steps where a step has several batches.
    pub batch: usize,
    /// The number of finished steps of the whole run.
    pub step: u64,
    /// The sum of the training loss over this epoch's examples.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// The number of this epoch's examples that were classified correctly when they were trained on.
    pub correct: u64,
    /// The number of this epoch's examples so far.
    pub examples: u64,
    /// Seconds spent on this epoch's steps.
    pub seconds: f64,
    /// Seconds spent on the run so far.
    pub total_seconds: f64,
    /// The best [score](super::Evaluation::score) of a first evaluation, and its epoch.
    pub best: Option<(f64, usize)>,
    /// The first evaluation of each epoch that had one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Score>,
    /// The state of loss scaling, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Statistics of this epoch's gradients.
    pub(super) gradients: Sums,
    /// Statistics of this epoch's gradients for policies, by the numbers of sites; empty if no policy needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) statistics: Vec<SiteStatistics>,
    /// Statistics of earlier epochs, for policies that look back.
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
}
