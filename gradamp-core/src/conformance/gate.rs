//! The gate of a step: its coefficient, the norm of all gradients, and whether the step applies; see [`StepGate`].

use ndarray::Array1;

use super::Violation;
use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, random, roundings, upload, wide,
};
use crate::Backend;
use crate::backend::{GateInput, StepGate};

/// No gate, and gates that apply, without and with clipping: what the laws of the optimisers' steps are checked with.
pub(super) const OPEN: [Option<StepGate>; 3] = [
    None,
    Some(StepGate { coefficient: 1.0, norm: 0.5, applies: true }),
    Some(StepGate { coefficient: 0.37, norm: f32::INFINITY, applies: true }),
];

#[derive(Clone, Debug)]
struct Decision {
    /// The number of elements and the scale of each gradient.
    parts: Vec<(usize, f32)>,
    limit: Option<f32>,
    skip_non_finite: bool,
    /// A value to put in the middle of the last gradient.
    holding: Option<f32>,
}

impl Decision {
    fn gradient(&self, number: usize) -> Array1<f32> {
        let mut gradient = random(number as u64, self.parts[number].0);
        if let (Some(value), true) = (self.holding, number + 1 == self.parts.len()) {
            let middle = gradient.len() / 2;
            gradient[middle] = value;
        }
        gradient
    }
}

impl Case for Decision {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let upload = |number| upload(backend, &self.gradient(number));
        let gradients = (0..self.parts.len()).map(upload).collect::<Result<Vec<_>, _>>()?;
        let part = |(gradient, &(len, scale))| GateInput { gradient, len, scale };
        let parts: Vec<_> = gradients.iter().zip(&self.parts).map(part).collect();
        let mut out = Output::new(backend, "out", StepGate::LEN)?;
        backend.step_gate(&parts, self.limit, self.skip_non_finite, &mut out.buffer)?;
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let square = |(number, &(_, scale)): (usize, &(usize, f32))| {
            wide(&self.gradient(number)).mapv(|g| (f64::from(scale) * g).powi(2)).sum()
        };
        let norm = self.parts.iter().enumerate().map(square).sum::<f64>().sqrt();
        let coefficient = match self.limit.map(f64::from) {
            Some(limit) if norm.is_nan() || norm + 1e-6 > limit => limit / (norm + 1e-6),
            _ => 1.0,
        };
        let applies = f64::from(norm.is_finite() || !self.skip_non_finite);
        let out = Array1::from(vec![coefficient, norm, applies]);
        let magnitudes = Array1::from(vec![coefficient, norm, 0.0]);
        let longest = self.parts.iter().map(|(len, _)| *len).max().unwrap_or(0);
        vec![Expected::rounded("out", out, roundings(longest), &magnitudes)]
    }
}

/// One gradient; many gradients of unequal lengths; gradients with scales so large that the square of the norm exceeds f32; and
/// gradients with scales so small that others dwarf them.
fn parts() -> Vec<Vec<(usize, f32)>> {
    let many: Vec<_> = [1, 3, 64, 1027, 7, 70_001, 128, 2].into_iter().map(|len| (len, 1.0)).collect();
    let scaled = |scale| many.iter().map(|&(len, _)| (len, scale)).collect::<Vec<_>>();
    let mut mixed = many.clone();
    mixed.iter_mut().zip([1e30, -2.0, 1e-3, 1e28, 0.0, 1.0, -3e29, 1e-30]).for_each(|(p, scale)| p.1 = scale);
    vec![vec![(1, 1.0)], vec![(5003, -0.25)], many.clone(), scaled(-7.5), scaled(1e30), scaled(1e-12), mixed]
}

/// Every list of gradients with every limit, with and without the skipping of steps that are not finite. One gradient contains
/// `holding`.
fn cases(holding: Option<f32>) -> Vec<Decision> {
    let mut cases = Vec::new();
    for parts in parts() {
        for limit in [None, Some(0.01), Some(1e25), Some(3e38)] {
            for skip_non_finite in [false, true] {
                cases.push(Decision { parts: parts.clone(), limit, skip_non_finite, holding });
            }
        }
    }
    cases
}

/// The norm is right at any scale, and the coefficient on both sides of the limit. A step without gradients has the norm 0.
pub fn step_gate_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let none = Decision { parts: Vec::new(), limit: Some(0.5), skip_non_finite: true, holding: None };
    equals_twin(backend, &[vec![none], cases(None)].concat())
}

/// The default is computed by [`OptimizerKernels::statistics`](crate::backend::OptimizerKernels::statistics).
pub fn step_gate_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases(None))
}

/// One element that is not finite makes the norm not finite, and closes the gate if such steps are skipped.
pub fn step_gate_shows_nan_and_infinity<B: Backend>(backend: &B) -> Result<(), Violation> {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        equals_twin(backend, &cases(Some(value)))?;
    }
    Ok(())
}

pub(super) fn sample() -> impl Case {
    let parts = parts().swap_remove(2);
    Decision { parts, limit: Some(0.01), skip_non_finite: true, holding: None }
}
