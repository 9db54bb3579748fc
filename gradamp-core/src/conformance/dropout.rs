//! y = x · mask, with counted random masks; see [`Dropout`].

use ndarray::Array1;

use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, random, upload, wide};
use super::{Broken, Violation, gradients};
use crate::geometry::Dropout;
use crate::random::{Purpose, Stream};
use crate::{Backend, Mode, Module, Result, Tape, Var, nn, ops};

#[derive(Debug)]
struct Drop {
    g: Dropout,
    seed: u64,
}

impl Drop {
    fn stream(&self) -> Stream {
        // A seed of more than 32 bits uses both words of the key.
        Stream::new(self.seed << 30, Purpose::Forward).at(self.g.len as u64)
    }
}

impl Case for Drop {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &random(1, self.g.len))?;
        let mut y = Output::new(backend, "y", self.g.len)?;
        backend.dropout(&self.g, self.stream(), &x, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let dropped = |i: usize| {
            let bits = self.stream().bits((i / self.g.group) as u64 / 2);
            let word = if (i / self.g.group).is_multiple_of(2) { bits & 0xffff_ffff } else { bits >> 32 };
            word < u64::from(self.g.threshold)
        };
        let x = wide(&random(1, self.g.len));
        let factor = |i| if dropped(i) { 0.0 } else { f64::from(self.g.scale) };
        let y = Array1::from_iter(x.iter().enumerate().map(|(i, x)| x * factor(i)));
        let magnitudes = y.mapv(f64::abs);
        vec![Expected::rounded("y", y, 1.0, &magnitudes)]
    }
}

fn cases() -> Result<Vec<Drop>> {
    let mut cases = Vec::new();
    for len in [1, 3, 66, 1025, 70_001] {
        for group in [1, 5, 64] {
            for (p, seed) in [(0.0, 1), (0.1, 2), (0.5, 9), (0.999, 11)] {
                cases.push(Drop { g: Dropout::new(len, group, p)?, seed });
            }
        }
    }
    Ok(cases)
}

/// Each backend drops the same elements, alone and in groups.
pub fn dropout_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases()?)
}

/// The default computes on the host.
pub fn dropout_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases()?)
}

/// A NaN must be visible, whether its element is dropped or not.
pub fn dropout_keeps_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    let case = Drop { g: Dropout::new(64, 1, 0.5)?, seed: 3 };
    let x = upload(backend, &Array1::from_elem(64, f32::NAN))?;
    let mut y = Output::new(backend, "y", 64)?;
    backend.dropout(&case.g, case.stream(), &x, &mut y.buffer)?;
    match y.read(backend)?.values.iter().find(|value| !value.is_nan()) {
        Some(value) => Err(Broken::Other(format!("a NaN became {value}")).into()),
        None => Ok(()),
    }
}

/// Drops elements, then whole examples.
struct Both(nn::Dropout);

impl<B: Backend> Module<B> for Both {
    fn forward(&self, tape: &mut Tape<'_, B>, x: Var<B>) -> Result<Var<B>> {
        let y = self.0.forward(tape, x)?;
        ops::drop_examples(tape, &y, 0.4)
    }
}

/// The rule against finite differences: backward draws the mask of forward again.
pub fn dropout_backward_meets_differences<B: Backend>(backend: &B) -> Result<(), Violation> {
    gradients::check(backend, Mode::Train, &[4, 3, 2, 3], |_| Ok(Box::new(Both(nn::Dropout { p: 0.3 }))))
}

pub(super) fn sample() -> Result<impl Case> {
    Ok(Drop { g: Dropout::new(70_001, 1, 0.5)?, seed: 5 })
}
