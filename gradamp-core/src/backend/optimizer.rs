//! The optimiser's step, and the numbers about gradients that decide it.

use super::adamw::{AdamWCorrections, AdamWSlot};
use super::linear_algebra::LinearAlgebra;
use super::memory::Memory;
use crate::Result;
use crate::random::Stream;

/// The step of an optimiser, and statistics of gradients.
pub trait OptimizerKernels: LinearAlgebra {
    /// One parameter's step; see [`SgdStep`].
    fn sgd(&self, slot: SgdSlot<'_, Self>) -> Result<()>;

    /// Writes [`Statistics::LEN`] numbers about `x` to `out` at `offset`; see [`Statistics`].
    fn statistics(&self, len: usize, x: &Self::Buffer, offset: usize, out: &mut Self::Buffer) -> Result<()>;

    /// The step of all parameters.
    fn sgd_all(&self, slots: Vec<SgdSlot<'_, Self>>) -> Result<()> {
        slots.into_iter().try_for_each(|slot| self.sgd(slot))
    }

    /// One parameter's step by AdamW; see [`AdamWStep`](super::AdamWStep). The default computes on the host.
    fn adamw(&self, slot: AdamWSlot<'_, Self>) -> Result<()> {
        adamw_on_the_host(self, slot)
    }

    /// The step of all parameters by AdamW.
    fn adamw_all(&self, slots: Vec<AdamWSlot<'_, Self>>) -> Result<()> {
        slots.into_iter().try_for_each(|slot| self.adamw(slot))
    }

    /// Moves the two corrections of AdamW's averages by one step, unless the gate is shut; see [`AdamWCorrections`]. The default
    /// computes on the host.
    fn adamw_corrections(
        &self,
        step: &AdamWCorrections,
        gate: Option<&Self::Buffer>,
        corrections: &mut Self::Buffer,
    ) -> Result<()> {
        let mut values = [0.0; StepGate::LEN];
        if let Some(gate) = gate {
            self.read(gate, &mut values)?;
            if !StepGate::from_array(values).applies {
                return Ok(());
            }
        }
        let mut values = [0.0; AdamWCorrections::LEN];
        self.read(corrections, &mut values)?;
        self.write(&step.next(values), corrections)
    }

    /// Writes the [`StepGate`] of a step with these gradients to `out`, where [`OptimizerKernels::sgd`] reads it.
    ///
    /// norm = sqrt(Σ (scale · ‖gradient‖)²). The norm must be right even if its square exceeds f32; see [`StepGate::new`].
    fn step_gate(
        &self,
        gradients: &[GateInput<'_, Self>],
        limit: Option<f32>,
        skip_non_finite: bool,
        out: &mut Self::Buffer,
    ) -> Result<()> {
        let sources: Vec<_> = gradients.iter().map(|part| (part.gradient, part.len)).collect();
        let found = Statistics::compute(self, &sources)?;
        // In f64, since the square of a large gain would exceed f32.
        let squares = gradients.iter().zip(found).map(|(part, found)| {
            f64::from(part.scale) * f64::from(part.scale) * f64::from(found.sum_squares)
        });
        let norm = squares.fold(0.0, |sum, square| sum + square).sqrt() as f32;
        self.write(&StepGate::new(norm, limit, skip_non_finite).to_array(), out)
    }

    /// y\[i\] += deviation · n\[i\], where n are the normal numbers of `stream`; see [`Stream::normals`].
    ///
    /// All backends add the same numbers. The default computes them on the host.
    fn add_noise(&self, len: usize, stream: Stream, deviation: f32, y: &mut Self::Buffer) -> Result<()> {
        let mut normals = vec![0.0; len];
        stream.normals(0, &mut normals);
        let mut noise = self.allocate(len)?;
        self.write(&normals, &mut noise)?;
        self.axpby(len, deviation, &noise, 1.0, y)
    }
}

/// The step of a slot, computed on the host: reads all operands, and writes the average, the squares and the parameter.
fn adamw_on_the_host<B: Memory>(backend: &B, slot: AdamWSlot<'_, B>) -> Result<()> {
    let AdamWSlot { step, len, gradient, gate, corrections, mean, square, parameter } = slot;
    let read = |buffer: &B::Buffer, len: usize| {
        let mut values = vec![0.0; len];
        backend.read(buffer, &mut values).map(|()| values)
    };
    let gate = gate.map(|gate| read(gate, StepGate::LEN)).transpose()?;
    let Some(coefficient) = StepGate::open(gate.as_deref()) else { return Ok(()) };
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
pub struct SgdSlot<'a, B: Memory> {
    /// The constants for this parameter.
    pub step: SgdStep,
    /// Elements.
    pub len: usize,
    /// The gradient.
    pub gradient: &'a B::Buffer,
    /// A [`StepGate`] as [`OptimizerKernels::step_gate`] writes it: its coefficient multiplies the gradient, and where it does not apply,
    /// parameter and velocity stay bit for bit, whatever the gradient holds.
    pub gate: Option<&'a B::Buffer>,
    /// The velocity; `None` where momentum is 0.
    pub velocity: Option<&'a mut B::Buffer>,
    /// The parameter.
    pub parameter: &'a mut B::Buffer,
}

impl<'a, B: Memory> SgdSlot<'a, B> {
    /// The same for a backend with the same buffers, such as the one inside a decorator.
    pub fn on<C: Memory<Buffer = B::Buffer>>(self) -> SgdSlot<'a, C> {
        let Self { step, len, gradient, gate, velocity, parameter } = self;
        SgdSlot { step, len, gradient, gate, velocity, parameter }
    }
}

/// One gradient of a step, as [`OptimizerKernels::step_gate`] reads it: `scale` times `len` values.
#[derive(Debug)]
pub struct GateInput<'a, B: Memory> {
    /// The values.
    pub gradient: &'a B::Buffer,
    /// Elements.
    pub len: usize,
    /// The gradient's lazy scalar.
    pub scale: f32,
}

impl<'a, B: Memory> GateInput<'a, B> {
    /// The same for a backend with the same buffers, such as the one inside a decorator.
    pub fn on<C: Memory<Buffer = B::Buffer>>(&self) -> GateInput<'a, C> {
        let Self { gradient, len, scale } = *self;
        GateInput { gradient, len, scale }
    }
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

    /// From the order in which [`OptimizerKernels::step_gate`] writes them.
    pub fn from_array([coefficient, norm, applies]: [f32; Self::LEN]) -> Self {
        Self { coefficient, norm, applies: applies != 0.0 }
    }

    /// The factor by which an open gate multiplies every gradient: 1 without a gate, and `None` if the gate is shut.
    pub fn open(gate: Option<&[f32]>) -> Option<f32> {
        match gate {
            Some(&[coefficient, norm, applies, ..]) => {
                let gate = Self::from_array([coefficient, norm, applies]);
                gate.applies.then_some(gate.coefficient)
            }
            _ => Some(1.0),
        }
    }

    /// The order in which [`OptimizerKernels::step_gate`] writes them.
    pub fn to_array(self) -> [f32; Self::LEN] {
        [self.coefficient, self.norm, f32::from(u8::from(self.applies))]
    }
}

/// Numbers that summarise a tensor, in the order in which [`OptimizerKernels::statistics`] writes them.
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
    pub fn compute<B: OptimizerKernels>(backend: &B, sources: &[(&B::Buffer, usize)]) -> Result<Vec<Self>> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = vec![0.0; sources.len() * Self::LEN];
        let mut out = backend.allocate(values.len())?;
        for (i, &(x, len)) in sources.iter().enumerate() {
            backend.statistics(len, x, i * Self::LEN, &mut out)?;
        }
        backend.read(&out, &mut values)?;
        Ok(values.as_chunks().0.iter().map(|&values| Self::from_array(values)).collect())
    }

    /// From the order in which [`OptimizerKernels::statistics`] writes them.
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

    /// The order in which [`OptimizerKernels::statistics`] writes them.
    pub fn to_array(self) -> [f32; Self::LEN] {
        [self.sum, self.sum_abs, self.sum_squares, self.max_abs, self.zeros]
    }
}
