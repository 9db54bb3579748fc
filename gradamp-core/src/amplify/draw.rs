//! A draw: the layers that are amplified until the next decision.

use serde::{Deserialize, Serialize};

use super::settings::Placement;
use crate::Site;

/// The layers that are amplified at one time, with their factors and their placement.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The sites' numbers, ascending.
    pub sites: Vec<usize>,
    /// The factor of each of these sites.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
    /// The power to which the policy's factors were raised, if they exceeded the largest gain that is allowed.
    pub power: Option<f64>,
}

/// A line of `amplification.jsonl`: a draw and the first step that it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawRecord {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step, from 0, counted over the whole run.
    pub step: u64,
    /// The paths of the drawn layers, in forward order; empty if nothing is amplified from this step on.
    pub sites: Vec<String>,
    /// The factor of each of these layers.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
    /// The power to which the policy's factors were raised, if they exceeded the largest gain that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
}

impl Draw {
    /// The record of this draw among `sites`, all sites of the model.
    pub fn record(&self, sites: &[Site], epoch: usize, step: u64) -> DrawRecord {
        let drawn = self.sites.iter().filter_map(|&index| sites.get(index));
        DrawRecord {
            epoch,
            step,
            sites: drawn.map(|site| site.path.to_string()).collect(),
            factors: self.factors.clone(),
            placement: self.placement,
            power: self.power,
        }
    }
}
