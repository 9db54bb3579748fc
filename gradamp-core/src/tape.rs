//! The tape: what forward did, layer by layer, consumed in reverse by backward.
//!
//! A node is a whole layer operation. Its backward rule takes the gradient of its output and gives shares to its
//! inputs and parameters; the tape adds the shares, runs the hooks and frees each node as soon as it is done.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::gradient::Gradient;
use crate::hook::{Hooks, LayerKind, Site};
use crate::ops::Rectified;
use crate::parameters::{ParameterId, Parameters};
use crate::pass::{Gradients, Pass};
use crate::{Backend, Error, Result, Tensor};

/// Whether layers behave as in training (batch statistics, running ones updated) or in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm uses its batch's statistics and updates the running ones.
    Train,
    /// Batch norm uses the running statistics.
    Evaluate,
}

/// A value on the tape.
#[derive(Clone, Debug)]
pub struct Var<B: Backend> {
    tensor: Tensor<B>,
    id: Option<usize>,
    known: Known<B>,
}

/// What the operation that made a value tells those that read it.
#[derive(Clone, Debug)]
pub(crate) enum Known<B: Backend> {
    Nothing,
    /// Mean and biased variance of each channel, which were found on the way.
    Moments([Tensor<B>; 2]),
    /// In training mode, which rectified batch norm it is.
    Rectified(Rectified<B>),
}

impl<B: Backend> Var<B> {
    /// The value.
    pub fn tensor(&self) -> &Tensor<B> {
        &self.tensor
    }

    pub(crate) fn id(&self) -> Option<usize> {
        self.id
    }

    pub(crate) fn known(&self) -> &Known<B> {
        &self.known
    }

    pub(crate) fn knowing(self, known: Known<B>) -> Self {
        Self { known, ..self }
    }

    /// The value's shape.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Whether a gradient flows to it.
    pub fn needs_gradient(&self) -> bool {
        self.id.is_some()
    }
}

/// A site on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteId(pub(crate) usize);

/// The backward of one recorded operation.
pub trait BackwardRule<B: Backend> {
    /// Turns the gradient of the output into shares for the inputs and parameters, by calls on `pass`.
    /// Linear in `dy`: the rule works on [`Gradient::unscaled`] and passes [`Gradient::scale`] on.
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()>;
}

struct Node<B: Backend> {
    links: Links,
    rule: Box<dyn BackwardRule<B>>,
}

/// How one node hangs together with the rest.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The operation's name.
    pub operation: &'static str,
    /// The values it reads; `None` where no gradient flows.
    pub inputs: Vec<Option<usize>>,
    /// The parameters it reads, all of its first site.
    pub parameters: Vec<ParameterId>,
    /// Its sites, in forward order: a fused operation has several, each the next one's input.
    pub sites: Vec<SiteId>,
    /// The container whose input it is: the gradient passing here is what that site hands upstream.
    pub input_of: Option<SiteId>,
    /// The value it writes.
    pub output: usize,
}

/// The sites and connections of a model, without values: what a dry forward pass leaves.
#[derive(Clone, Debug)]
pub struct Trace {
    /// All sites in forward order.
    pub sites: Vec<Site>,
    /// All nodes in forward order.
    pub nodes: Vec<Links>,
    /// The paths of all parameters, by number.
    pub parameters: Vec<Arc<str>>,
}

impl Trace {
    /// The site that `id` stands for.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.0]
    }
}

/// Called in forward order with each site and its value; see [`Tape::with_probe`].
pub type Probe<'p, B> = Box<dyn FnMut(&Site, &Tensor<B>) -> Result<()> + 'p>;

/// What one forward pass did.
pub struct Tape<'p, B: Backend> {
    parameters: &'p mut Parameters<B>,
    mode: Mode,
    recording: bool,
    nodes: Vec<Node<B>>,
    sites: Vec<Site>,
    paths: HashSet<Arc<str>>,
    values: usize,
    probe: Option<Probe<'p, B>>,
}

impl<'p, B: Backend> Tape<'p, B> {
    /// A tape for one training step: training mode, recorded.
    pub fn train(parameters: &'p mut Parameters<B>) -> Self {
        Self::new(parameters, Mode::Train, true)
    }

    /// A tape for inference: evaluation mode, nothing recorded.
    pub fn evaluate(parameters: &'p mut Parameters<B>) -> Self {
        Self::new(parameters, Mode::Evaluate, false)
    }

    /// A tape in any mode, recorded (for [`Tape::backward`] or [`Tape::trace`]) or not.
    pub fn new(parameters: &'p mut Parameters<B>, mode: Mode, recording: bool) -> Self {
        Self {
            parameters,
            mode,
            recording,
            nodes: Vec::new(),
            sites: Vec::new(),
            paths: HashSet::new(),
            values: 0,
            probe: None,
        }
    }

    /// Shows every site's value to `probe` during forward. Fused operations then run unfused, so that inner sites
    /// are seen too.
    #[must_use]
    pub fn with_probe(mut self, probe: Probe<'p, B>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Whether somebody watches the values of sites.
    pub fn is_probed(&self) -> bool {
        self.probe.is_some()
    }

    /// Training or evaluation.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The model's parameters.
    pub fn parameters(&self) -> &Parameters<B> {
        self.parameters
    }

    /// The model's parameters, to change: how a batch norm updates its running statistics.
    pub fn parameters_mut(&mut self) -> &mut Parameters<B> {
        self.parameters
    }

    /// The value of one parameter.
    pub fn parameter(&self, id: ParameterId) -> Tensor<B> {
        self.parameters.get(id).value.clone()
    }

    /// The backend.
    pub fn backend(&self) -> B {
        self.parameters.backend().clone()
    }

    /// A value that no gradient flows to: images.
    pub fn constant(&self, tensor: Tensor<B>) -> Var<B> {
        Var { tensor, id: None, known: Known::Nothing }
    }

    /// A value whose gradient [`Gradients::of`] will give.
    pub fn leaf(&mut self, tensor: Tensor<B>) -> Var<B> {
        let id = Some(self.new_value());
        Var { tensor, id, known: Known::Nothing }
    }

    /// Names a site; its output follows in [`Tape::record`], or in [`Tape::end_site`] for a container.
    ///
    /// **Errors:** a path that this tape already has: hooks could not tell the two apart.
    pub fn add_site(&mut self, path: &Arc<str>, kind: LayerKind) -> Result<SiteId> {
        if !self.paths.insert(path.clone()) {
            return Err(Error::Setting {
                key: format!("site {path}"),
                message: "is on the tape twice".into(),
            });
        }
        self.sites.push(Site { path: path.clone(), kind, index: self.sites.len() });
        Ok(SiteId(self.sites.len() - 1))
    }

    /// Begins a container of layers: the gradient that all its layers together hand upstream passes the returned
    /// value, and hooks meet it there as the container's input gradient.
    pub fn begin_site(&mut self, path: &Arc<str>, kind: LayerKind, x: &Var<B>) -> Result<(SiteId, Var<B>)> {
        let site = self.add_site(path, kind)?;
        let links = Links {
            operation: "begin_site",
            inputs: vec![x.id],
            parameters: Vec::new(),
            sites: Vec::new(),
            input_of: Some(site),
            output: self.values,
        };
        let id = self.push(links, Box::new(Identity));
        Ok((site, Var { tensor: x.tensor.clone(), id, known: x.known.clone() }))
    }

    /// Ends a container of layers whose output is `y`.
    pub fn end_site(&mut self, site: SiteId, y: &Var<B>) -> Result<Var<B>> {
        let known = y.known.clone();
        Ok(self.record("end_site", &[y], &[], &[site], y.tensor.clone(), Identity)?.knowing(known))
    }

    /// Makes `x` a site by itself: the identity forward, hooks backward.
    pub fn site(&mut self, path: &str, kind: LayerKind, x: &Var<B>) -> Result<Var<B>> {
        let site = self.add_site(&path.into(), kind)?;
        self.record("site", &[x], &[], &[site], x.tensor.clone(), IdentityLayer)
    }

    /// Records an operation: ours and third parties' alike.
    ///
    /// `sites` are the operation's own, in forward order: one for a plain layer, none for glue such as a sum, several
    /// for a fused operation whose rule visits the inner ones by [`Pass::at_output`] and [`Pass::at_input`].
    pub fn record(
        &mut self,
        operation: &'static str,
        inputs: &[&Var<B>],
        parameters: &[ParameterId],
        sites: &[SiteId],
        output: Tensor<B>,
        rule: impl BackwardRule<B> + 'static,
    ) -> Result<Var<B>> {
        self.record_from(operation, inputs.iter().map(|x| x.id).collect(), parameters, sites, output, rule)
    }

    /// [`Tape::record`], with the numbers of the values it reads.
    pub(crate) fn record_from(
        &mut self,
        operation: &'static str,
        inputs: Vec<Option<usize>>,
        parameters: &[ParameterId],
        sites: &[SiteId],
        output: Tensor<B>,
        rule: impl BackwardRule<B> + 'static,
    ) -> Result<Var<B>> {
        if let (Some(probe), Some(site)) = (&mut self.probe, sites.last()) {
            probe(&self.sites[site.0], &output)?;
        }
        let id = self.record_unstored(operation, inputs, parameters, sites, rule);
        Ok(Var { tensor: output, id, known: Known::Nothing })
    }

    /// Records an operation whose output exists as a number only, for one that knows how to do without it.
    pub(crate) fn record_unstored(
        &mut self,
        operation: &'static str,
        inputs: Vec<Option<usize>>,
        parameters: &[ParameterId],
        sites: &[SiteId],
        rule: impl BackwardRule<B> + 'static,
    ) -> Option<usize> {
        let (parameters, sites) = (parameters.to_vec(), sites.to_vec());
        let links = Links { operation, inputs, parameters, sites, input_of: None, output: self.values };
        self.push(links, Box::new(rule))
    }

    fn push(&mut self, links: Links, rule: Box<dyn BackwardRule<B>>) -> Option<usize> {
        let flows = !links.parameters.is_empty() || links.inputs.iter().any(Option::is_some);
        if !self.recording || !flows {
            return None;
        }
        self.nodes.push(Node { links, rule });
        Some(self.new_value())
    }

    fn new_value(&mut self) -> usize {
        self.values += 1;
        self.values - 1
    }

    fn count_uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.parameters.len()];
        self.nodes.iter().flat_map(|node| &node.links.parameters).for_each(|id| uses[id.index()] += 1);
        uses
    }

    /// The sites and connections, without values.
    pub fn trace(self) -> Trace {
        Trace {
            sites: self.sites,
            nodes: self.nodes.into_iter().map(|node| node.links).collect(),
            parameters: self.parameters.iter().map(|(_, p)| p.path.clone()).collect(),
        }
    }

    /// Runs backward from `loss`, consuming the tape.
    ///
    /// **Errors:** a loss that nothing was recorded for; what a rule or a hook returns.
    pub fn backward(self, loss: &Var<B>, hooks: &Hooks<B>) -> Result<Gradients<B>> {
        let root = loss.id.ok_or_else(|| Error::shape("backward", "nothing was recorded for this loss"))?;
        let uses = self.count_uses();
        let paths = self.parameters.iter().map(|(_, p)| p.path.clone()).collect();
        let mut pass = Pass::new(hooks.snapshot(), self.sites, self.values, uses, paths);
        pass.begin(root, Gradient::ones(loss.tensor.backend(), *loss.tensor.shape()));
        let mut nodes = self.nodes; // freed one by one, so that memory falls as the pass runs
        while let Some(Node { links, rule }) = nodes.pop() {
            match pass.enter(links)? {
                Some(dy) => rule.backward(dy, &mut pass)?,
                None => drop(rule), // the loss does not depend on this node
            }
        }
        Ok(pass.finish())
    }
}

impl<B: Backend> fmt::Debug for Tape<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tape: {} nodes, {} sites, {:?}", self.nodes.len(), self.sites.len(), self.mode)
    }
}

/// A container's ends: its input hooks run where it begins.
struct Identity;

impl<B: Backend> BackwardRule<B> for Identity {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        pass.share(0, dy)
    }
}

/// A site by itself: its input hooks run as those of any layer.
struct IdentityLayer;

impl<B: Backend> BackwardRule<B> for IdentityLayer {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        pass.give(0, dy)
    }
}
