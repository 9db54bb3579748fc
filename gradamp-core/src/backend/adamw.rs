//! The operands of AdamW's step, and the step of one element.

use super::memory::Memory;

/// The constants of one AdamW step.
///
/// g ← clamp(gradient_scale · coefficient · g, ±clip_value);
/// m ← m + (1 − β₁) · (g − m); v ← β₂ · v + (1 − β₂) · g²;
/// w ← (1 − lr · weight_decay) · w − lr · (m / c₁) / (sqrt(v / c₂) + epsilon)
///
/// The coefficient is the [`StepGate`](super::StepGate)'s, 1 where there is none. c₁ and c₂ correct the bias of averages that began at 0; see
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
    /// A [`StepGate`](super::StepGate): its coefficient multiplies the gradient, and where it does not apply, nothing changes.
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

impl<'a, B: Memory> AdamWSlot<'a, B> {
    /// The same for a backend with the same buffers, such as the one inside a decorator.
    pub fn on<C: Memory<Buffer = B::Buffer>>(self) -> AdamWSlot<'a, C> {
        let Self { step, len, gradient, gate, corrections, mean, square, parameter } = self;
        AdamWSlot { step, len, gradient, gate, corrections, mean, square, parameter }
    }
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
