//! The gain of each parameter: the factor by which amplification multiplies its gradient.
//!
//! The gradient of a parameter is a sum over the paths from the loss to it. A path that passes m amplified layers is
//! multiplied by factor^m. If all paths pass equally many amplified layers, amplification multiplies the parameter's
//! gradient by one number, its **gain**. If they do not (as with a layer inside one branch of a residual block),
//! amplification also changes the balance between the paths, and the gain has only bounds.
//!
//! If k of N eligible layers are drawn at random, a draw multiplies a path with m eligible layers by factor^X, where X is
//! hypergeometric; the mean over draws is E[factor^X].

mod expected;
mod walk;

use std::sync::Arc;

use serde::Serialize;

use super::draw::Draw;
use super::settings::Placement;
use crate::Trace;
pub use expected::expected;
use walk::{Along, Passed, Walk};

/// The factor by which a gradient is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// The same on all paths from the loss.
    Factor(f64),
    /// Different on different paths.
    DependsOnPath {
        /// The gain of the path that is multiplied least.
        min: f64,
        /// The gain of the path that is multiplied most.
        max: f64,
    },
}

/// The gain of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterGain {
    /// The parameter's path.
    #[serde(serialize_with = "as_str")]
    pub path: Arc<str>,
    /// The factor by which the parameter's gradient is multiplied.
    pub gain: Gain,
}

fn as_str<S: serde::Serializer>(path: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path)
}

impl Gain {
    /// The gain, or the geometric mean of its bounds if it depends on the path.
    pub fn middle(self) -> f64 {
        match self {
            Gain::Factor(factor) => factor,
            Gain::DependsOnPath { min, max } => (min * max).sqrt(),
        }
    }
}

/// The gain of every parameter under one draw. The loss is the output of the trace's last node; parameters that the loss
/// does not depend on are left out.
pub fn for_draw(trace: &Trace, draw: &Draw) -> Vec<ParameterGain> {
    gains(trace, &weights(draw), draw.placement, |product| product)
}

/// The largest gain of any gradient at any place on its way from the loss: at least 1.
pub fn most(trace: &Trace, draw: &Draw) -> f64 {
    let sites = weights(draw);
    let walk = Walk::new(trace, &sites, draw.placement);
    let on_the_way = walk.values.iter().flatten().map(|passed| passed.most).fold(1.0, f64::max);
    let parameters = walk.parameters_behind_hooks(trace, &sites, draw.placement);
    parameters.iter().flatten().map(|passed| passed.most).fold(on_the_way, f64::max)
}

/// The same layers, by factors that multiply the gradient on no path by more than `bound` (at least 1).
///
/// If the largest gain is above the bound, all factors are raised to the power p = ln bound / ln largest: the path that is multiplied
/// most then meets the bound, and the factors keep their order.
pub(super) fn bounded(trace: &Trace, mut draw: Draw, bound: f64) -> Draw {
    let most = most(trace, &draw);
    if most > bound {
        let power = bound.ln() / most.ln();
        let factor = |factor: f32| nearest_below(f64::from(factor).powf(power));
        draw.factors.iter_mut().for_each(|place| *place = factor(*place));
        draw.power = Some(power);
    }
    draw
}

/// The nearest f32 that is not larger, except for the rounding of the f64 itself: the product of many factors must not pass the bound.
fn nearest_below(factor: f64) -> f32 {
    let nearest = factor as f32;
    if f64::from(nearest) > factor * (1.0 + 1e-12) { nearest.next_down() } else { nearest }
}

/// The gains of a draw at the places where gradients are measured: at each site's output before the site's own factor, and at each
/// parameter before the factors of its hooks. A gain that depends on the path is the geometric mean of its bounds; a place
/// without a path from the loss has the gain 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arriving {
    pub(crate) sites: Vec<f64>,
    pub(crate) parameters: Vec<f64>,
}

pub(crate) fn arriving(trace: &Trace, draw: &Draw) -> Arriving {
    let Walk { sites, parameters, .. } = Walk::new(trace, &weights(draw), draw.placement);
    let middle = |passed: Option<Passed<f64>>| passed.map_or(1.0, |p| (p.least * p.most).sqrt());
    Arriving {
        sites: sites.into_iter().map(middle).collect(),
        parameters: parameters.into_iter().map(middle).collect(),
    }
}

/// The sites' numbers in the order in which a backward pass meets their outputs.
pub(crate) fn backward_order(trace: &Trace) -> impl Iterator<Item = usize> {
    trace.nodes.iter().rev().filter_map(|node| Some(node.site?.0))
}

fn weights(draw: &Draw) -> Vec<(usize, f64)> {
    draw.sites.iter().zip(&draw.factors).map(|(&site, &factor)| (site, f64::from(factor))).collect()
}

fn gains<A: Along>(
    trace: &Trace,
    sites: &[(usize, A)],
    placement: Placement,
    gain_of: impl Fn(A) -> f64,
) -> Vec<ParameterGain> {
    let mut gains = Vec::new();
    let passed = Walk::new(trace, sites, placement).parameters_behind_hooks(trace, sites, placement);
    for (path, passed) in trace.parameters.iter().zip(passed) {
        let Some(Passed { least, most }) = passed else { continue };
        let gain = if least == most {
            Gain::Factor(gain_of(least))
        } else {
            let (a, b) = (gain_of(least), gain_of(most));
            Gain::DependsOnPath { min: a.min(b), max: a.max(b) } // a factor below 1 turns the order around
        };
        gains.push(ParameterGain { path: path.clone(), gain });
    }
    gains
}
