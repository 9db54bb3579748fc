//! Layers: settings and parameter ids, on any backend.

mod layers;

use std::sync::Arc;

pub use layers::{
    Activation, ActivationFunction, BatchNorm2d, Conv2d, Conv2dOptions, Dropout, Linear, MaxPool2d,
    MeanPool2d,
};

use crate::{Backend, Mode, Parameters, Result, Tape, Tensor, Trace, Var};

/// A network, or a part of one: what can be done with a value on a tape.
///
/// A third party writes `forward` for a new topology and gets backward, sites, hooks and amplification.
pub trait Module<B: Backend> {
    /// Computes the output of `x`, recording on the tape what backward needs.
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>>;
}

impl<B: Backend, M: Module<B> + ?Sized> Module<B> for &M {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        (**self).forward(tape, x)
    }
}

impl<B: Backend, M: Module<B> + ?Sized> Module<B> for Box<M> {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        (**self).forward(tape, x)
    }
}

/// A layer that may be left out; without it, y = x.
impl<B: Backend, M: Module<B>> Module<B> for Option<M> {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        match self {
            Some(layer) => layer.forward(tape, x),
            None => Ok(x),
        }
    }
}

/// The sites and connections of a model: one forward pass of a black image in evaluation mode, which changes nothing.
///
/// **Shapes:** `image` is `[h, w, c]`.
pub fn trace<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    image: [usize; 3],
) -> Result<Trace> {
    let [h, w, c] = image;
    let x = Tensor::full(parameters.backend(), &[1, h, w, c], 0.0)?;
    let mut tape = Tape::new(parameters, Mode::Evaluate, true);
    let x = tape.constant(x);
    model.forward(&mut tape, x)?;
    Ok(tape.trace())
}

/// The path `parent.child`, or `child` if `parent` is empty.
pub fn join(parent: &str, child: &str) -> Arc<str> {
    if parent.is_empty() { child.into() } else { format!("{parent}.{child}").into() }
}
