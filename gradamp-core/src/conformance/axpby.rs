//! y = alpha · x + beta · y

use ndarray::Array1;

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, upload, wide};
use crate::Backend;

#[derive(Debug)]
struct Sum {
    len: usize,
    alpha: f32,
    beta: f32,
}

impl Sum {
    fn inputs(&self) -> (Array1<f32>, Array1<f32>) {
        let y = if self.beta == 0.0 { Array1::from_elem(self.len, f32::NAN) } else { random(2, self.len) };
        (random(1, self.len), y)
    }
}

impl Case for Sum {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let (x, y) = self.inputs();
        let x = upload(backend, &x)?;
        let mut y = Output::holding(backend, "y", 0, &y)?;
        backend.axpby(self.len, self.alpha, &x, self.beta, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (x, y) = self.inputs();
        let ax = f64::from(self.alpha) * wide(&x);
        let by = if self.beta == 0.0 { Array1::zeros(self.len) } else { f64::from(self.beta) * wide(&y) };
        vec![Expected::rounded("y", &ax + &by, 2.0, &(ax.abs() + by.abs()))]
    }
}

/// Cases are copies, scales, sums and differences. With a beta of 0, y is not read.
pub fn axpby_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = Vec::new();
    for len in [1, 3, 4, 67, 1024, 5003, 70_001] {
        for (alpha, beta) in [(1.0, 0.0), (-2.5, 0.0), (1.0, 1.0), (0.3, -1.7), (0.0, 0.5)] {
            cases.push(Sum { len, alpha, beta });
        }
    }
    equals_twin(backend, &cases)
}

pub(super) fn sample() -> impl Case {
    Sum { len: 70_001, alpha: 0.3, beta: -1.7 }
}
