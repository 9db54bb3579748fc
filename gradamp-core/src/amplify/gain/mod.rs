//! What amplification makes of each parameter's gradient.
//!
//! The gradient of a parameter is a sum over the paths from the loss to it. A path that passes m amplified layers is
//! multiplied by factor^m. Where all paths pass equally many, amplification is nothing but a multiplier on the
//! parameter's gradient, its **gain**; where they do not (a layer inside one branch of a residual block), amplification
//! also changes the balance between the paths, and the gain has only bounds.
//!
//! While layers are drawn at random, k of N eligible ones, a path with m eligible layers is multiplied by factor^X in
//! one draw, with X hypergeometric; the mean over draws is E[factor^X].

mod sweep;

use std::sync::Arc;

use serde::Serialize;

use super::draw::Draw;
use super::history::History;
use super::policy::Predictability;
use super::selection::Selection;
use super::settings::Placement;
use crate::Result;
use crate::Trace;
use sweep::{Along, Passed, Sweep};

/// What a gradient is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// The same on all paths from the loss.
    Factor(f64),
    /// Different on different paths.
    DependsOnPath {
        /// Of the path that is multiplied least.
        min: f64,
        /// Of the path that is multiplied most.
        max: f64,
    },
}

/// The gain of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterGain {
    /// The parameter's path.
    #[serde(serialize_with = "as_str")]
    pub path: Arc<str>,
    /// What its gradient is multiplied by.
    pub gain: Gain,
}

fn as_str<S: serde::Serializer>(path: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path)
}

impl Gain {
    /// The gain itself, or the geometric middle between the least and the most that it can be.
    pub fn middle(self) -> f64 {
        match self {
            Gain::Factor(factor) => factor,
            Gain::DependsOnPath { min, max } => (min * max).sqrt(),
        }
    }
}

/// The gain of every parameter under one draw. The loss is what the trace's last node gives; parameters that it does
/// not depend on are left out.
pub fn of_draw(trace: &Trace, draw: &Draw) -> Vec<ParameterGain> {
    gains(trace, &weights(draw), draw.placement, |product| product)
}

/// The mean gain of every parameter over the decisions of `selection`, where it is known in advance: for policies whose
/// decisions are all the same, or random draws that no bound can change. Otherwise as [`of_draw`].
///
/// Paths that pass equally many eligible layers have equal mean gains, even if a single draw tells them apart.
///
/// **Errors:** what the policy's decision returns.
pub fn expected(trace: &Trace, selection: &Selection) -> Result<Option<Vec<ParameterGain>>> {
    Ok(match selection.policy().predictability() {
        Predictability::Unknown => None,
        Predictability::Fixed => Some(of_draw(trace, &selection.draw(0, 0, &History::default())?)),
        Predictability::Drawn { count, factor } => {
            let eligible = selection.eligible();
            let factors = vec![factor; eligible.len()];
            let all =
                Draw { sites: eligible.to_vec(), factors, placement: selection.placement(), power: None };
            if count == eligible.len() {
                return Ok(Some(of_draw(trace, &selection.draw(0, 0, &History::default())?)));
            }
            if selection.max_gain().is_some_and(|bound| most(trace, &all) > bound) {
                return Ok(None); // each draw would be shrunk by itself
            }
            let sites: Vec<_> = eligible.iter().map(|&site| (site, 1)).collect();
            Some(gains(trace, &sites, selection.placement(), |passed| {
                expected_power(f64::from(factor), eligible.len(), count, passed)
            }))
        }
    })
}

/// The most that any gradient on its way from the loss is multiplied by, at any place: at least 1.
pub fn most(trace: &Trace, draw: &Draw) -> f64 {
    let sites = weights(draw);
    let sweep = Sweep::new(trace, &sites, draw.placement);
    let on_the_way = sweep.values.iter().flatten().map(|passed| passed.most).fold(1.0, f64::max);
    let parameters = sweep.parameters_behind_hooks(trace, &sites, draw.placement);
    parameters.iter().flatten().map(|passed| passed.most).fold(on_the_way, f64::max)
}

/// What a draw has made of gradients where they are measured, by the numbers of sites and parameters: the gain at each
/// site's output before its own factor, and at each parameter before the factors of its hooks. The geometric middle
/// where it depends on the path, 1 where no path leads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arriving {
    pub(crate) sites: Vec<f64>,
    pub(crate) parameters: Vec<f64>,
}

pub(crate) fn arriving(trace: &Trace, draw: &Draw) -> Arriving {
    let Sweep { sites, parameters, .. } = Sweep::new(trace, &weights(draw), draw.placement);
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

/// E[f^X], where X counts the drawn among `passed` layers when `drawn` of `total` are drawn.
///
/// By the first of the passed layers: it is drawn with probability k/N, and then k − 1 of N − 1 remain, else k of
/// N − 1. So E(N, k, m) = k/N · f · E(N − 1, k − 1, m − 1) + (1 − k/N) · E(N − 1, k, m − 1), and E(N, k, 0) = 1.
fn expected_power(f: f64, total: usize, drawn: usize, passed: usize) -> f64 {
    let mut e = vec![1.0; drawn + 1]; // e[k] = E(n − 1, k, m − 1), beginning at m = 1
    for n in total - passed + 1..=total {
        for k in (0..=drawn.min(n)).rev() {
            e[k] = match k as f64 / n as f64 {
                0.0 => e[0],
                1.0 => f * e[k - 1],
                p => p * f * e[k - 1] + (1.0 - p) * e[k],
            };
        }
    }
    e[drawn]
}

fn gains<A: Along>(
    trace: &Trace,
    sites: &[(usize, A)],
    placement: Placement,
    gain_of: impl Fn(A) -> f64,
) -> Vec<ParameterGain> {
    let mut gains = Vec::new();
    let passed = Sweep::new(trace, sites, placement).parameters_behind_hooks(trace, sites, placement);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All draws of `drawn` among `total`, one by one.
    fn enumerated(f: f64, total: usize, drawn: usize, passed: usize) -> f64 {
        let draws: Vec<u32> =
            (0..1_u32 << total).filter(|draw| draw.count_ones() as usize == drawn).collect();
        let on_path = (1_u32 << passed) - 1;
        let sum: f64 = draws.iter().map(|draw| f.powi((draw & on_path).count_ones() as i32)).sum();
        sum / draws.len() as f64
    }

    #[test]
    fn the_mean_gain_is_that_of_all_draws_one_by_one() {
        for total in 1..=9 {
            for drawn in 1..=total {
                for passed in 0..=total {
                    for f in [0.5, 1.0, 2.0, 10.0] {
                        let (fast, slow) =
                            (expected_power(f, total, drawn, passed), enumerated(f, total, drawn, passed));
                        assert!(
                            (fast / slow - 1.0).abs() < 1e-12,
                            "{drawn} of {total}, {passed} passed: {fast} against {slow}"
                        );
                    }
                }
            }
        }
    }
}
