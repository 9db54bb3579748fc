//! The optimiser's step; see [`SgdStep`].

use ndarray::{Array1, Zip};

use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, every, random, upload, wide};
use super::gate::OPEN;
use super::memory::same;
use super::{Broken, Violation};
use crate::Backend;
use crate::backend::{SgdSlot, SgdStep, StepGate};

/// A step of several parameters, each in a call of its own or all in one call.
#[derive(Debug)]
struct Step<const ALL: bool> {
    parameters: Vec<(usize, SgdStep)>,
    gate: Option<StepGate>,
}

const ONE: bool = false;
const ALL: bool = true;

/// Gradient, velocity and parameter.
fn inputs(number: usize, len: usize) -> [Array1<f32>; 3] {
    [1, 2, 3].map(|kind| random(10 * number as u64 + kind, len))
}

/// A parameter on the device, with its outputs.
struct Placed<B: Backend> {
    len: usize,
    step: SgdStep,
    gradient: B::Buffer,
    gate: Option<B::Buffer>,
    velocity: Option<Output<B>>,
    parameter: Output<B>,
}

impl<B: Backend> Placed<B> {
    fn new(
        backend: &B,
        number: usize,
        len: usize,
        step: SgdStep,
        gate: Option<StepGate>,
    ) -> Result<Self, Violation> {
        let [gradient, velocity, parameter] = inputs(number, len);
        let velocity = match step.momentum {
            0.0 => None,
            _ => Some(Output::holding(backend, "velocity", 0, &velocity)?),
        };
        let parameter = Output::holding(backend, "parameter", 0, &parameter)?;
        let gate = gate.map(|gate| upload(backend, &Array1::from_iter(gate.to_array()))).transpose()?;
        Ok(Self { len, step, gradient: upload(backend, &gradient)?, gate, velocity, parameter })
    }

    fn slot(&mut self) -> SgdSlot<'_, B> {
        SgdSlot {
            step: self.step,
            len: self.len,
            gradient: &self.gradient,
            gate: self.gate.as_ref(),
            velocity: self.velocity.as_mut().map(|velocity| &mut velocity.buffer),
            parameter: &mut self.parameter.buffer,
        }
    }
}

impl<const ALL: bool> Case for Step<ALL> {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let mut placed = Vec::new();
        for (number, &(len, step)) in self.parameters.iter().enumerate() {
            placed.push(Placed::new(backend, number, len, step, self.gate)?);
        }
        if ALL {
            backend.sgd_all(placed.iter_mut().map(Placed::slot).collect())?;
        } else {
            placed.iter_mut().try_for_each(|placed| backend.sgd(placed.slot()))?;
        }
        let mut found = Vec::new();
        for placed in &placed {
            found.push(placed.parameter.read(backend)?);
            if let Some(velocity) = &placed.velocity {
                found.push(velocity.read(backend)?);
            }
        }
        Ok(found)
    }

    fn twin(&self) -> Vec<Expected> {
        let mut expected = Vec::new();
        for (number, &(len, step)) in self.parameters.iter().enumerate() {
            let [g, v, w] = inputs(number, len).map(|array| wide(&array));
            let [lr, momentum, decay, scale, clip] =
                [step.lr, step.momentum, step.weight_decay, step.gradient_scale, step.clip_value]
                    .map(f64::from);
            let scale = scale * self.gate.map_or(1.0, |gate| f64::from(gate.coefficient));
            let d = g.mapv(|g| (scale * g).clamp(-clip, clip)) + decay * &w;
            let d_magnitude = (scale * &g).abs() + decay * w.abs();
            let velocity = momentum * &v + &d;
            let magnitude = momentum * v.abs() + &d_magnitude;
            let ahead = if step.nesterov { momentum } else { 0.0 };
            let along = if step.nesterov { &d } else { &velocity };
            let parameter = Zip::from(&w)
                .and(along)
                .and(&velocity)
                .map_collect(|w, along, velocity| w - lr * (along + ahead * velocity));
            let moved = w.abs() + lr * (1.0 + ahead) * (&magnitude + &d_magnitude);
            expected.push(Expected::rounded("parameter", parameter, 8.0, &moved));
            if step.momentum != 0.0 {
                expected.push(Expected::rounded("velocity", velocity, 8.0, &magnitude));
            }
        }
        expected
    }
}

/// Steps with each constant alone, and with all constants.
fn steps() -> [SgdStep; 7] {
    let plain = SgdStep {
        lr: 0.1,
        momentum: 0.0,
        weight_decay: 0.0,
        nesterov: false,
        gradient_scale: 1.0,
        clip_value: f32::INFINITY,
    };
    let all = SgdStep {
        lr: 0.03,
        momentum: 0.9,
        weight_decay: 5e-2,
        nesterov: true,
        gradient_scale: 1.75,
        clip_value: 0.7,
    };
    [
        plain,
        SgdStep { momentum: 0.9, ..plain },
        SgdStep { momentum: 0.8, nesterov: true, ..plain },
        SgdStep { weight_decay: 0.3, ..plain },
        SgdStep { gradient_scale: -3.5, ..plain },
        SgdStep { clip_value: 0.25, ..plain },
        all,
    ]
}

/// Many parameters of unequal lengths. Neighbours have different constants.
fn all() -> Step<ALL> {
    let lengths = [1, 3, 64, 1027, 7, 5003, 128, 65, 70_001, 2, 10];
    Step { parameters: lengths.into_iter().zip(steps().into_iter().cycle()).collect(), gate: None }
}

/// With each constant alone and with all of them; with and without a velocity; with and without a gate.
pub fn sgd_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = Vec::new();
    for len in [1, 7, 66, 5003, 70_001] {
        for step in steps() {
            cases.extend(OPEN.map(|gate| Step::<ONE> { parameters: vec![(len, step)], gate }));
        }
    }
    equals_twin(backend, &cases)
}

/// A diverged step must be visible: a NaN gradient makes the parameter NaN, with and without clipping.
pub fn sgd_keeps_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&steps(), |&step| {
        let mut placed = Placed::new(backend, 0, 5, step, None)?;
        placed.gradient = upload(backend, &Array1::from_elem(5, f32::NAN))?;
        backend.sgd(placed.slot())?;
        match placed.parameter.read(backend)?.values[4] {
            value if value.is_nan() => Ok(()),
            value => Err(Broken::Other(format!("the parameter became {value}")).into()),
        }
    })
}

/// If the gate does not apply, no bit changes, for any gradient and any other numbers of the gate.
pub fn sgd_rests_behind_a_shut_gate<B: Backend>(backend: &B) -> Result<(), Violation> {
    for coefficient in [1.0, 0.0, f32::NAN] {
        let gate = StepGate { coefficient, norm: f32::NAN, applies: false };
        every(&all().parameters, |&(len, step)| {
            let [_, velocity, parameter] = inputs(0, len);
            let mut one = Placed::new(backend, 0, len, step, Some(gate))?;
            let mut many = Placed::new(backend, 0, len, step, Some(gate))?;
            for placed in [&mut one, &mut many] {
                placed.gradient = upload(backend, &Array1::from_elem(len, f32::NAN))?;
            }
            backend.sgd(one.slot())?;
            backend.sgd_all(vec![many.slot()])?;
            for placed in [&one, &many] {
                same("parameter", &placed.parameter.read(backend)?.values, &parameter.to_vec())?;
                if let Some(found) = &placed.velocity {
                    same("velocity", &found.read(backend)?.values, &velocity.to_vec())?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One call with many parameters of unequal lengths and constants, and with one gate.
pub fn sgd_all_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut cases = vec![Step { parameters: Vec::new(), gate: None }];
    cases.extend(OPEN.map(|gate| Step { gate, ..all() }));
    equals_twin(backend, &cases)
}

/// The default is one call for each parameter.
pub fn sgd_all_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &OPEN.map(|gate| Step { gate, ..all() }))
}

pub(super) fn sample() -> impl Case {
    Step::<ONE> { parameters: all().parameters, gate: OPEN[2] }
}

pub(super) fn all_sample() -> impl Case {
    all()
}
