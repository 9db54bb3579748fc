//! The nodes of a tape and their connections, without values.

use std::sync::Arc;

use super::hook::Site;
use crate::parameters::ParameterId;

/// A site on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteId(pub(crate) usize);

/// A node and its connections.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TraceNode {
    /// The operation's name.
    pub operation: &'static str,
    /// The values that the operation reads; `None` for values to which no gradient flows.
    pub inputs: Vec<Option<usize>>,
    /// The parameters that the operation reads.
    pub parameters: Vec<ParameterId>,
    /// The site of the operation's output; `None` for glue such as a sum.
    pub site: Option<SiteId>,
    /// The container that begins at this node. The gradient at this node is the one that the container hands upstream.
    pub input_of: Option<SiteId>,
    /// The value that the operation writes.
    pub output: usize,
}

/// The sites and connections of a model, without values. A forward pass records them.
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
