//! A backward pass: it adds the shares of each gradient and calls the hooks.

use std::fmt;
use std::sync::Arc;

use super::gradient::Gradient;
use super::hook::{Site, Visitors};
use super::trace::{SiteId, TraceNode};
use super::var::Var;
use crate::parameters::ParameterId;
use crate::{Backend, Error, Result};

/// The backward of one recorded operation.
pub trait BackwardRule<B: Backend> {
    /// Computes shares of the gradients of the inputs and parameters from `dy`, the gradient of the output, and hands them to `pass`.
    /// Every rule is linear in `dy`: it computes with [`Gradient::unscaled`] and passes [`Gradient::scale`] on.
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()>;
}

/// A backward pass at one node. The node's rule hands it the shares of the node's inputs and parameters.
pub struct Pass<B: Backend> {
    visitors: Visitors<B>,
    sites: Vec<Site>,
    node: TraceNode,
    values: Vec<Option<Gradient<B>>>,
    parameters: Vec<Option<Gradient<B>>>,
    /// For each parameter the number of uses that the pass has not reached yet.
    uses: Vec<usize>,
    paths: Vec<Arc<str>>,
}

impl<B: Backend> Pass<B> {
    pub(crate) fn new(
        visitors: Visitors<B>,
        sites: Vec<Site>,
        values: usize,
        uses: Vec<usize>,
        paths: Vec<Arc<str>>,
    ) -> Self {
        let none = |n: usize| (0..n).map(|_| None).collect();
        Self {
            visitors,
            sites,
            node: TraceNode::default(),
            values: none(values),
            parameters: none(paths.len()),
            uses,
            paths,
        }
    }

    /// Sets the gradient at which the pass begins.
    pub(crate) fn begin(&mut self, value: usize, gradient: Gradient<B>) {
        self.values[value] = Some(gradient);
    }

    /// Goes to `node`, and returns the gradient of its output after the hooks of its site. `None` if no share has arrived.
    pub(crate) fn enter(&mut self, node: TraceNode) -> Result<Option<Gradient<B>>> {
        self.node = node;
        let Some(mut dy) = self.values[self.node.output].take() else {
            for i in 0..self.node.parameters.len() {
                self.passed(i)?;
            }
            return Ok(None);
        };
        if let Some(site) = self.node.site {
            let site = &self.sites[site.0];
            dy = self.visitors.visit(&site.path, dy, |hook, dy| hook.on_gradient(site, dy))?;
        }
        if let Some(container) = self.node.input_of {
            dy = self.input_hooks(container, dy)?;
        }
        Ok(Some(dy))
    }

    pub(crate) fn finish(self) -> Gradients<B> {
        Gradients { values: self.values, parameters: self.parameters }
    }

    /// How many inputs the node has.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// How many parameters the node has.
    pub fn parameters(&self) -> usize {
        self.node.parameters.len()
    }

    /// Whether a gradient flows to the node's input number `input`. If not, the rule need not compute its share.
    pub fn needs(&self, input: usize) -> bool {
        self.node.inputs[input].is_some()
    }

    fn input_hooks(&self, site: SiteId, gradient: Gradient<B>) -> Result<Gradient<B>> {
        let site = &self.sites[site.0];
        self.visitors.visit(&site.path, gradient, |hook, gradient| hook.on_input_gradient(site, gradient))
    }

    /// Hands a share to the node's input number `input`, past the input hooks of the node's site.
    pub fn give(&mut self, input: usize, share: Gradient<B>) -> Result<()> {
        if !self.needs(input) {
            return Ok(());
        }
        let share = match self.node.site {
            Some(site) => self.input_hooks(site, share)?,
            None => share,
        };
        self.share(input, share)
    }

    /// Hands a share to an input without any hook: at the ends of containers.
    pub(super) fn share(&mut self, input: usize, share: Gradient<B>) -> Result<()> {
        let Some(value) = self.node.inputs[input] else { return Ok(()) };
        add(&mut self.values[value], share)
    }

    /// Adds a share to the node's parameter number `parameter`. Hooks see the gradient after its last share.
    pub fn parameter(&mut self, parameter: usize, share: Gradient<B>) -> Result<()> {
        let id = self.node.parameters[parameter].index();
        add(&mut self.parameters[id], share)?;
        self.passed(parameter)
    }

    /// One use of a parameter is behind us; after the last one the hooks see its gradient.
    fn passed(&mut self, parameter: usize) -> Result<()> {
        let id = self.node.parameters[parameter].index();
        self.uses[id] = self.uses[id].checked_sub(1).ok_or_else(|| Error::Parameter {
            path: self.paths[id].to_string(),
            message: format!("{} gave it more shares than it recorded uses", self.node.operation),
        })?;
        if self.uses[id] == 0
            && let Some(gradient) = self.parameters[id].take()
        {
            let path = &*self.paths[id];
            let call = |hook: &mut dyn super::hook::BackwardHook<B>, gradient: &_| {
                hook.on_parameter_gradient(path, gradient)
            };
            self.parameters[id] = Some(self.visitors.visit(path, gradient, call)?);
        }
        Ok(())
    }
}

fn add<B: Backend>(place: &mut Option<Gradient<B>>, share: Gradient<B>) -> Result<()> {
    *place = Some(match place.take() {
        None => share,
        Some(sum) => Gradient::sum(sum, share)?,
    });
    Ok(())
}

impl<B: Backend> fmt::Debug for Pass<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass at {}", self.node.operation)
    }
}

/// What a backward pass leaves: the gradients of parameters and leaves.
pub struct Gradients<B: Backend> {
    values: Vec<Option<Gradient<B>>>,
    parameters: Vec<Option<Gradient<B>>>,
}

impl<B: Backend> Gradients<B> {
    /// The gradient of a parameter; `None` if the loss does not depend on the parameter.
    pub fn parameter(&self, id: ParameterId) -> Option<&Gradient<B>> {
        self.parameters.get(id.index())?.as_ref()
    }

    /// Multiplies the scalar of a parameter's gradient.
    pub(crate) fn scale_parameter(&mut self, id: ParameterId, factor: f32) {
        if let Some(place) = self.parameters.get_mut(id.index()) {
            *place = place.take().map(|gradient| gradient.scaled(factor));
        }
    }

    /// Multiplies the scalar of every parameter's gradient.
    pub(crate) fn scale(&mut self, factor: f32) {
        for place in &mut self.parameters {
            *place = place.take().map(|gradient| gradient.scaled(factor));
        }
    }

    /// The sums of both passes' gradients of parameters, written into the memory of these. The gradients of leaves are those of this
    /// pass.
    ///
    /// **Errors:** unequal shapes.
    pub(crate) fn plus(mut self, others: Self) -> Result<Self> {
        for (place, other) in self.parameters.iter_mut().zip(others.parameters) {
            if let Some(other) = other {
                add(place, other)?;
            }
        }
        Ok(self)
    }

    /// The gradient of a leaf; `None` for other values, and if the loss does not depend on the leaf.
    pub fn leaf(&self, leaf: &Var<B>) -> Option<&Gradient<B>> {
        self.values.get(leaf.id()?)?.as_ref()
    }
}

impl<B: Backend> fmt::Debug for Gradients<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gradients of {} parameters", self.parameters.iter().flatten().count())
    }
}
