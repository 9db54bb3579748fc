//! Activations that saturate: y = tanh(x) and y = 1 / (1 + exp(−x)).

use ndarray::{Array1, Zip};

use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, random, upload, wide};
use super::{Violation, gradients};
use crate::nn::{self, ActivationFunction};
use crate::{Backend, Mode};

const LENGTHS: [usize; 5] = [1, 3, 66, 1024, 70_001];
/// Values at which an exponential overflows or rounds to 1, infinities and NaN.
const EDGES: [f32; 14] = [
    0.0,
    -0.0,
    1e-30,
    -1e-20,
    1e-3,
    -0.6249,
    0.6251,
    9.0,
    -20.0,
    88.9,
    -110.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

#[derive(Clone, Copy, Debug)]
enum Direction {
    Forward,
    Backward,
}

#[derive(Debug)]
struct Activation {
    function: ActivationFunction,
    direction: Direction,
    len: usize,
}

impl Activation {
    /// x within ±4 · 2^k for k from −4 to 3, and the edges.
    fn x(&self) -> Array1<f32> {
        let mut x = random(1, self.len);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= 0.25 * (1 << (i % 8)) as f32);
        x.iter_mut().skip(1).zip(EDGES).for_each(|(x, edge)| *x = edge);
        x
    }

    /// y, as rounded to f32, for which backward has an exact answer.
    fn y(&self) -> Array1<f32> {
        self.value(&self.x()).mapv(|y| y as f32)
    }

    fn value(&self, x: &Array1<f32>) -> Array1<f64> {
        match self.function {
            ActivationFunction::Tanh => wide(x).mapv(f64::tanh),
            _ => wide(x).mapv(|x| 1.0 / (1.0 + (-x).exp())),
        }
    }
}

impl Case for Activation {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let is_tanh = self.function == ActivationFunction::Tanh;
        match self.direction {
            Direction::Forward => {
                let (kernel, x) = (if is_tanh { B::tanh } else { B::sigmoid }, upload(backend, &self.x())?);
                let mut y = Output::new(backend, "y", self.len)?;
                kernel(backend, self.len, &x, &mut y.buffer)?;
                Ok(vec![y.read(backend)?])
            }
            Direction::Backward => {
                let kernel = if is_tanh { B::tanh_backward } else { B::sigmoid_backward };
                let (y, dy) = (upload(backend, &self.y())?, upload(backend, &random(2, self.len))?);
                let mut dx = Output::new(backend, "dx", self.len)?;
                kernel(backend, self.len, &y, &dy, &mut dx.buffer)?;
                Ok(vec![dx.read(backend)?])
            }
        }
    }

    fn twin(&self) -> Vec<Expected> {
        match self.direction {
            Direction::Forward => {
                let (x, y) = (wide(&self.x()), self.value(&self.x()));
                // WGSL's exp may be off by 3 + 2 · |x| roundings; below f32's smallest number all is 0.
                let magnitudes = Zip::from(&x).and(&y).map_collect(|x, y: &f64| match x.is_finite() {
                    true => y.abs() * (1.0 + x.abs().min(88.0) / 4.0),
                    false => 0.0,
                });
                vec![Expected::rounded("y", y, 8.0, &magnitudes)]
            }
            Direction::Backward => {
                let slope = |y: &f64| match self.function {
                    ActivationFunction::Tanh => (1.0 - y) * (1.0 + y),
                    _ => y * (1.0 - y),
                };
                let y = wide(&self.y());
                let dx = Zip::from(&y).and(&wide(&random(2, self.len))).map_collect(|y, dy| slope(y) * dy);
                let magnitudes = dx.mapv(f64::abs);
                vec![Expected::rounded("dx", dx, 4.0, &magnitudes)]
            }
        }
    }
}

fn cases(function: ActivationFunction, direction: Direction) -> [Activation; 5] {
    LENGTHS.map(|len| Activation { function, direction, len })
}

/// Within a few roundings of y, also where the exponential overflows.
pub fn tanh_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(ActivationFunction::Tanh, Direction::Forward))
}

/// The kernel and the trait's default agree.
pub fn tanh_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases(ActivationFunction::Tanh, Direction::Forward))
}

/// Within a few roundings of dx, also where y is next to ±1.
pub fn tanh_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(ActivationFunction::Tanh, Direction::Backward))
}

/// The kernel and the trait's default agree.
pub fn tanh_backward_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases(ActivationFunction::Tanh, Direction::Backward))
}

/// The rule against finite differences.
pub fn tanh_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    gradients::check(backend, Mode::Train, &[2, 3, 2, 3], |_| {
        Ok(Box::new(nn::Activation::new("tanh", ActivationFunction::Tanh)))
    })
}

/// Within a few roundings of y, also where the exponential overflows.
pub fn sigmoid_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(ActivationFunction::Sigmoid, Direction::Forward))
}

/// The kernel and the trait's default agree.
pub fn sigmoid_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases(ActivationFunction::Sigmoid, Direction::Forward))
}

/// Within a few roundings of dx, also where y is next to 0 or 1.
pub fn sigmoid_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(ActivationFunction::Sigmoid, Direction::Backward))
}

/// The kernel and the trait's default agree.
pub fn sigmoid_backward_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases(ActivationFunction::Sigmoid, Direction::Backward))
}

/// The rule against finite differences.
pub fn sigmoid_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    gradients::check(backend, Mode::Train, &[2, 3, 2, 3], |_| {
        Ok(Box::new(nn::Activation::new("sigmoid", ActivationFunction::Sigmoid)))
    })
}

pub(super) fn samples() -> impl Iterator<Item = impl Case> {
    let functions = [ActivationFunction::Tanh, ActivationFunction::Sigmoid];
    functions.into_iter().flat_map(|function| {
        [Direction::Forward, Direction::Backward].map(|direction| Activation {
            function,
            direction,
            len: 70_001,
        })
    })
}
