//! A draw: the layers that are amplified for a while.

use serde::{Deserialize, Serialize};

use super::gain;
use super::settings::Placement;
use crate::Site;
use crate::Trace;

/// The layers that are amplified at one time, by how much, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The sites' numbers, ascending.
    pub sites: Vec<usize>,
    /// What gradients are multiplied by, for each of these sites.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
    /// The power that the policy's factors were taken to, where they went beyond the largest gain allowed.
    pub power: Option<f64>,
}

/// A line of `amplification.jsonl`: a draw, and the step from which on it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawRecord {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step, from 0, counted over the whole run.
    pub step: u64,
    /// The paths of the drawn layers, in forward order; none where nothing is amplified from here on.
    pub sites: Vec<String>,
    /// What gradients are multiplied by, for each of these layers.
    pub factors: Vec<f32>,
    /// Which gradients are multiplied.
    pub placement: Placement,
    /// The power that the policy's factors were taken to, where they went beyond the largest gain allowed.
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

    /// The same layers, by factors that multiply the gradient on no path by more than `bound` (at least 1).
    ///
    /// All factors are taken to the power p = ln bound / ln most, so that the path that is multiplied most meets the bound,
    /// and the others keep their order.
    pub(super) fn within(mut self, bound: f64, trace: &Trace) -> Self {
        let most = gain::most(trace, &self);
        if most > bound {
            let power = bound.ln() / most.ln();
            self.factors.iter_mut().for_each(|factor| *factor = root(f64::from(*factor).powf(power)));
            self.power = Some(power);
        }
        self
    }
}

/// The nearest f32 that is not larger, but for f64's own rounding: the product of many factors must stay in its bound.
fn root(factor: f64) -> f32 {
    let nearest = factor as f32;
    if f64::from(nearest) > factor * (1.0 + 1e-12) { nearest.next_down() } else { nearest }
}
