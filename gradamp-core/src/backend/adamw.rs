//! The operands of AdamW's step, and the step on the host.

use super::memory::Memory;
use super::optimizer::StepGate;
use crate::Result;

/// The constants of one AdamW step.
///
/// g ← clamp(gradient_scale · coefficient · g, ±clip_value);
/// m ← m + (1 − β₁) · (g − m); v ← β₂ · v + (1 − β₂) · g²;
/// w ← (1 − lr · weight_decay) · w − lr · (m / c₁) / (sqrt(v / c₂) + epsilon)
///
/// The coefficient is the [`StepGate`]'s, 1 where there is none. c₁ and c₂ correct the bias of averages that began at 0; see
/// [`AdamWCorrections`].
///
/// **Source:** I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019; PyTorch's `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f32,
    /// 1 − β₁. Given itself, because 1 − β loses digits in f32.
    pub mean_rest: f32,
    /// β₂
    pub square_share: f32,
    /// 1 − β₂
    pub square_rest: f32,
    /// Added to the root, which keeps the step finite.
    pub epsilon: f32,
    /// 1 − lr · weight_decay, which multiplies the parameter.
    pub keep: f32,
    /// The gradient's lazy scalar.
    pub gradient_scale: f32,
    /// Largest magnitude of a gradient's element; infinite for none.
    pub clip_value: f32,
}

/// One parameter of an AdamW step.
#[derive(Debug)]
pub struct AdamWSlot<'a, B: Memory> {
    /// The constants for this parameter.
    pub step: AdamWStep,
    /// Elements.
    pub len: usize,
    /// The gradient.
    pub gradient: &'a B::Buffer,
    /// A [`StepGate`]: its coefficient multiplies the gradient, and where it does not apply, nothing changes.
    pub gate: Option<&'a B::Buffer>,
    /// \[c₁, c₂\] of this step, as [`OptimizerKernels::adamw_corrections`](super::OptimizerKernels::adamw_corrections) leaves them.
    pub corrections: &'a B::Buffer,
    /// m, the moving average of the gradients.
    pub mean: &'a mut B::Buffer,
    /// v, the moving average of their squares.
    pub square: &'a mut B::Buffer,
    /// The parameter.
    pub parameter: &'a mut B::Buffer,
}

/// How the corrections of AdamW's two averages move in one step: c ← share · c + rest, from 0.
///
/// After t steps c is 1 − βᵗ, what the average of t ones would be. The corrections stay on the device, where steps behind a shut gate
/// do not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWCorrections {
    /// β₁ and β₂
    pub shares: [f32; 2],
    /// 1 − β₁ and 1 − β₂. Given themselves, because 1 − β loses digits in f32.
    pub rests: [f32; 2],
}

impl AdamWCorrections {
    /// How many corrections there are.
    pub const LEN: usize = 2;

    /// The corrections after one more step.
    pub fn next(&self, corrections: [f32; 2]) -> [f32; 2] {
        [0, 1].map(|i| self.shares[i] * corrections[i] + self.rests[i])
    }
}

/// The step of a slot, computed on the host: reads all operands, and writes the average, the squares and the parameter.
pub(super) fn on_the_host<B: Memory>(backend: &B, slot: AdamWSlot<'_, B>) -> Result<()> {
    let AdamWSlot { step, len, gradient, gate, corrections, mean, square, parameter } = slot;
    let read = |buffer: &B::Buffer, len: usize| {
        let mut values = vec![0.0; len];
        backend.read(buffer, &mut values).map(|()| values)
    };
    let gate = gate.map(|gate| read(gate, StepGate::LEN)).transpose()?;
    let [coefficient, _norm, applies] = gate.map_or([1.0, 0.0, 1.0], |gate| [gate[0], gate[1], gate[2]]);
    if applies == 0.0 {
        return Ok(());
    }
    let corrections = read(corrections, AdamWCorrections::LEN)?;
    let (g, mut m, mut v, mut w) =
        (read(gradient, len)?, read(mean, len)?, read(square, len)?, read(parameter, len)?);
    for i in 0..len {
        step.take(coefficient * g[i], [corrections[0], corrections[1]], &mut m[i], &mut v[i], &mut w[i]);
    }
    backend.write(&m, mean)?;
    backend.write(&v, square)?;
    backend.write(&w, parameter)
}

impl AdamWStep {
    /// The step of one element. A gradient that is NaN makes all three NaN.
    #[inline(always)]
    pub fn take(&self, g: f32, corrections: [f32; 2], m: &mut f32, v: &mut f32, w: &mut f32) {
        let g = self.gradient_scale * g;
        // Not `clamp`, which panics if a bound is NaN. A NaN gradient stays NaN.
        let g = if g > self.clip_value { self.clip_value } else { g };
        let g = if g < -self.clip_value { -self.clip_value } else { g };
        *m += self.mean_rest * (g - *m);
        *v = self.square_share * *v + self.square_rest * (g * g);
        // Two of the divisions do not depend on the element.
        let (rate, root) = (self.lr / corrections[0], 1.0 / corrections[1].sqrt());
        *w = self.keep * *w - rate * *m / (root * v.sqrt() + self.epsilon);
    }
}
