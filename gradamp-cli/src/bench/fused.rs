//! Calls of fused kernels, which include the batch norm and the rectifier before an operation.

use std::fmt;

use gradamp_core::Result;
use gradamp_core::backend::Backend;
use gradamp_core::backend::{BatchNormRelu, FusedKernels, GradientShare};
use gradamp_core::geometry::{Conv2d, Pool2d, Rows};

use super::operands::{Call, Channels, of_convolution, of_pool, of_rows};

/// A call of a fused kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FusedCall {
    /// A batch norm, a rectifier and a convolution.
    Forward {
        /// The shapes of the convolution.
        g: Conv2d,
        /// Whether the convolution adds a bias.
        bias: bool,
        /// Whether the mean and variance of the output are computed, too.
        moments: bool,
    },
    /// The input gradient of a convolution, with the sums for the batch norm's gradient.
    InputGradient {
        /// The shapes of the convolution.
        g: Conv2d,
        /// Whether the gradient from the input's other readers is added.
        others: bool,
        /// Whether the batch norm's output has a residual.
        residual: bool,
    },
    /// The weight gradient of a convolution that reads a batch norm and a rectifier.
    WeightGradient(Conv2d),
    /// The gradient of a max pool, with the sums for the batch norm's gradient.
    Pool(Pool2d),
    /// The gradient of a batch norm whose sums are already known.
    Rest {
        /// The shape of the batch norm.
        g: Rows,
        /// Whether the gradient of a residual is written, too.
        residual: bool,
    },
}

use FusedCall::{Forward, InputGradient, Pool, Rest, WeightGradient};

impl FusedCall {
    /// The name of the kind of operation.
    pub fn name(&self) -> &'static str {
        match self {
            Forward { moments: true, .. } => "convolution + statistics, with batch norm + ReLU",
            Forward { moments: false, .. } => "convolution, with batch norm + ReLU",
            InputGradient { others, residual, .. } => match (others, residual) {
                (false, false) => "convolution, input gradient, with batch norm's sums",
                (false, true) => "convolution, input gradient, with residual batch norm's sums",
                (true, false) => "convolution, input gradient, with sum and batch norm's sums",
                (true, true) => "convolution, input gradient, with sum and residual batch norm's sums",
            },
            WeightGradient(_) => "convolution, weight gradient, with batch norm + ReLU",
            Pool(_) => "max pool, gradient, with batch norm's sums",
            Rest { residual: false, .. } => "batch norm + ReLU, gradient with known sums",
            Rest { residual: true, .. } => "batch norm + sum + ReLU, gradient with known sums",
        }
    }

    /// Like `Operation::flops`.
    pub fn flops(&self) -> f64 {
        match self {
            Forward { g, .. } | InputGradient { g, .. } | WeightGradient(g) => {
                2.0 * g.multiplications() as f64
            }
            Pool(_) | Rest { .. } => 0.0,
        }
    }

    /// The rows and channels of the batch norm.
    fn rows(&self) -> Rows {
        match self {
            Forward { g, .. } | InputGradient { g, .. } | WeightGradient(g) => g.x_rows(),
            Pool(g) => g.x_rows(),
            Rest { g, .. } => *g,
        }
    }

    /// The least number of elements that must cross the memory bus.
    pub fn elements(&self) -> usize {
        let (x, product) = (self.rows().len(), |shape: [usize; 4]| shape.iter().product::<usize>());
        // The sums need the batch norm's input, which is therefore also read.
        match self {
            Forward { g, .. } | WeightGradient(g) => x + product(g.w_shape()) + product(g.y_shape()),
            InputGradient { g, others, residual } => {
                let passes = 2 + usize::from(*others) + usize::from(*residual);
                passes * x + product(g.w_shape()) + product(g.y_shape())
            }
            Pool(g) => 2 * x + 2 * product(g.y_shape()),
            Rest { residual, .. } => (if *residual { 5 } else { 3 }) * x,
        }
    }

    /// Like `Operation::call`. `values` allocates the buffers.
    pub fn call<B: Backend>(self, b: B, values: &impl Fn(usize) -> Result<B::Buffer>) -> Result<Call> {
        let rows = self.rows();
        let (p, x) = (Channels::<B>::new(values, rows)?, values(rows.len())?);
        let (mut dz, mut sums) = (values(rows.len())?, [values(rows.channels)?, values(rows.channels)?]);
        let like = |shape: [usize; 4]| values(shape.iter().product());
        Ok(match self {
            Forward { g, bias, moments } => {
                let bias = if bias { Some(values(g.c_out)?) } else { None };
                let (w, mut y, mut found) =
                    (like(g.w_shape())?, like(g.y_shape())?, [values(g.c_out)?, values(g.c_out)?]);
                Box::new(move || {
                    let z = BatchNormRelu { x: &x, p: p.operands(), z: None };
                    let moments = moments.then(|| found.each_mut());
                    fused_kernels(&b)?.conv2d(&g, &z, &w, bias.as_ref(), &mut y, moments)
                })
            }
            InputGradient { g, others, residual } => {
                let (w, dy) = (like(g.w_shape())?, like(g.y_shape())?);
                let (written, theirs) = (values(rows.len())?, values(rows.len())?);
                Box::new(move || {
                    let [dgamma, dbeta] = sums.each_mut();
                    let z = BatchNormRelu { x: &x, p: p.operands(), z: residual.then_some(&written) };
                    let others = others.then_some(GradientShare { values: &theirs, scale: 1.0, own: 1.0 });
                    fused_kernels(&b)?.conv2d_backward_input(&g, &z, &w, &dy, others, &mut dz, dgamma, dbeta)
                })
            }
            WeightGradient(g) => {
                let (mut dw, dy) = (like(g.w_shape())?, like(g.y_shape())?);
                Box::new(move || {
                    let z = BatchNormRelu { x: &x, p: p.operands(), z: None };
                    fused_kernels(&b)?.conv2d_backward_weight(&g, &z, &dy, &mut dw)
                })
            }
            Pool(g) => {
                let (index, dy) = (like(g.y_shape())?, like(g.y_shape())?);
                Box::new(move || {
                    let ([dgamma, dbeta], z) =
                        (sums.each_mut(), BatchNormRelu { x: &x, p: p.operands(), z: None });
                    fused_kernels(&b)?.max_pool2d_backward(&g, &z, &index, &dy, &mut dz, dgamma, dbeta)
                })
            }
            Rest { g, residual } => {
                let (written, mut dx) = (values(rows.len())?, values(rows.len())?);
                Box::new(move || {
                    let [dgamma, dbeta] = &sums;
                    let z = BatchNormRelu { x: &x, p: p.operands(), z: residual.then_some(&written) };
                    let dx = residual.then_some(&mut dx);
                    fused_kernels(&b)?.batch_norm_relu_backward(&g, &z, dgamma, dbeta, &mut dz, dx)
                })
            }
        })
    }
}

impl fmt::Display for FusedCall {
    /// Writes the shape, in the form of the unfused operation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Forward { g, .. } | InputGradient { g, .. } | WeightGradient(g) => of_convolution(g),
            Pool(g) => of_pool(g),
            Rest { g, .. } => of_rows(g),
        })
    }
}

/// The fused kernels of a backend. The survey records fused calls only if the backend has such kernels.
fn fused_kernels<B: Backend>(backend: &B) -> Result<&dyn FusedKernels<B>> {
    let missing = || gradamp_core::Error::external(format!("{} has no fused kernels", backend.name()));
    backend.fused_kernels().ok_or_else(missing)
}
