//! Sites and backward hooks: how anyone looks at, scales or replaces a gradient on its way down.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::gradient::Gradient;
use crate::{Backend, Error, Result, Tensor};

/// What kind of layer a site belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerKind {
    /// A convolution.
    Conv,
    /// A batch norm.
    BatchNorm,
    /// A rectifier.
    Relu,
    /// A hyperbolic tangent.
    Tanh,
    /// A logistic sigmoid.
    Sigmoid,
    /// An activation of another kind. In settings, any activation.
    Activation,
    /// A fully connected layer.
    Linear,
    /// A pooling layer.
    Pool,
    /// A residual block, or another container of layers.
    Block,
    /// A third party's layer.
    Other,
}

impl LayerKind {
    /// Whether a setting of this kind selects a layer of kind `other`: the same kind, or any activation if this kind is
    /// [`LayerKind::Activation`].
    pub fn includes(self, other: Self) -> bool {
        use LayerKind::{Activation, Relu, Sigmoid, Tanh};
        self == other || self == Activation && matches!(other, Relu | Tanh | Sigmoid)
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LayerKind::Conv => "conv",
            LayerKind::BatchNorm => "batch_norm",
            LayerKind::Relu => "relu",
            LayerKind::Tanh => "tanh",
            LayerKind::Sigmoid => "sigmoid",
            LayerKind::Activation => "activation",
            LayerKind::Linear => "linear",
            LayerKind::Pool => "pool",
            LayerKind::Block => "block",
            LayerKind::Other => "other",
        })
    }
}

/// A layer's output. Hooks see its gradient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// The layer's path, as in PyTorch's state_dict: `layer2.0.bn1`.
    pub path: Arc<str>,
    /// The layer's kind.
    pub kind: LayerKind,
    /// The site's number in forward order, from 0.
    pub index: usize,
}

impl Site {
    /// Whether the parameter at `path` belongs to the site's layer or to a layer inside it.
    pub(crate) fn owns(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// The answer of a hook: what happens to a gradient.
#[derive(Debug)]
pub enum GradientAction<B: Backend> {
    /// The gradient stays as it is.
    Keep,
    /// The gradient is multiplied. This costs nothing, since only the gradient's scalar changes.
    Scale(f32),
    /// The gradient gets other values, of the same shape.
    Replace(Tensor<B>),
}

/// Code that sees the gradients of a backward pass and may change them.
///
/// **Order.** A backward pass visits the layers in the reverse of their forward order. At each layer:
/// 1. [`on_gradient`](Self::on_gradient) of its site, with the gradient of the layer's output, once all consumers have
///    added their shares (a container such as a residual block comes before the layers inside it);
/// 2. the layer's own backward; [`on_parameter_gradient`](Self::on_parameter_gradient) for each of its parameters, in their order;
/// 3. [`on_input_gradient`](Self::on_input_gradient) with the gradient that the layer is about to hand upstream.
///
/// At each of these points, hooks run in the order in which they were added. Each hook sees the gradient as the hook before left it.
///
/// An error stops the step and names the site.
pub trait BackwardHook<B: Backend>: Send {
    /// The gradient with respect to the site's layer's output.
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>>;

    /// The gradient that the site's layer hands upstream, with respect to its input.
    fn on_input_gradient(&mut self, _site: &Site, _gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        Ok(GradientAction::Keep)
    }

    /// The gradient with respect to the parameter at `path` (`layer2.0.bn1.weight`), once all its uses have added
    /// their shares.
    fn on_parameter_gradient(&mut self, _path: &str, _gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        Ok(GradientAction::Keep)
    }
}

type Shared<B> = Arc<Mutex<dyn BackwardHook<B>>>;

struct Registry<B: Backend> {
    next: u64,
    hooks: Vec<(u64, Shared<B>)>,
}

/// The hooks of a training run, in the order in which they were added; clones share them.
///
/// ```
/// use gradamp_core::prelude::*;
///
/// /// Doubles the gradient of every rectifier's output.
/// struct Double;
///
/// impl<B: Backend> BackwardHook<B> for Double {
///     fn on_gradient(&mut self, site: &Site, _: &Gradient<B>) -> gradamp_core::Result<GradientAction<B>> {
///         Ok(if site.kind == LayerKind::Relu { GradientAction::Scale(2.0) } else { GradientAction::Keep })
///     }
/// }
///
/// let hooks = Hooks::new();
/// let guard = hooks.add(Double);
/// let mut parameters = Parameters::new(&Reference, 0);
/// let mut tape = Tape::train(&mut parameters);
/// let x = tape.leaf(Tensor::from_slice(&Reference, &[2], &[-1.0, 3.0])?);
/// let y = gradamp_core::ops::relu(&mut tape, &x, &"relu".into())?;
/// let gradients = tape.backward(&y, &hooks)?; // of the sum of y
/// let dx = gradients.leaf(&x).map(Gradient::values).transpose()?;
/// assert_eq!(dx.map(|dx| dx.to_vec()).transpose()?, Some(vec![0.0, 2.0]));
/// drop(guard); // the hook is gone
/// assert!(hooks.is_empty());
/// # Ok::<(), gradamp_core::Error>(())
/// ```
pub struct Hooks<B: Backend> {
    registry: Arc<Mutex<Registry<B>>>,
}

impl<B: Backend> Hooks<B> {
    /// No hooks.
    pub fn new() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry { next: 0, hooks: Vec::new() })) }
    }

    /// Adds `hook` after the present hooks. Dropping the guard removes it.
    pub fn add(&self, hook: impl BackwardHook<B> + 'static) -> HookGuard<B> {
        self.add_shared(Arc::new(Mutex::new(hook)))
    }

    /// Adds a hook that the caller keeps a handle to, for example to read its records.
    pub fn add_shared(&self, hook: Arc<Mutex<dyn BackwardHook<B>>>) -> HookGuard<B> {
        let mut registry = lock(&self.registry);
        let id = registry.next;
        registry.next += 1;
        registry.hooks.push((id, hook));
        HookGuard { id, registry: Arc::downgrade(&self.registry) }
    }

    /// How many hooks there are.
    pub fn len(&self) -> usize {
        lock(&self.registry).hooks.len()
    }

    /// Whether there is no hook.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hooks as they are now: a guard dropped during a backward pass takes effect at the next one.
    pub(crate) fn snapshot(&self) -> Visitors<B> {
        Visitors { hooks: lock(&self.registry).hooks.iter().map(|(_, hook)| hook.clone()).collect() }
    }
}

impl<B: Backend> Default for Hooks<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> Clone for Hooks<B> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone() }
    }
}

impl<B: Backend> fmt::Debug for Hooks<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.len())
    }
}

/// Removes its hook when dropped.
#[must_use = "the hook is removed when its guard is dropped; call `forget` to leave it for good"]
pub struct HookGuard<B: Backend> {
    id: u64,
    registry: Weak<Mutex<Registry<B>>>,
}

impl<B: Backend> HookGuard<B> {
    /// Leaves the hook in place for as long as its [`Hooks`] live.
    pub fn forget(mut self) {
        self.registry = Weak::new();
    }
}

impl<B: Backend> Drop for HookGuard<B> {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            lock(&registry).hooks.retain(|(id, _)| *id != self.id);
        }
    }
}

impl<B: Backend> fmt::Debug for HookGuard<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookGuard({})", self.id)
    }
}

/// Locks the mutex even if a hook panicked while it was locked: a hook's panic does not damage the registry.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hooks of one backward pass.
pub(crate) struct Visitors<B: Backend> {
    hooks: Vec<Shared<B>>,
}

impl<B: Backend> Visitors<B> {
    /// Calls every hook, in order, and returns the gradient after their actions. Errors call the place `name`.
    pub(crate) fn visit(
        &self,
        name: &str,
        mut gradient: Gradient<B>,
        call: impl Fn(&mut dyn BackwardHook<B>, &Gradient<B>) -> Result<GradientAction<B>>,
    ) -> Result<Gradient<B>> {
        for hook in &self.hooks {
            let action = call(&mut *lock(hook), &gradient)
                .map_err(|source| Error::Hook { site: name.into(), source: source.into() })?;
            gradient = match action {
                GradientAction::Keep => gradient,
                GradientAction::Scale(factor) => gradient.scaled(factor),
                GradientAction::Replace(values) if values.shape() == gradient.shape() => {
                    Gradient::new(values)
                }
                GradientAction::Replace(values) => {
                    let message = format!(
                        "a replacement of shape {:?} for a gradient of shape {:?}",
                        values.shape(),
                        gradient.shape()
                    );
                    return Err(Error::Hook { site: name.into(), source: message.into() });
                }
            };
        }
        Ok(gradient)
    }
}
