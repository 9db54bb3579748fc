//! What amplification makes of each parameter's gradient.
//!
//! The gradient of a parameter is a sum over the paths from the loss to it. A path that passes m amplified layers is
//! multiplied by factor^m. Where all paths pass equally many, amplification is nothing but a multiplier on the
//! parameter's gradient, its **gain**; where they do not (a layer inside one branch of a residual block), amplification
//! also changes the balance between the paths, and the gain has only bounds.
//!
//! While layers are drawn at random, k of N eligible ones, a path with m eligible layers is multiplied by factor^X in
//! one draw, with X hypergeometric; the mean over draws is E[factor^X].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::draw::Draw;
use super::selection::{Selection, owns};
use super::settings::Placement;
use crate::tape::{SiteId, Trace};

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

/// The gain of every parameter under one draw. The loss is what the trace's last node gives; parameters that it does
/// not depend on are left out.
pub fn of_draw(trace: &Trace, draw: &Draw) -> Vec<ParameterGain> {
    let sites: Vec<_> =
        draw.sites.iter().zip(&draw.factors).map(|(&site, &factor)| (site, f64::from(factor))).collect();
    gains(trace, &sites, draw.placement, |product| product)
}

/// The mean gain of every parameter over the draws of `selection`; otherwise as [`of_draw`].
///
/// Paths that pass equally many eligible layers have equal mean gains, even if a single draw tells them apart.
pub fn expected(trace: &Trace, selection: &Selection) -> Vec<ParameterGain> {
    let (eligible, count, factor) = (selection.eligible(), selection.count(), f64::from(selection.factor()));
    let sites: Vec<_> = eligible.iter().map(|&site| (site, 1)).collect();
    gains(trace, &sites, selection.placement(), |passed| {
        expected_power(factor, eligible.len(), count, passed)
    })
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

/// What sites add up to along a path: their number, or the product of their factors.
trait Along: Copy + PartialOrd {
    /// Of a path that passes none.
    const NONE: Self;

    /// Of two stretches, one behind the other.
    fn and(self, other: Self) -> Self;
}

impl Along for usize {
    const NONE: Self = 0;

    fn and(self, other: Self) -> Self {
        self + other
    }
}

impl Along for f64 {
    const NONE: Self = 1.0;

    fn and(self, other: Self) -> Self {
        self * other
    }
}

/// What the sites on the paths from the loss add up to: the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Passed<A> {
    least: A,
    most: A,
}

impl<A: Along> Passed<A> {
    fn and(self, more: A) -> Self {
        Self { least: self.least.and(more), most: self.most.and(more) }
    }

    /// More paths that lead to the same place.
    fn join(self, place: &mut Option<Self>) {
        *place = Some(match *place {
            None => self,
            Some(other) => Self {
                least: if other.least < self.least { other.least } else { self.least },
                most: if other.most > self.most { other.most } else { self.most },
            },
        });
    }
}

fn gains<A: Along>(
    trace: &Trace,
    sites: &[(usize, A)],
    placement: Placement,
    gain_of: impl Fn(A) -> f64,
) -> Vec<ParameterGain> {
    let mut gains = Vec::new();
    for (path, passed) in trace.parameters.iter().zip(passed(trace, sites, placement)) {
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

/// What those of `sites` add up to that the gradient of each parameter passes on its way from the loss; `None` where no
/// path leads there.
///
/// One sweep from the last node to the first, as backward goes. What enters a node's input i passes its sites from
/// number i on (all from the last, where there are fewer): the residual of a fused batch norm + ReLU passes the ReLU only.
fn passed<A: Along>(trace: &Trace, sites: &[(usize, A)], placement: Placement) -> Vec<Option<Passed<A>>> {
    let weights: HashMap<usize, A> = sites.iter().copied().collect();
    let weight = |site: usize| weights.get(&site).copied().unwrap_or(A::NONE);
    // A container hands its gradient upstream where its input is, not at the node that ends it.
    let containers: HashSet<usize> = trace.nodes.iter().filter_map(|node| Some(node.input_of?.0)).collect();
    let of_one = |site: &SiteId| match placement {
        Placement::Output => weight(site.0),
        Placement::Input if !containers.contains(&site.0) => weight(site.0),
        Placement::Input | Placement::Params => A::NONE,
    };
    let on = |sites: &[SiteId]| sites.iter().map(of_one).fold(A::NONE, A::and);

    let ends = trace.nodes.iter().flat_map(|node| node.inputs.iter().flatten().chain([&node.output]));
    let mut values = vec![None; ends.max().map_or(0, |last| last + 1)];
    let mut parameters = vec![None; trace.parameters.len()];
    if let Some(loss) = trace.nodes.last() {
        values[loss.output] = Some(Passed { least: A::NONE, most: A::NONE });
    }
    for node in trace.nodes.iter().rev() {
        let Some(arriving) = values[node.output] else { continue };
        let arriving: Passed<A> = match (node.input_of, placement) {
            (Some(site), Placement::Input) => arriving.and(weight(site.0)),
            _ => arriving,
        };
        let last = node.sites.len().saturating_sub(1);
        for (i, value) in node.inputs.iter().enumerate() {
            if let Some(value) = value {
                arriving.and(on(&node.sites[i.min(last)..])).join(&mut values[*value]);
            }
        }
        // Parameters belong to the first site: they are upstream of its output, but not of its input.
        let own = match placement {
            Placement::Input => on(node.sites.get(1..).unwrap_or_default()),
            _ => on(&node.sites),
        };
        for id in &node.parameters {
            arriving.and(own).join(&mut parameters[id.index()]);
        }
    }
    if placement == Placement::Params {
        for (path, passed) in trace.parameters.iter().zip(&mut parameters) {
            let owners = sites.iter().filter(|(site, _)| owns(&trace.sites[*site], path));
            let weight = owners.map(|(_, weight)| *weight).fold(A::NONE, A::and);
            *passed = passed.map(|passed: Passed<A>| passed.and(weight));
        }
    }
    parameters
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
