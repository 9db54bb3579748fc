//! How the nodes of a tape hang together, without values.

use std::sync::Arc;

use super::hook::Site;
use crate::parameters::ParameterId;

/// A site on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteId(pub(crate) usize);

/// How one node hangs together with the rest.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TraceNode {
    /// The operation's name.
    pub operation: &'static str,
    /// The values that the operation reads; `None` where no gradient flows.
    pub inputs: Vec<Option<usize>>,
    /// The parameters that the operation reads.
    pub parameters: Vec<ParameterId>,
    /// The site of the operation's output; `None` for glue such as a sum.
    pub site: Option<SiteId>,
    /// The container that begins at this node: the gradient passing here is what the container hands upstream.
    pub input_of: Option<SiteId>,
    /// The value that the operation writes.
    pub output: usize,
}

/// The sites and connections of a model, without values: what a forward pass without backward leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// All sites in forward order.
    pub sites: Vec<Site>,
    /// All nodes in forward order.
    pub nodes: Vec<TraceNode>,
    /// The paths of all parameters, by number.
    pub parameters: Vec<Arc<str>>,
}

impl Trace {
    /// The site that `id` stands for.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.0]
    }
}
