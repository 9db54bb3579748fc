//! What kernels take and give beside buffers: plain data, re-exported by [`backend`](crate::backend).

use crate::Backend;

/// The per-channel operands of a batch norm: y = (x − mean) / sqrt(variance + epsilon) · gamma + beta.
#[derive(Debug)]
pub struct BatchNormOperands<'a, B: Backend> {
    /// Mean of each channel.
    pub mean: &'a B::Buffer,
    /// Biased variance of each channel.
    pub variance: &'a B::Buffer,
    /// Scale of each channel.
    pub gamma: &'a B::Buffer,
    /// Shift of each channel.
    pub beta: &'a B::Buffer,
    /// Added to the variance under the root.
    pub epsilon: f32,
}

/// The constants of one SGD step.
///
/// g ← clamp(gradient_scale · g, ±clip_value); d = g + weight_decay · w; v ← momentum · v + d;
/// w ← w − lr · (nesterov ? d + momentum · v : v)
///
/// **Source:** PyTorch's `torch.optim.SGD` with dampening 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f32,
    /// Share of the velocity that stays.
    pub momentum: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Whether to look ahead along the velocity.
    pub nesterov: bool,
    /// The gradient's lazy scalar, times the clipping coefficient.
    pub gradient_scale: f32,
    /// Largest magnitude of a gradient's element; infinite for none.
    pub clip_value: f32,
}

/// One parameter of an SGD step.
#[derive(Debug)]
pub struct SgdSlot<'a, B: Backend> {
    /// The constants for this parameter.
    pub step: SgdStep,
    /// Elements.
    pub len: usize,
    /// The gradient.
    pub gradient: &'a B::Buffer,
    /// The velocity; `None` where momentum is 0.
    pub velocity: Option<&'a mut B::Buffer>,
    /// The parameter.
    pub parameter: &'a mut B::Buffer,
}

/// Numbers that summarise a tensor, in the order in which [`Backend::statistics`] writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Σ x
    pub sum: f32,
    /// Σ |x|
    pub sum_abs: f32,
    /// Σ x²
    pub sum_squares: f32,
    /// max |x|, NaN where x holds one
    pub max_abs: f32,
    /// How many elements are 0.
    pub zeros: f32,
}

impl Statistics {
    /// How many numbers there are.
    pub const LEN: usize = 5;

    /// From the order in which [`Backend::statistics`] writes them.
    pub fn from_array([sum, sum_abs, sum_squares, max_abs, zeros]: [f32; Self::LEN]) -> Self {
        Self { sum, sum_abs, sum_squares, max_abs, zeros }
    }

    /// The statistics of `factor` times the tensor.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        Self {
            sum: self.sum * factor,
            sum_abs: self.sum_abs * factor.abs(),
            sum_squares: self.sum_squares * factor * factor,
            max_abs: self.max_abs * factor.abs(),
            zeros: self.zeros,
        }
    }

    /// The order in which [`Backend::statistics`] writes them.
    pub fn to_array(self) -> [f32; Self::LEN] {
        [self.sum, self.sum_abs, self.sum_squares, self.max_abs, self.zeros]
    }
}
