//! out = a · b

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, random, upload, wide};
use crate::Backend;

#[derive(Debug)]
struct Multiply {
    len: usize,
}

impl Case for Multiply {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let [a, b] = [1, 2].map(|number| random(number, self.len));
        let (a, b) = (upload(backend, &a)?, upload(backend, &b)?);
        let mut out = Output::new(backend, "out", self.len)?;
        backend.multiply(self.len, &a, &b, &mut out.buffer)?;
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let [a, b] = [1, 2].map(|number| wide(&random(number, self.len)));
        let out = a * b;
        let magnitudes = out.mapv(f64::abs);
        vec![Expected::rounded("out", out, 1.0, &magnitudes)]
    }
}

fn cases() -> Vec<Multiply> {
    [1, 3, 66, 1024, 70_001].map(|len| Multiply { len }).into()
}

/// Also on lengths that no vector divides.
pub fn multiply_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases())
}

/// The default computes on the host.
pub fn multiply_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases())
}

pub(super) fn sample() -> impl Case {
    Multiply { len: 70_001 }
}
