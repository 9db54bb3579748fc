//! A draw: the layers that are amplified for a while.

use serde::{Deserialize, Serialize};

use super::settings::Placement;
use crate::hook::Site;

/// The layers that are amplified at one time, by how much, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The sites' numbers, ascending.
    pub sites: Vec<usize>,
    /// What gradients are multiplied by, for each of these sites.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
}

/// A line of `amplification.jsonl`: a draw, and the step from which on it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawRecord {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step, from 0, counted over the whole run.
    pub step: u64,
    /// The paths of the drawn layers, in forward order.
    pub sites: Vec<String>,
    /// What gradients are multiplied by, for each of these layers.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
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
        }
    }
}
