//! The tape: the operations of a forward pass, in their order. Backward goes through them in reverse.
//!
//! A node is one operation. Its backward rule turns the gradient of its output into shares for its inputs and parameters. The tape adds
//! the shares, runs the hooks, and frees each node as soon as it is done.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::backward::{BackwardRule, Gradients, Pass};
use super::gradient::Gradient;
use super::hook::{Hooks, LayerKind, Site};
use super::trace::{SiteId, Trace, TraceNode};
use super::var::Var;
use crate::fusion::Value;
use crate::parameters::{ParameterId, Parameters};
use crate::random::{Purpose, Stream};
use crate::{Backend, Error, Result, Shape, Tensor};

/// Whether layers behave as in training (batch statistics, running ones updated) or in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm uses its batch's statistics and updates the running ones.
    Train,
    /// Batch norm uses the running statistics.
    Evaluate,
}

struct Node<B: Backend> {
    links: TraceNode,
    rule: Box<dyn BackwardRule<B>>,
}

/// Called in forward order with each site and its value; see [`Tape::with_probe`].
pub type Probe<'p, B> = Box<dyn FnMut(&Site, &Tensor<B>) -> Result<()> + 'p>;

/// The record of one forward pass.
///
/// ```
/// use gradamp_core::prelude::*;
/// use gradamp_core::nn::{Activation, Linear};
/// use gradamp_core::ops;
///
/// let backend = Reference;
/// let mut parameters = Parameters::new(&backend, 0);
/// let linear = Linear::new(&mut parameters, "linear", [3, 2])?;
/// let relu = Activation::relu("relu");
/// let labels = Tensor::from_slice(&backend, &[1], &[1.0])?;
///
/// let mut tape = Tape::train(&mut parameters);
/// let x = tape.constant(Tensor::from_slice(&backend, &[1, 3], &[1.0, -2.0, 0.5])?);
/// let y = linear.forward(&mut tape, x)?;
/// let y = relu.forward(&mut tape, y)?;
/// let loss = ops::softmax_cross_entropy(&mut tape, &y, &labels, 0.0)?;
/// let gradients = tape.backward(&loss.mean, &Hooks::new())?;
///
/// let weight = parameters.find("linear.weight").and_then(|id| gradients.parameter(id));
/// assert_eq!(weight.map(|dw| dw.shape().to_vec()), Some(vec![3, 2]));
/// # Ok::<(), gradamp_core::Error>(())
/// ```
pub struct Tape<'p, B: Backend> {
    parameters: &'p mut Parameters<B>,
    mode: Mode,
    recording: bool,
    nodes: Vec<Node<B>>,
    sites: Vec<Site>,
    paths: HashSet<Arc<str>>,
    values: usize,
    probe: Option<Probe<'p, B>>,
    /// The seed and the step of the run, and how many streams the pass has taken.
    random: Option<(u64, u64, u64)>,
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
            random: None,
        }
    }

    /// Gives the pass the seed of its run and the number of its step, which [`Tape::random`] depends on. Every pass of a training
    /// needs a step of its own: two passes with the same one drop the same elements.
    #[must_use]
    pub fn with_random(mut self, seed: u64, step: u64) -> Self {
        self.random = Some((seed, step, 0));
        self
    }

    /// Random numbers for one operation of this pass, such as a dropout.
    ///
    /// The stream depends on the run's seed, the purpose, the step, and how many streams the pass took before. A resumed run
    /// therefore draws the same numbers, and so does a second pass over the same step.
    ///
    /// **Errors:** a tape without [`Tape::with_random`].
    pub fn random(&mut self, purpose: Purpose) -> Result<Stream> {
        let Some((seed, step, taken)) = &mut self.random else {
            let message =
                "has no random numbers, which an operation needs: give it a seed and a step by `with_random`";
            return Err(Error::setting("tape", message));
        };
        *taken += 1;
        Ok(Stream::new(*seed, purpose).at(*step).at(*taken - 1))
    }

    /// Shows every site's value to `probe` during forward. Each value is computed when it is recorded, so nothing is
    /// fused.
    #[must_use]
    pub fn with_probe(mut self, probe: Probe<'p, B>) -> Self {
        self.probe = Some(probe);
        self
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

    /// A value to which no gradient flows, for example images.
    pub fn constant(&self, tensor: Tensor<B>) -> Var<B> {
        Var::new(Value::computed(tensor), None)
    }

    /// A value whose gradient [`Gradients::leaf`] will give.
    pub fn leaf(&mut self, tensor: Tensor<B>) -> Var<B> {
        let id = Some(self.new_value());
        Var::new(Value::computed(tensor), id)
    }

    /// Names a site; its output follows in [`Tape::record`], or in [`Tape::end_site`] for a container.
    ///
    /// **Errors:** a path that this tape already has: hooks could not tell the two apart.
    pub fn add_site(&mut self, path: &Arc<str>, kind: LayerKind) -> Result<SiteId> {
        if !self.paths.insert(path.clone()) {
            return Err(Error::setting(format!("site {path}"), "is on the tape twice"));
        }
        self.sites.push(Site { path: path.clone(), kind, index: self.sites.len() });
        Ok(SiteId(self.sites.len() - 1))
    }

    /// Begins a container of layers. The layers read the returned value instead of the input. The gradient of this value is the one that
    /// all layers of the container together hand upstream, and hooks see it as the container's input gradient.
    ///
    /// **Errors:** as [`Tape::add_site`].
    pub fn begin_site(&mut self, path: &Arc<str>, kind: LayerKind, x: Var<B>) -> Result<(SiteId, Var<B>)> {
        let site = self.add_site(path, kind)?;
        let links = TraceNode {
            operation: "begin_site",
            inputs: vec![x.id()],
            input_of: Some(site),
            output: self.values,
            ..TraceNode::default()
        };
        let id = self.push(links, Box::new(Identity));
        Ok((site, x.with_id(id)))
    }

    /// Ends a container of layers whose output is `y`.
    pub fn end_site(&mut self, site: SiteId, y: Var<B>) -> Result<Var<B>> {
        self.probe(Some(site), y.value())?;
        let id = self.record_node("end_site", &[&y], &[], Some(site), Identity);
        Ok(y.with_id(id))
    }

    /// Makes `x` a site by itself: the identity forward, hooks backward.
    ///
    /// **Errors:** as [`Tape::add_site`].
    pub fn site(&mut self, path: &str, kind: LayerKind, x: Var<B>) -> Result<Var<B>> {
        let site = Some(self.add_site(&path.into(), kind)?);
        self.probe(site, x.value())?;
        let id = self.record_node("site", &[&x], &[], site, IdentityLayer);
        Ok(x.with_id(id))
    }

    /// Records an operation. The operations of this crate and of other crates use the same function.
    ///
    /// `site` is the operation's site, from [`Tape::add_site`]; `None` for operations without a site, such as a sum.
    ///
    /// **Errors:** those of the probe.
    pub fn record(
        &mut self,
        operation: &'static str,
        inputs: &[&Var<B>],
        parameters: &[ParameterId],
        site: Option<SiteId>,
        output: Tensor<B>,
        rule: impl BackwardRule<B> + 'static,
    ) -> Result<Var<B>> {
        self.record_value(operation, inputs, parameters, site, Value::computed(output), |_| rule)
    }

    /// [`Tape::record`] with a value that may be computed later. The rule may keep the value.
    pub(crate) fn record_value<R: BackwardRule<B> + 'static>(
        &mut self,
        operation: &'static str,
        inputs: &[&Var<B>],
        parameters: &[ParameterId],
        site: Option<SiteId>,
        value: Value<B>,
        rule: impl FnOnce(&Arc<Value<B>>) -> R,
    ) -> Result<Var<B>> {
        self.probe(site, &value)?;
        let y = Var::new(value, None);
        let rule = rule(y.value());
        let id = self.record_node(operation, inputs, parameters, site, rule);
        Ok(y.with_id(id))
    }

    fn probe(&mut self, site: Option<SiteId>, value: &Value<B>) -> Result<()> {
        match (&mut self.probe, site) {
            (Some(probe), Some(site)) => probe(&self.sites[site.0], &value.tensor()?),
            _ => Ok(()),
        }
    }

    fn record_node(
        &mut self,
        operation: &'static str,
        inputs: &[&Var<B>],
        parameters: &[ParameterId],
        site: Option<SiteId>,
        rule: impl BackwardRule<B> + 'static,
    ) -> Option<usize> {
        let links = TraceNode {
            operation,
            inputs: inputs.iter().map(|x| x.id()).collect(),
            parameters: parameters.to_vec(),
            site,
            input_of: None,
            output: self.values,
        };
        self.push(links, Box::new(rule))
    }

    fn push(&mut self, links: TraceNode, rule: Box<dyn BackwardRule<B>>) -> Option<usize> {
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
    /// **Errors:** nothing was recorded for the loss; errors of a rule or a hook.
    pub fn backward(self, loss: &Var<B>, hooks: &Hooks<B>) -> Result<Gradients<B>> {
        let root = loss.id().ok_or_else(|| Error::shape("backward", "nothing was recorded for this loss"))?;
        let uses = self.count_uses();
        let paths = self.parameters.iter().map(|(_, p)| p.path.clone()).collect();
        let mut pass = Pass::new(hooks.snapshot(), self.sites, self.values, uses, paths);
        pass.begin(root, Gradient::ones(self.parameters.backend(), Shape::new(loss.shape())?));
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
