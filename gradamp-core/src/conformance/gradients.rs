//! Compares backward with finite differences, element by element, through the public operations.
//!
//! The loss is L = Σ c · y with random c. The difference quotient of an element, (L(x + h) − L(x − h)) / 2h with L summed
//! in f64, must agree with its gradient. Elements are left out if the step h moves the input of a rectifier across 0.

use ndarray::{Array, IntoDimension};

use super::case::{random, within};
use super::modules::{Add, Chain, Fused, Loss, LossScale, Pooled, Shared, Skipped, SoftLoss, SquaredError};
use super::network::{Net, randomise};
use super::{Broken, Violation};
use crate::nn::{Activation, BatchNorm2d, Conv2d, Conv2dOptions, Linear, MaxPool2d, MeanPool2d, Module};
use crate::random::{Purpose, Stream};
use crate::{Backend, Gradient, Hooks, LayerKind, ParameterId, Parameters, Pass, Result, Tape, Tensor};
use crate::{BackwardRule, Mode};

/// The step h. It is large compared with the rounding of f32, and small compared with the curvature of L.
const H: f32 = 1.0 / 256.0;

/// The largest difference, relative to the largest element of the gradient.
const TOLERANCE: f64 = 2e-3;

pub(super) type Build<B> = fn(&mut Parameters<B>) -> Result<Box<dyn Module<B>>>;

/// Σ c · y, recorded through the public interface. Forward returns y unchanged, and backward returns c.
struct Weigh<B: Backend> {
    c: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Weigh<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        pass.give(0, Gradient::new(self.c).scaled(dy.scale()))
    }
}

/// Distinct numbers in (-1, 1), more than 2h apart and more than h from 0.
fn spread<S: IntoDimension>(shape: S) -> Array<f32, S::Dim> {
    let shape = shape.into_dimension();
    let order = Stream::new(0, Purpose::Test).permutation(ndarray::Dimension::size(&shape));
    let mut numbers = order.iter().map(|&p| (2 * p + 1) as f32 / order.len() as f32 - 1.0);
    Array::from_shape_simple_fn(shape, || numbers.next().unwrap_or(0.0))
}

/// A module with its parameters and its input.
struct Subject<B: Backend> {
    mode: Mode,
    parameters: Parameters<B>,
    module: Box<dyn Module<B>>,
    shape: Vec<usize>,
    x: Vec<f32>,
}

/// The tensor whose elements are varied: the input or a parameter.
#[derive(Clone, Copy, PartialEq)]
enum Operand {
    X,
    Parameter(ParameterId),
}

impl<B: Backend> Subject<B> {
    fn new(backend: &B, mode: Mode, shape: &[usize], build: Build<B>) -> Result<Self> {
        let mut parameters = Parameters::new(backend, 0);
        let module = build(&mut parameters)?;
        randomise(&mut parameters)?;
        let x = spread(shape).iter().copied().collect();
        Ok(Self { mode, parameters, module, shape: shape.to_vec(), x })
    }

    fn x(&self) -> Result<Tensor<B>> {
        Tensor::from_slice(self.parameters.backend(), &self.shape, &self.x)
    }

    fn values(&self, operand: Operand) -> Result<Vec<f32>> {
        match operand {
            Operand::X => Ok(self.x.clone()),
            Operand::Parameter(id) => self.parameters.get(id).value.to_vec(),
        }
    }

    fn set(&mut self, operand: Operand, values: &[f32]) -> Result<()> {
        match operand {
            Operand::X => self.x.copy_from_slice(values),
            Operand::Parameter(id) => self.parameters.set(id, values)?,
        }
        Ok(())
    }

    /// L in f64.
    fn loss(&mut self) -> Result<f64> {
        let x = self.x()?;
        let mut tape = Tape::new(&mut self.parameters, self.mode, false).with_random(1, 0);
        let x = tape.constant(x);
        let y = self.module.forward(&mut tape, x)?.tensor()?.to_vec()?;
        Ok(random(2, y.len()).iter().zip(&y).map(|(&c, &y)| f64::from(c) * f64::from(y)).sum())
    }

    /// For each element of each rectifier whether its output is above 0.
    fn masks(&mut self) -> Result<Vec<bool>> {
        let x = self.x()?;
        let mut masks = Vec::new();
        let tape = Tape::new(&mut self.parameters, self.mode, false).with_random(1, 0);
        let mut tape = tape.with_probe(Box::new(|site, y| {
            if site.kind == LayerKind::Relu {
                masks.extend(y.to_vec()?.iter().map(|&y| y > 0.0));
            }
            Ok(())
        }));
        let x = tape.constant(x);
        self.module.forward(&mut tape, x)?;
        drop(tape);
        Ok(masks)
    }

    /// The gradients that backward computes: of the input, then of the trained parameters.
    fn gradients(&mut self) -> Result<Vec<(Operand, String, Vec<f32>)>> {
        let x = self.x()?;
        let backend = self.parameters.backend().clone();
        let mut tape = Tape::new(&mut self.parameters, self.mode, true).with_random(1, 0);
        let x = tape.leaf(x);
        let y = self.module.forward(&mut tape, x.clone())?;
        let output = y.tensor()?;
        let c = random(2, output.elements()).to_vec();
        let rule = Weigh { c: Tensor::from_slice(&backend, y.shape(), &c)? };
        let loss = tape.record("weigh", &[&y], &[], None, output, rule)?;
        let gradients = tape.backward(&loss, &Hooks::new())?;
        let mut all = Vec::new();
        if let Some(dx) = gradients.leaf(&x) {
            all.push((Operand::X, "x".into(), dx.values()?.to_vec()?));
        }
        for (id, parameter) in self.parameters.iter() {
            if let Some(gradient) = gradients.parameter(id) {
                let operand = Operand::Parameter(id);
                all.push((operand, parameter.path.to_string(), gradient.values()?.to_vec()?));
            }
        }
        Ok(all)
    }

    /// The difference quotient of one element; `None` if the step moves the input of a rectifier across 0.
    fn quotient(&mut self, operand: Operand, place: usize) -> Result<Option<f64>> {
        let values = self.values(operand)?;
        let mut ends = [values[place] - H, values[place] + H].map(|end| (end, 0.0, Vec::new()));
        for (end, loss, masks) in &mut ends {
            let mut moved = values.clone();
            moved[place] = *end;
            self.set(operand, &moved)?;
            (*loss, *masks) = (self.loss()?, self.masks()?);
        }
        self.set(operand, &values)?;
        let [(low, loss_low, masks_low), (high, loss_high, masks_high)] = ends;
        Ok((masks_low == masks_high).then(|| (loss_high - loss_low) / (f64::from(high) - f64::from(low))))
    }

    /// Compares every element of every gradient with its difference quotient.
    fn check(mut self) -> Result<(), Violation> {
        let trained = self.parameters.iter().filter(|(_, p)| p.role.is_trained()).count();
        let gradients = self.gradients()?;
        if gradients.len() != trained + 1 {
            let message = format!("{} gradients for an input and {trained} parameters", gradients.len());
            return Err(Broken::Other(message).into());
        }
        for (operand, name, found) in gradients {
            let mut quotients = Vec::new();
            for place in 0..found.len() {
                quotients.push(self.quotient(operand, place)?);
            }
            let kinks = quotients.iter().filter(|quotient| quotient.is_none()).count();
            if 3 * kinks > found.len() {
                let message = format!("{kinks} of {} elements of {name} are at a kink", found.len());
                return Err(Broken::Other(message).into());
            }
            let expected: Vec<f64> =
                quotients.iter().zip(&found).map(|(q, &g)| q.unwrap_or(f64::from(g))).collect();
            let largest = expected.iter().fold(0.0, |max: f64, q| max.max(q.abs()));
            within("gradient", &found, &expected, TOLERANCE * largest)
                .map_err(|violation| violation.within(format!("{:?} mode, gradient of {name}", self.mode)))?;
        }
        Ok(())
    }
}

pub(super) fn check<B: Backend>(
    backend: &B,
    mode: Mode,
    x: &[usize],
    build: Build<B>,
) -> Result<(), Violation> {
    Subject::new(backend, mode, x, build)?.check()
}

/// With a bias, at stride 2.
pub fn conv2d_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 4, 3, 2], |p| {
        Ok(Box::new(Conv2d::new(
            p,
            "conv",
            [2, 3],
            3,
            Conv2dOptions { stride: 2, padding: 1, ..Conv2dOptions::default() },
        )?))
    })
}

/// The input has four dimensions and is flattened.
pub fn linear_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[3, 2, 1, 3], |p| Ok(Box::new(Linear::new(p, "linear", [6, 4])?)))
}

/// In training mode with the statistics of the batch, and in evaluation mode with the running ones.
pub fn batch_norm_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    [Mode::Train, Mode::Evaluate].into_iter().try_for_each(|mode| {
        check(backend, mode, &[2, 3, 2, 3], |p| Ok(Box::new(BatchNorm2d::new(p, "bn", 3)?)))
    })
}

/// Fused, with and without a residual, in both modes.
pub fn batch_norm_relu_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    in_both_modes(
        backend,
        &[2, 3, 2, 3],
        [|p| Ok(Box::new(fused(p, false)?)), |p| Ok(Box::new(fused(p, true)?))],
    )
}

/// A rectified batch norm that a convolution of two by two pixels computes as it reads, in both modes.
pub fn fused_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    [Mode::Train, Mode::Evaluate].into_iter().try_for_each(|mode| {
        check(backend, mode, &[3, 2, 2, 3], |p| {
            let conv =
                Conv2d::new(p, "conv", [3, 2], 3, Conv2dOptions { padding: 1, ..Conv2dOptions::default() })?;
            Ok(Box::new(Chain(BatchNorm2d::new(p, "bn", 3)?, Activation::relu("relu"), conv)))
        })
    })
}

fn fused<B: Backend>(p: &mut Parameters<B>, residual: bool) -> Result<Fused> {
    Ok(Fused { bn: BatchNorm2d::new(p, "bn", 3)?, relu: Activation::relu("relu"), residual })
}

fn in_both_modes<B: Backend>(backend: &B, x: &[usize], builds: [Build<B>; 2]) -> Result<(), Violation> {
    for mode in [Mode::Train, Mode::Evaluate] {
        builds.into_iter().try_for_each(|build| check(backend, mode, x, build))?;
    }
    Ok(())
}

/// A rectified batch norm, with and without a residual, that a convolution of two by two pixels and two other readers share, in
/// both modes.
pub fn skipped_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    fn skipped<B: Backend>(p: &mut Parameters<B>, residual: bool) -> Result<Box<dyn Module<B>>> {
        let conv = Conv2d::new(
            p,
            "conv",
            [3, 3],
            3,
            Conv2dOptions { padding: 1, bias: false, ..Conv2dOptions::default() },
        )?;
        Ok(Box::new(Skipped(fused(p, residual)?, conv, Activation::relu("last"))))
    }
    in_both_modes(backend, &[3, 2, 2, 3], [|p| skipped(p, false), |p| skipped(p, true)])
}

/// A rectified batch norm, with and without a residual, before a max-pool of overlapping windows.
pub fn pooled_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    fn pooled<B: Backend>(p: &mut Parameters<B>, residual: bool) -> Result<Box<dyn Module<B>>> {
        Ok(Box::new(Pooled(fused(p, residual)?, MaxPool2d::new("pool", 2, 1))))
    }
    in_both_modes(backend, &[2, 4, 3, 3], [|p| pooled(p, false), |p| pooled(p, true)])
}

/// The windows overlap.
pub fn max_pool2d_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 4, 3, 2], |_| Ok(Box::new(MaxPool2d::new("pool", 2, 1))))
}

/// The images have more than one pixel.
pub fn mean_pool_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 3, 2, 3], |_| Ok(Box::new(MeanPool2d::new("pool"))))
}

/// A value with two consumers gets both shares.
pub fn add_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 3, 2, 3], |_| Ok(Box::new(Add(Activation::relu("relu")))))
}

/// Against labels and against shares of classes, with and without label smoothing, and the squared error.
pub fn loss_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[3, 5], |_| Ok(Box::new(SoftLoss { smoothing: 0.0 })))?;
    check(backend, Mode::Train, &[3, 5], |_| Ok(Box::new(SoftLoss { smoothing: 0.2 })))?;
    check(backend, Mode::Train, &[3, 5], |_| Ok(Box::new(SquaredError)))?;
    check(backend, Mode::Train, &[3, 5], |_| Ok(Box::new(Loss { smoothing: 0.0 })))?;
    check(backend, Mode::Train, &[3, 5], |_| Ok(Box::new(Loss { smoothing: 0.2 })))
}

/// The values are multiplied, and the gradient's scalar is divided by the same number.
pub fn loss_scale_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 3, 2, 3], |_| Ok(Box::new(LossScale(1024.0))))
}

/// A parameter with two uses gets both shares.
pub fn shared_weights_meet_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[1, 3, 4, 2], |p| {
        let initial = crate::Initial::Constant(0.0);
        Ok(Box::new(Shared(p.add("weight", crate::Role::ConvWeight, &[3, 3, 2, 2], initial)?)))
    })
}

/// All operations together: a residual block with a projection, a pool and a classifier.
pub fn residual_block_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    check(backend, Mode::Train, &[2, 5, 5, 2], |p| Ok(Box::new(Net::new(p)?)))
}
