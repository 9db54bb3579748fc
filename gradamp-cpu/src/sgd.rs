//! Stochastic gradient descent: one pass over all parameters.

use gradamp_core::backend::{SgdSlot, SgdStep, StepGate};

use crate::device::Cpu;
use crate::elementwise::CHUNK;
use crate::simd::vectorised;

/// A piece of one parameter: gradient, velocity, parameter.
type Part<'a> = (SgdStep, &'a [f32], Option<&'a mut [f32]>, &'a mut [f32]);

/// Takes the step of every slot; see [`SgdStep`]. The pieces of all parameters are the tasks of one call of the threads.
pub(super) fn sgd(cpu: &Cpu, slots: Vec<SgdSlot<'_, Cpu>>) {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for SgdSlot { mut step, len, gradient, gate, velocity, parameter } in slots {
        let Some(coefficient) = StepGate::open(gate.map(|gate| &gate[..])) else { continue };
        step.gradient_scale *= coefficient;
        let gradients = gradient[..len].chunks(CHUNK);
        let parameters = parameter[..len].chunks_mut(CHUNK);
        match velocity {
            None => parts.extend(gradients.zip(parameters).map(|(g, w)| (step, g, None, w))),
            Some(velocity) => {
                let velocities = velocity[..len].chunks_mut(CHUNK);
                let pieces = gradients.zip(velocities).zip(parameters);
                parts.extend(pieces.map(|((g, v), w)| (step, g, Some(v), w)));
            }
        }
    }
    cpu.threads().each(parts.into_iter(), |(step, gradient, velocity, parameter)| match velocity {
        None => descend(cpu, step, gradient, parameter),
        Some(velocity) => descend_with_momentum(cpu, step, gradient, velocity, parameter),
    });
}

vectorised! {
    fn descend<'a>(step: SgdStep, gradient: &'a [f32], parameter: &'a mut [f32]) {
        for (w, &g) in parameter.iter_mut().zip(gradient) {
            let d = direction(&step, g, *w);
            *w -= step.lr * d;
        }
    }
}

vectorised! {
    fn descend_with_momentum<'a>(
        step: SgdStep, gradient: &'a [f32], velocity: &'a mut [f32], parameter: &'a mut [f32],
    ) {
        let ahead = if step.nesterov { step.momentum } else { 1.0 };
        for ((w, v), &g) in parameter.iter_mut().zip(velocity).zip(gradient) {
            let d = direction(&step, g, *w);
            *v = step.momentum * *v + d;
            *w -= step.lr * (if step.nesterov { d } else { 0.0 } + ahead * *v);
        }
    }
}

/// clamp(gradient_scale · g, ±clip_value) + weight_decay · w
#[inline(always)]
fn direction(step: &SgdStep, g: f32, w: f32) -> f32 {
    let g = step.gradient_scale * g;
    // Not `clamp`, which panics if a bound is NaN. A NaN gradient stays NaN.
    let g = if g > step.clip_value { step.clip_value } else { g };
    let g = if g < -step.clip_value { -step.clip_value } else { g };
    g + step.weight_decay * w
}
