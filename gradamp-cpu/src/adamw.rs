//! AdamW: one pass over all parameters.

use gradamp_core::backend::{AdamWSlot, AdamWStep, StepGate};

use crate::device::Cpu;
use crate::elementwise::CHUNK;
use crate::simd::vectorised;

/// A piece of one parameter: gradient, both averages, parameter.
struct Part<'a> {
    step: AdamWStep,
    corrections: [f32; 2],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    parameter: &'a mut [f32],
}

/// Takes the step of every slot; see [`AdamWStep`]. The pieces of all parameters are the tasks of one call of the threads.
pub(super) fn adamw(cpu: &Cpu, slots: Vec<AdamWSlot<'_, Cpu>>) {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for AdamWSlot { mut step, len, gradient, gate, corrections, mean, square, parameter } in slots {
        let Some(coefficient) = StepGate::open(gate.map(|gate| &gate[..])) else { continue };
        step.gradient_scale *= coefficient;
        let corrections = [corrections[0], corrections[1]];
        let averages = mean[..len].chunks_mut(CHUNK).zip(square[..len].chunks_mut(CHUNK));
        let pieces = gradient[..len].chunks(CHUNK).zip(averages).zip(parameter[..len].chunks_mut(CHUNK));
        parts.extend(pieces.map(|((gradient, (mean, square)), parameter)| Part {
            step,
            corrections,
            gradient,
            mean,
            square,
            parameter,
        }));
    }
    cpu.threads().each(parts.into_iter(), |part| take(cpu, part));
}

vectorised! {
    fn take<'a>(part: Part<'a>) {
        let Part { step, corrections, gradient, mean, square, parameter } = part;
        for (((w, m), v), &g) in parameter.iter_mut().zip(mean).zip(square).zip(gradient) {
            step.take(g, corrections, m, v, w);
        }
    }
}
