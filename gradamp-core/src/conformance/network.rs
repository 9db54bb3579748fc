//! A small network with every kind of site, and one training step of it with hooks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array4;

use super::case::{every, random};
use super::{Broken, Violation};
use crate::Mode;
use crate::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MeanPool2d, Module, join};
use crate::{
    Backend, BackwardHook, Gradient, GradientAction, HookGuard, Hooks, LayerKind, Parameters, Result, Role,
    Site, Tape, Tensor, Var, ops,
};

/// The options of a 3x3 convolution that keeps the image's size.
const SAME_SIZE: Conv2dOptions = Conv2dOptions { stride: 1, padding: 1, bias: false };

/// A network that consists of a residual block with a projection at stride 2 and a second skip connection inside; a convolution with a
/// skip connection around it; a batch norm that is fused with the next convolution; a pool; and a classifier. The images of the fused
/// convolution have two by two pixels, for which the CPU backend always uses a Winograd algorithm and therefore fuses.
pub(super) struct Net {
    block: Arc<str>,
    conv1: Conv2d,
    bn1: BatchNorm2d,
    relu1: Activation,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    relu2: Activation,
    shortcut: Conv2d,
    shortcut_bn: BatchNorm2d,
    skipped: Conv2d,
    bn3: BatchNorm2d,
    relu3: Activation,
    conv3: Conv2d,
    pool: MeanPool2d,
    linear: Linear,
}

impl Net {
    pub(super) fn new<B: Backend>(parameters: &mut Parameters<B>) -> Result<Self> {
        let path = |name| join("block", name);
        Ok(Self {
            block: "block".into(),
            conv1: Conv2d::new(
                parameters,
                &path("conv1"),
                [2, 3],
                3,
                Conv2dOptions { stride: 2, ..SAME_SIZE },
            )?,
            bn1: BatchNorm2d::new(parameters, &path("bn1"), 3)?,
            relu1: Activation::relu(&path("relu1")),
            conv2: Conv2d::new(parameters, &path("conv2"), [3, 3], 3, SAME_SIZE)?,
            bn2: BatchNorm2d::new(parameters, &path("bn2"), 3)?,
            relu2: Activation::relu(&path("relu2")),
            shortcut: Conv2d::new(
                parameters,
                &path("shortcut.0"),
                [2, 3],
                1,
                Conv2dOptions { stride: 2, padding: 0, ..SAME_SIZE },
            )?,
            shortcut_bn: BatchNorm2d::new(parameters, &path("shortcut.1"), 3)?,
            skipped: Conv2d::new(parameters, "skipped", [3, 3], 3, SAME_SIZE)?,
            bn3: BatchNorm2d::new(parameters, "bn3", 3)?,
            relu3: Activation::relu("relu3"),
            conv3: Conv2d::new(parameters, "conv3", [3, 3], 3, SAME_SIZE)?,
            pool: MeanPool2d::new("pool"),
            linear: Linear::new(parameters, "linear", [3, 4])?,
        })
    }
}

impl<B: Backend> Module<B> for Net {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let (block, x) = tape.begin_site(&self.block, LayerKind::Block, x)?;
        let y = self.conv1.forward(tape, x.clone())?;
        let y = self.bn1.forward(tape, y)?;
        let y = self.relu1.forward(tape, y)?;
        let z = self.conv2.forward(tape, y.clone())?;
        let y = ops::add(tape, &z, &y)?; // two consumers of relu1
        let shortcut = self.shortcut.forward(tape, x)?;
        let shortcut = self.shortcut_bn.forward(tape, shortcut)?;
        let y = self.bn2.forward(tape, y)?;
        let y = ops::add(tape, &y, &shortcut)?;
        let y = self.relu2.forward(tape, y)?;
        let y = tape.end_site(block, y)?;
        let z = self.skipped.forward(tape, y.clone())?;
        let y = ops::add(tape, &z, &y)?; // two readers of a rectified sum
        let y = self.bn3.forward(tape, y)?;
        let y = self.relu3.forward(tape, y)?;
        let y = self.conv3.forward(tape, y)?;
        let y = self.pool.forward(tape, y)?;
        self.linear.forward(tape, y)
    }
}

/// The places at which hooks see gradients of [`Net`], in the documented order of a backward pass.
pub(super) const PLACES: [Place; 45] = {
    use Place::{Input, Output, Parameter};
    [
        Output("linear"),
        Parameter("linear.weight"),
        Parameter("linear.bias"),
        Input("linear"),
        Output("pool"),
        Input("pool"),
        Output("conv3"),
        Parameter("conv3.weight"),
        Input("conv3"),
        Output("relu3"),
        Input("relu3"),
        Output("bn3"),
        Parameter("bn3.weight"),
        Parameter("bn3.bias"),
        Input("bn3"),
        Output("skipped"),
        Parameter("skipped.weight"),
        Input("skipped"),
        Output("block"),
        Output("block.relu2"),
        Input("block.relu2"),
        Output("block.bn2"),
        Parameter("block.bn2.weight"),
        Parameter("block.bn2.bias"),
        Input("block.bn2"),
        Output("block.shortcut.1"),
        Parameter("block.shortcut.1.weight"),
        Parameter("block.shortcut.1.bias"),
        Input("block.shortcut.1"),
        Output("block.shortcut.0"),
        Parameter("block.shortcut.0.weight"),
        Input("block.shortcut.0"),
        Output("block.conv2"),
        Parameter("block.conv2.weight"),
        Input("block.conv2"),
        Output("block.relu1"),
        Input("block.relu1"),
        Output("block.bn1"),
        Parameter("block.bn1.weight"),
        Parameter("block.bn1.bias"),
        Input("block.bn1"),
        Output("block.conv1"),
        Parameter("block.conv1.weight"),
        Input("block.conv1"),
        Input("block"),
    ]
};

/// A place at which a hook sees a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Output(&'static str),
    Input(&'static str),
    Parameter(&'static str),
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        let (Place::Output(name) | Place::Input(name) | Place::Parameter(name)) = self;
        name
    }
}

type Act<B> = dyn FnMut(Place, &Gradient<B>) -> Result<GradientAction<B>> + Send;

/// A hook that calls a function at every place of [`Net`].
pub(super) struct Everywhere<B: Backend>(Box<Act<B>>);

impl<B: Backend> Everywhere<B> {
    pub(super) fn new(
        act: impl FnMut(Place, &Gradient<B>) -> Result<GradientAction<B>> + Send + 'static,
    ) -> Self {
        Self(Box::new(act))
    }

    /// A hook that calls `act` at one place only.
    pub(super) fn at(
        place: Place,
        mut act: impl FnMut(&Gradient<B>) -> Result<GradientAction<B>> + Send + 'static,
    ) -> Self {
        Self::new(move |here, gradient| if here == place { act(gradient) } else { Ok(GradientAction::Keep) })
    }

    fn act(
        &mut self,
        name: &str,
        is: fn(&'static str) -> Place,
        g: &Gradient<B>,
    ) -> Result<GradientAction<B>> {
        let known = PLACES.into_iter().find(|place| place.name() == name && *place == is(place.name()));
        match known {
            Some(place) => (self.0)(place, g),
            None => Err(crate::Error::setting(name, "the network has no such place")),
        }
    }
}

impl<B: Backend> BackwardHook<B> for Everywhere<B> {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        self.act(&site.path, Place::Output, gradient)
    }
    fn on_input_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        self.act(&site.path, Place::Input, gradient)
    }
    fn on_parameter_gradient(&mut self, path: &str, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        self.act(path, Place::Parameter, gradient)
    }
}

/// A new tensor with `factor` times the true values of the gradient.
pub(super) fn times<B: Backend>(gradient: &Gradient<B>, factor: f32) -> Result<Tensor<B>> {
    map(gradient, |value| factor * value)
}

/// A new tensor with `f` of each true value of the gradient, computed on the host.
pub(super) fn map<B: Backend>(gradient: &Gradient<B>, f: impl Fn(f32) -> f32) -> Result<Tensor<B>> {
    let values = gradient.values()?;
    let changed: Vec<f32> = values.to_vec()?.into_iter().map(f).collect();
    Tensor::from_slice(values.backend(), values.shape(), &changed)
}

/// A list to which hooks write, and which a law reads.
pub(super) struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Notes<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }
    pub(super) fn push(&self, note: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }
    pub(super) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether operations may be fused. They run one by one if a probe reads every site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Fused,
    Unfused,
}

/// Gradients by name: `x` and the paths of the parameters.
pub(super) type ByName = BTreeMap<String, Vec<f32>>;

pub(super) fn images() -> Array4<f32> {
    random(1, [2, 4, 4, 2])
}

/// Fills every parameter with random values, so that no gradient is 0 by symmetry.
pub(super) fn randomise<B: Backend>(parameters: &mut Parameters<B>) -> Result<()> {
    let all: Vec<_> = parameters.iter().map(|(id, p)| (id, p.role, p.value.elements())).collect();
    for (id, role, elements) in all {
        let values = random(100 + id.index() as u64, elements);
        let values = match role {
            Role::Gamma | Role::Running => values * 0.5 + 1.0, // a running variance is above 0
            _ => values,
        };
        parameters.set(id, &values.to_vec())?;
    }
    Ok(())
}

/// One forward and backward pass of [`Net`] in training mode.
pub(super) fn gradients<B: Backend>(backend: &B, hooks: &Hooks<B>, form: Form) -> Result<ByName> {
    let mut parameters = Parameters::new(backend, 0);
    let net = Net::new(&mut parameters)?;
    randomise(&mut parameters)?;
    let mut tape = Tape::new(&mut parameters, Mode::Train, true);
    if form == Form::Unfused {
        tape = tape.with_probe(Box::new(|_, _| Ok(())));
    }
    let x = tape.leaf(Tensor::from_array(backend, &images())?);
    let logits = net.forward(&mut tape, x.clone())?;
    let loss = ops::softmax_cross_entropy(
        &mut tape,
        &logits,
        &Tensor::from_slice(backend, &[2], &[2.0, 0.0])?,
        0.1,
    )?;
    let gradients = tape.backward(&loss.mean, hooks)?;
    let mut all = BTreeMap::new();
    if let Some(dx) = gradients.leaf(&x) {
        all.insert("x".into(), dx.values()?.to_vec()?);
    }
    for (id, parameter) in parameters.iter() {
        if let Some(gradient) = gradients.parameter(id) {
            all.insert(parameter.path.to_string(), gradient.values()?.to_vec()?);
        }
    }
    Ok(all)
}

/// The gradients of a pass with one hook.
pub(super) fn gradients_with<B: Backend>(backend: &B, form: Form, hook: Everywhere<B>) -> Result<ByName> {
    let hooks = Hooks::new();
    let _guard: HookGuard<B> = hooks.add(hook);
    gradients(backend, &hooks, form)
}

/// Checks that two sets of gradients agree up to rounding, relative to the largest element of each tensor.
pub(super) fn agree(found: &ByName, expected: &ByName) -> Result<(), Violation> {
    if !found.keys().eq(expected.keys()) {
        let message = format!("gradients of {:?}, expected {:?}", found.keys(), expected.keys());
        return Err(Broken::Other(message).into());
    }
    every(&found.keys().collect::<Vec<_>>(), |name| near("gradient", &found[*name], &expected[*name]))
}

/// Checks that two tensors agree up to rounding, relative to the largest element.
pub(super) fn near(output: &'static str, found: &[f32], expected: &[f32]) -> Result<(), Violation> {
    let largest = expected.iter().fold(0.0, |max: f64, &value| max.max(f64::from(value).abs()));
    super::case::within(
        output,
        found,
        &expected.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
        1e-4 * largest,
    )
}
