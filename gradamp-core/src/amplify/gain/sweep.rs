//! One sweep over a trace, as backward goes: what sites add up to along the paths from the loss.

use std::collections::{HashMap, HashSet};

use crate::amplify::selection::owns;
use crate::amplify::settings::Placement;
use crate::{SiteId, Trace};

/// What sites add up to along a path: their number, or the product of their factors.
pub(super) trait Along: Copy + PartialOrd {
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
pub(super) struct Passed<A> {
    pub(super) least: A,
    pub(super) most: A,
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

/// What gradients have passed, place by place; `None` where no path leads.
pub(super) struct Sweep<A> {
    /// By the values' numbers: once all shares have arrived.
    pub(super) values: Vec<Option<Passed<A>>>,
    /// By the sites' numbers: what arrives at their outputs, before their own hooks.
    pub(super) sites: Vec<Option<Passed<A>>>,
    /// By the parameters' numbers: before the hooks of parameters.
    pub(super) parameters: Vec<Option<Passed<A>>>,
}

impl<A: Along> Sweep<A> {
    /// From the last node to the first.
    pub(super) fn new(trace: &Trace, sites: &[(usize, A)], placement: Placement) -> Self {
        let weights: HashMap<usize, A> = sites.iter().copied().collect();
        let weight = |site: SiteId| weights.get(&site.0).copied().unwrap_or(A::NONE);
        let containers: HashSet<usize> =
            trace.nodes.iter().filter_map(|node| Some(node.input_of?.0)).collect();

        let ends = trace.nodes.iter().flat_map(|node| node.inputs.iter().flatten().chain([&node.output]));
        let mut swept = Self {
            values: vec![None; ends.max().map_or(0, |last| last + 1)],
            sites: vec![None; trace.sites.len()],
            parameters: vec![None; trace.parameters.len()],
        };
        if let Some(loss) = trace.nodes.last() {
            swept.values[loss.output] = Some(Passed { least: A::NONE, most: A::NONE });
        }
        for node in trace.nodes.iter().rev() {
            let Some(mut arriving) = swept.values[node.output] else { continue };
            if let Some(site) = node.site {
                swept.sites[site.0] = Some(arriving);
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
                handed_on.join(&mut swept.values[*value]);
            }
            for id in &node.parameters {
                arriving.join(&mut swept.parameters[id.index()]);
            }
        }
        swept
    }

    /// By the parameters' numbers: behind the hooks of parameters.
    pub(super) fn parameters_behind_hooks(
        self,
        trace: &Trace,
        sites: &[(usize, A)],
        placement: Placement,
    ) -> Vec<Option<Passed<A>>> {
        let mut parameters = self.parameters;
        if placement == Placement::Params {
            for (path, passed) in trace.parameters.iter().zip(&mut parameters) {
                let owners = sites.iter().filter(|(site, _)| owns(&trace.sites[*site], path));
                let weight = owners.map(|(_, weight)| *weight).fold(A::NONE, A::and);
                *passed = passed.map(|passed: Passed<A>| passed.and(weight));
            }
        }
        parameters
    }
}
