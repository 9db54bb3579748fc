//! AdamW's step and the corrections of its averages; see [`AdamWStep`] and [`AdamWCorrections`].

use ndarray::{Array1, Zip};

use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, every, random, upload, wide};
use super::gate::OPEN;
use super::memory::same;
use super::{Broken, Violation};
use crate::Backend;
use crate::backend::{AdamWCorrections, AdamWSlot, AdamWStep, StepGate};

/// A step of several parameters, each in a call of its own or all in one call.
#[derive(Debug)]
struct Step<const ALL: bool> {
    parameters: Vec<(usize, AdamWStep)>,
    gate: Option<StepGate>,
    corrections: [f32; 2],
}

const ONE: bool = false;
const ALL: bool = true;

/// Gradient, mean, square and parameter.
fn inputs(number: usize, len: usize) -> [Array1<f32>; 4] {
    let [g, m, v, w] = [1, 2, 3, 4].map(|kind| random(10 * number as u64 + kind, len));
    [g, m, v.mapv(|v| v * v), w]
}

/// A parameter on the device, with its outputs.
struct Placed<B: Backend> {
    len: usize,
    step: AdamWStep,
    gradient: B::Buffer,
    gate: Option<B::Buffer>,
    corrections: B::Buffer,
    mean: Output<B>,
    square: Output<B>,
    parameter: Output<B>,
}

impl<B: Backend> Placed<B> {
    fn new<const ALL: bool>(backend: &B, number: usize, case: &Step<ALL>) -> Result<Self, Violation> {
        let (len, step) = case.parameters[number];
        let [gradient, mean, square, parameter] = inputs(number, len);
        let gate = case.gate.map(|gate| upload(backend, &Array1::from_iter(gate.to_array()))).transpose()?;
        Ok(Self {
            len,
            step,
            gradient: upload(backend, &gradient)?,
            gate,
            corrections: upload(backend, &Array1::from_iter(case.corrections))?,
            mean: Output::holding(backend, "mean", 0, &mean)?,
            square: Output::holding(backend, "square", 0, &square)?,
            parameter: Output::holding(backend, "parameter", 0, &parameter)?,
        })
    }

    fn slot(&mut self) -> AdamWSlot<'_, B> {
        AdamWSlot {
            step: self.step,
            len: self.len,
            gradient: &self.gradient,
            gate: self.gate.as_ref(),
            corrections: &self.corrections,
            mean: &mut self.mean.buffer,
            square: &mut self.square.buffer,
            parameter: &mut self.parameter.buffer,
        }
    }

    fn read(&self, backend: &B) -> Result<[Found; 3], Violation> {
        Ok([self.parameter.read(backend)?, self.mean.read(backend)?, self.square.read(backend)?])
    }
}

impl<const ALL: bool> Case for Step<ALL> {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let place = |number| Placed::new(backend, number, self);
        let mut placed = (0..self.parameters.len()).map(place).collect::<Result<Vec<_>, _>>()?;
        if ALL {
            backend.adamw_all(placed.iter_mut().map(Placed::slot).collect())?;
        } else {
            placed.iter_mut().try_for_each(|placed| backend.adamw(placed.slot()))?;
        }
        let found = placed.iter().map(|placed| placed.read(backend)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn twin(&self) -> Vec<Expected> {
        let mut expected = Vec::new();
        for (number, &(len, s)) in self.parameters.iter().enumerate() {
            let [g, m, v, w] = inputs(number, len).map(|array| wide(&array));
            let [lr, rest, share, square_rest, epsilon, keep, scale, clip] = [
                s.lr,
                s.mean_rest,
                s.square_share,
                s.square_rest,
                s.epsilon,
                s.keep,
                s.gradient_scale,
                s.clip_value,
            ]
            .map(f64::from);
            let scale = scale * self.gate.map_or(1.0, |gate| f64::from(gate.coefficient));
            let [c1, c2] = self.corrections.map(f64::from);
            let g = g.mapv(|g| (scale * g).clamp(-clip, clip));
            let mean = &m + rest * (&g - &m);
            let mean_magnitude = m.abs() + rest * (g.abs() + m.abs());
            let square = share * &v + square_rest * &g * &g;
            let denominator = square.mapv(|v| (v / c2).sqrt() + epsilon);
            let step =
                |mean: &Array1<f64>| Zip::from(mean).and(&denominator).map_collect(|m, d| lr * m / c1 / d);
            let parameter = keep * &w - step(&mean);
            let moved = keep.abs() * w.abs() + step(&mean_magnitude);
            expected.push(Expected::rounded("parameter", parameter, 12.0, &moved));
            expected.push(Expected::rounded("mean", mean, 8.0, &mean_magnitude));
            expected.push(Expected::rounded("square", square.clone(), 8.0, &square));
        }
        expected
    }
}

/// Steps with each constant alone, and with all constants.
fn steps() -> [AdamWStep; 5] {
    let plain = AdamWStep {
        lr: 0.1,
        mean_rest: 0.1,
        square_share: 0.999,
        square_rest: 0.001,
        epsilon: 1e-8,
        keep: 1.0,
        gradient_scale: 1.0,
        clip_value: f32::INFINITY,
    };
    let all = AdamWStep {
        lr: 0.03,
        mean_rest: 0.25,
        square_share: 0.9,
        square_rest: 0.1,
        epsilon: 0.02,
        keep: 0.97,
        gradient_scale: 1.75,
        clip_value: 0.7,
    };
    [
        plain,
        AdamWStep { keep: 0.9, ..plain },
        AdamWStep { gradient_scale: -3.5, ..plain },
        AdamWStep { clip_value: 0.25, ..plain },
        all,
    ]
}

/// The corrections after the first step with the usual averages, after many steps, and others.
const CORRECTIONS: [[f32; 2]; 3] = [[0.1, 0.001], [1.0, 0.9999], [0.4, 0.3]];

/// Many parameters of unequal lengths. Neighbours have different constants.
fn all() -> Step<ALL> {
    let lengths = [1, 3, 64, 1027, 7, 5003, 128, 65, 70_001, 2, 10];
    let parameters = lengths.into_iter().zip(steps().into_iter().cycle()).collect();
    Step { parameters, gate: None, corrections: CORRECTIONS[2] }
}

/// A gate that does not apply.
const SHUT: StepGate = StepGate { coefficient: f32::NAN, norm: f32::NAN, applies: false };

fn single() -> Vec<Step<ONE>> {
    let mut cases = Vec::new();
    for len in [1, 7, 66, 5003, 70_001] {
        for step in steps() {
            for (gate, corrections) in OPEN.into_iter().zip(CORRECTIONS) {
                cases.push(Step { parameters: vec![(len, step)], gate, corrections });
            }
        }
    }
    cases
}

/// With each constant alone and with all of them; early and late; with and without a gate.
pub fn adamw_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &single())
}

/// The default computes on the host.
pub fn adamw_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &single())
}

/// One call with many parameters of unequal lengths and constants, and with one gate.
pub fn adamw_all_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = vec![Step { parameters: Vec::new(), ..all() }];
    cases.extend(OPEN.map(|gate| Step { gate, ..all() }));
    equals_twin(backend, &cases)
}

/// The default is one call for each parameter.
pub fn adamw_all_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &OPEN.map(|gate| Step { gate, ..all() }))
}

/// A diverged step must be visible: a NaN gradient makes the parameter NaN, with and without clipping.
pub fn adamw_keeps_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&steps(), |&step| {
        let case = Step::<ONE> { parameters: vec![(5, step)], gate: None, corrections: CORRECTIONS[0] };
        let mut placed = Placed::new(backend, 0, &case)?;
        placed.gradient = upload(backend, &Array1::from_elem(5, f32::NAN))?;
        backend.adamw(placed.slot())?;
        match placed.parameter.read(backend)?.values[4] {
            value if value.is_nan() => Ok(()),
            value => Err(Broken::Other(format!("the parameter became {value}")).into()),
        }
    })
}

/// If the gate does not apply, no bit changes, for any gradient and any other numbers of the gate.
pub fn adamw_rests_behind_a_shut_gate<B: Backend>(backend: &B) -> Result<(), Violation> {
    let case = Step { gate: Some(SHUT), ..all() };
    for number in 0..case.parameters.len() {
        let (len, _) = case.parameters[number];
        let [_, mean, square, parameter] = inputs(number, len);
        let mut one = Placed::new(backend, number, &case)?;
        let mut many = Placed::new(backend, number, &case)?;
        for placed in [&mut one, &mut many] {
            placed.gradient = upload(backend, &Array1::from_elem(len, f32::NAN))?;
        }
        backend.adamw(one.slot())?;
        backend.adamw_all(vec![many.slot()])?;
        for placed in [&one, &many] {
            let before = [&parameter, &mean, &square];
            for (found, before) in placed.read(backend)?.iter().zip(before) {
                same(found.name, &found.values, &before.to_vec())?;
            }
        }
    }
    Ok(())
}

/// The corrections after some steps.
#[derive(Debug)]
struct Corrections {
    step: AdamWCorrections,
    steps: usize,
    gate: Option<StepGate>,
}

impl Case for Corrections {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let gate = self.gate.map(|gate| upload(backend, &Array1::from_iter(gate.to_array()))).transpose()?;
        let mut out = Output::holding(backend, "corrections", 0, &Array1::zeros(AdamWCorrections::LEN))?;
        for _ in 0..self.steps {
            backend.adamw_corrections(&self.step, gate.as_ref(), &mut out.buffer)?;
        }
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let steps = if self.gate.is_some_and(|gate| !gate.applies) { 0 } else { self.steps };
        // 1 - share^t, where share is 1 - rest.
        let corrections = Array1::from_iter(self.step.rests.map(|rest| {
            let share = 1.0 - f64::from(rest);
            1.0 - share.powi(steps as i32)
        }));
        // Each step rounds the correction twice, and rounds its share once.
        let roundings = 4.0 * (steps.min(1000) + 1) as f64;
        vec![Expected::rounded("corrections", corrections.clone(), roundings, &corrections)]
    }
}

fn corrections() -> Vec<Corrections> {
    let usual = AdamWCorrections { shares: [0.9, 0.999], rests: [0.1, 0.001] };
    let others = AdamWCorrections { shares: [0.0, 0.5], rests: [1.0, 0.5] };
    let mut cases = Vec::new();
    for step in [usual, others] {
        for steps in [1, 2, 30] {
            let gates = OPEN.into_iter().chain([Some(SHUT)]);
            cases.extend(gates.map(|gate| Corrections { step, steps, gate }));
        }
    }
    cases
}

/// After t steps a correction is 1 − βᵗ. Steps behind a shut gate do not count.
pub fn adamw_corrections_equal_their_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &corrections())
}

/// The default computes on the host.
pub fn adamw_corrections_equal_their_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &corrections())
}

pub(super) fn sample() -> impl Case {
    Step { gate: OPEN[2], ..all() }
}

pub(super) fn corrections_sample() -> impl Case {
    corrections().swap_remove(8)
}
