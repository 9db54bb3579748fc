//! A walk over a trace in the order of the backward pass, which finds what the sites on the paths from the loss add up to.

use std::collections::{HashMap, HashSet};

use crate::amplify::settings::Placement;
use crate::{SiteId, Trace};

/// A quantity that sites add up to along a path: their number, or the product of their factors.
pub(super) trait Along: Copy + PartialOrd {
    /// The value for a path without sites.
    const NONE: Self;

    /// The value for two stretches of a path, one behind the other.
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

/// The least and the most that the sites on the paths from the loss add up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Passed<A> {
    pub(super) least: A,
    pub(super) most: A,
}

impl<A: Along> Passed<A> {
    fn and(self, more: A) -> Self {
        Self { least: self.least.and(more), most: self.most.and(more) }
    }

    /// Adds these paths to the paths that lead to `place`.
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

/// What gradients have passed at each place; `None` for a place without a path from the loss.
pub(super) struct Walk<A> {
    /// By the numbers of values, after all shares have arrived.
    pub(super) values: Vec<Option<Passed<A>>>,
    /// By the numbers of sites: at their outputs, before their own hooks.
    pub(super) sites: Vec<Option<Passed<A>>>,
    /// By the numbers of parameters, before the hooks of parameters.
    pub(super) parameters: Vec<Option<Passed<A>>>,
}

impl<A: Along> Walk<A> {
    /// Walks from the last node to the first.
    pub(super) fn new(trace: &Trace, sites: &[(usize, A)], placement: Placement) -> Self {
        let weights: HashMap<usize, A> = sites.iter().copied().collect();
        let weight = |site: SiteId| weights.get(&site.0).copied().unwrap_or(A::NONE);
        let containers: HashSet<usize> =
            trace.nodes.iter().filter_map(|node| Some(node.input_of?.0)).collect();

        let ends = trace.nodes.iter().flat_map(|node| node.inputs.iter().flatten().chain([&node.output]));
        let mut walk = Self {
            values: vec![None; ends.max().map_or(0, |last| last + 1)],
            sites: vec![None; trace.sites.len()],
            parameters: vec![None; trace.parameters.len()],
        };
        if let Some(loss) = trace.nodes.last() {
            walk.values[loss.output] = Some(Passed { least: A::NONE, most: A::NONE });
        }
        for node in trace.nodes.iter().rev() {
            let Some(mut arriving) = walk.values[node.output] else { continue };
            if let Some(site) = node.site {
                walk.sites[site.0] = Some(arriving);
            }
            // Parameters are upstream of the output, but not of the input.
            let mut handed_on = arriving;
            match (placement, node.site, node.input_of) {
                (Placement::Output, Some(site), _) => {
                    arriving = arriving.and(weight(site));
                    handed_on = arriving;
                }
                // A container hands its gradient upstream where its input is, not at the node that ends it.
                (Placement::Input, Some(site), _) if !containers.contains(&site.0) => {
                    handed_on = arriving.and(weight(site));
                }
                (Placement::Input, _, Some(container)) => handed_on = arriving.and(weight(container)),
                _ => {}
            }
            for value in node.inputs.iter().flatten() {
                handed_on.join(&mut walk.values[*value]);
            }
            for id in &node.parameters {
                arriving.join(&mut walk.parameters[id.index()]);
            }
        }
        walk
    }

    /// By the numbers of parameters, after the hooks of parameters.
    pub(super) fn parameters_behind_hooks(
        self,
        trace: &Trace,
        sites: &[(usize, A)],
        placement: Placement,
    ) -> Vec<Option<Passed<A>>> {
        let mut parameters = self.parameters;
        if placement == Placement::Params {
            for (path, passed) in trace.parameters.iter().zip(&mut parameters) {
                let owners = sites.iter().filter(|(site, _)| trace.sites[*site].owns(path));
                let weight = owners.map(|(_, weight)| *weight).fold(A::NONE, A::and);
                *passed = passed.map(|passed: Passed<A>| passed.and(weight));
            }
        }
        parameters
    }
}
