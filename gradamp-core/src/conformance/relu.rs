//! y = max(x, 0)

use ndarray::{Array1, Zip};

use super::case::{Case, Expected, Found, Output, equals_twin, random, upload, wide};
use super::{Violation, gradients};
use crate::{Backend, Mode, nn};

const LENGTHS: [usize; 6] = [1, 3, 66, 1024, 5003, 70_001];

#[derive(Debug)]
struct Relu {
    len: usize,
    nan: bool,
}

impl Relu {
    /// Every seventh value is 0. In cases with NaN, every fifth value is NaN.
    fn x(&self) -> Array1<f32> {
        let mut x = random(1, self.len);
        x.iter_mut().step_by(7).for_each(|x| *x = 0.0);
        if self.nan {
            x.iter_mut().skip(1).step_by(5).for_each(|x| *x = f32::NAN);
        }
        x
    }
}

impl Case for Relu {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &self.x())?;
        let mut y = Output::new(backend, "y", self.len)?;
        backend.relu(self.len, &x, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        vec![Expected::exact("y", wide(&self.x()).mapv(|x| if x < 0.0 { 0.0 } else { x }))]
    }
}

#[derive(Debug)]
struct ReluBackward {
    len: usize,
}

impl ReluBackward {
    /// An output of ReLU, and a gradient that is infinite at the output's first zero.
    fn inputs(&self) -> (Array1<f32>, Array1<f32>) {
        let y = random(1, self.len).mapv(|x| x.max(0.0));
        let mut dy = random(2, self.len);
        if let Some(place) = y.iter().position(|&y| y == 0.0) {
            dy[place] = f32::INFINITY;
        }
        (y, dy)
    }
}

impl Case for ReluBackward {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let (y, dy) = self.inputs();
        let (y, dy) = (upload(backend, &y)?, upload(backend, &dy)?);
        let mut dx = Output::new(backend, "dx", self.len)?;
        backend.relu_backward(self.len, &y, &dy, &mut dx.buffer)?;
        Ok(vec![dx.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (y, dy) = self.inputs();
        let dx = Zip::from(&wide(&y)).and(&wide(&dy)).map_collect(|&y, &dy| if y > 0.0 { dy } else { 0.0 });
        vec![Expected::exact("dx", dx)]
    }
}

/// The values are exact.
pub fn relu_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &LENGTHS.map(|len| Relu { len, nan: false }))
}

/// A diverged step must be visible: NaN passes through.
pub fn relu_keeps_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &LENGTHS.map(|len| Relu { len, nan: true }))
}

/// The values are exact. Where y is 0, dx is 0, even if the gradient is infinite.
pub fn relu_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &LENGTHS.map(|len| ReluBackward { len }))
}

pub(super) fn forward() -> impl Case {
    Relu { len: 70_001, nan: false }
}

pub(super) fn backward() -> impl Case {
    ReluBackward { len: 70_001 }
}

/// Elements near 0 are left out.
pub fn relu_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    gradients::check(backend, Mode::Train, &[2, 3, 2, 3], |_| Ok(Box::new(nn::Activation::relu("relu"))))
}
