//! What kernels take and give beside buffers: plain data, re-exported by [`backend`](crate::backend).

use crate::{Backend, Result};

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
/// g ← clamp(gradient_scale · coefficient · g, ±clip_value); d = g + weight_decay · w; v ← momentum · v + d;
/// w ← w − lr · (nesterov ? d + momentum · v : v)
///
/// The coefficient is the [`StepGate`]'s, 1 where there is none.
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
    /// The gradient's lazy scalar.
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
    /// A [`StepGate`] as [`Backend::step_gate`] writes it: its coefficient multiplies the gradient, and where it does not apply,
    /// parameter and velocity stay bit for bit, whatever the gradient holds.
    pub gate: Option<&'a B::Buffer>,
    /// The velocity; `None` where momentum is 0.
    pub velocity: Option<&'a mut B::Buffer>,
    /// The parameter.
    pub parameter: &'a mut B::Buffer,
}

/// One gradient of a step, as [`Backend::step_gate`] reads it: `scale` times `len` values.
#[derive(Debug)]
pub struct GateInput<'a, B: Backend> {
    /// The values.
    pub gradient: &'a B::Buffer,
    /// Elements.
    pub len: usize,
    /// The gradient's lazy scalar.
    pub scale: f32,
}

/// What all gradients of a step together decide: how far they are clipped, and whether there is a step at all. It stays
/// on the device, so that the host need not wait for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepGate {
    /// Multiplies every gradient.
    pub coefficient: f32,
    /// The norm of all gradients together, before clipping.
    pub norm: f32,
    /// Whether the step changes anything.
    pub applies: bool,
}

impl StepGate {
    /// How many numbers there are: coefficient, norm, and 1 or 0 for whether it applies.
    pub const LEN: usize = 3;

    /// coefficient = limit / (norm + 1e-6) where the norm is NaN or that is below 1, else 1. With `skip_non_finite` a
    /// norm that is not finite does not apply.
    ///
    /// **Source:** PyTorch's `clip_grad_norm_`.
    pub fn new(norm: f32, limit: Option<f32>, skip_non_finite: bool) -> Self {
        let coefficient = match limit {
            // `min` would turn a norm that is not a number into 1 and hide that the run diverges; PyTorch lets it through.
            Some(limit) if norm.is_nan() || norm + 1e-6 > limit => limit / (norm + 1e-6),
            _ => 1.0,
        };
        Self { coefficient, norm, applies: norm.is_finite() || !skip_non_finite }
    }

    /// From the order in which [`Backend::step_gate`] writes them.
    pub fn from_array([coefficient, norm, applies]: [f32; Self::LEN]) -> Self {
        Self { coefficient, norm, applies: applies != 0.0 }
    }

    /// The order in which [`Backend::step_gate`] writes them.
    pub fn to_array(self) -> [f32; Self::LEN] {
        [self.coefficient, self.norm, f32::from(u8::from(self.applies))]
    }
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

    /// The statistics of the beginnings of several buffers (each with its number of elements), in one read.
    pub fn of<B: Backend>(backend: &B, sources: &[(&B::Buffer, usize)]) -> Result<Vec<Self>> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = vec![0.0; sources.len() * Self::LEN];
        let mut out = backend.alloc(values.len())?;
        for (i, &(x, len)) in sources.iter().enumerate() {
            backend.statistics(len, x, i * Self::LEN, &mut out)?;
        }
        backend.read(&out, &mut values)?;
        Ok(values.as_chunks().0.iter().map(|&values| Self::from_array(values)).collect())
    }

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
