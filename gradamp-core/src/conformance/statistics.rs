//! Sum, norms and zeros of a tensor; see [`Statistics`].

use ndarray::Array1;

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, roundings, upload, wide};
use crate::Backend;
use crate::backend::Statistics;

#[derive(Debug)]
struct Summary {
    len: usize,
    offset: usize,
    /// A value to put in the middle.
    holding: Option<f32>,
}

impl Summary {
    /// Every third value is 0.
    fn x(&self) -> Array1<f32> {
        let mut x = random(1, self.len) * 3.0;
        x.iter_mut().skip(1).step_by(3).for_each(|x| *x = 0.0);
        if let Some(value) = self.holding {
            x[self.len / 2] = value;
        }
        x
    }
}

impl Case for Summary {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &self.x())?;
        let mut out = Output::holding(backend, "out", self.offset, &[f32::NAN; Statistics::LEN])?;
        backend.statistics(self.len, &x, self.offset, &mut out.buffer)?;
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let x = wide(&self.x());
        let (sum, sum_abs, sum_squares) = (x.sum(), x.abs().sum(), x.mapv(|x| x * x).sum());
        let max_abs =
            x.fold(0.0, |max: f64, x| if x.is_nan() || max.is_nan() { f64::NAN } else { max.max(x.abs()) });
        let zeros = x.iter().filter(|&&x| x == 0.0).count() as f64;
        let out = Array1::from(vec![sum, sum_abs, sum_squares, max_abs, zeros]);
        let magnitudes = Array1::from(vec![sum_abs, sum_abs, sum_squares, 0.0, 0.0]);
        vec![Expected::rounded("out", out, roundings(self.len), &magnitudes)]
    }
}

/// The numbers are in the documented order, at any offset. The elements around them do not change.
pub fn statistics_equal_their_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = Vec::new();
    for len in [1, 2, 5, 66, 1000, 4099, 70_001] {
        for offset in [0, 5, 35] {
            cases.push(Summary { len, offset, holding: None });
        }
    }
    equals_twin(backend, &cases)
}

/// A diverged step must be visible: a NaN or an infinity makes the sums and the largest magnitude not finite.
pub fn statistics_show_nan_and_infinity<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = Vec::new();
    for len in [1, 66, 4099] {
        for value in [f32::NAN, f32::NEG_INFINITY] {
            cases.push(Summary { len, offset: 5, holding: Some(value) });
        }
    }
    equals_twin(backend, &cases)
}

pub(super) fn sample() -> impl Case {
    Summary { len: 70_001, offset: 5, holding: None }
}
