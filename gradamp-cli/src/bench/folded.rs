//! A rectified batch norm and the convolution that folds it, part by part.

use gradamp_core::Result;
use gradamp_core::backend::Backend;
use gradamp_core::folding::{Folding, Rectified, Share};
use gradamp_core::geometry::Conv2d;

use super::operation::{Call, Channels};

/// A call of a backend that folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Which one.
    pub part: Part,
    /// The shapes of the convolution.
    pub g: Conv2d,
}

/// What a backend that folds does otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Batch norm, rectifier and convolution.
    Forward {
        /// Whether the convolution adds a bias.
        bias: bool,
        /// Whether its output's mean and variance are found too.
        moments: bool,
    },
    /// The convolution's input gradient with the batch norm's sums.
    InputGradient {
        /// Whether other readers' share is added.
        others: bool,
        /// Whether the batch norm's output has a residual.
        residual: bool,
    },
    /// The rest of the batch norm's gradient.
    Rest {
        /// Whether a residual's gradient is written too.
        residual: bool,
    },
}

impl Folded {
    /// What kind of operation it is.
    pub fn name(&self) -> &'static str {
        match self.part {
            Part::Forward { moments: true, .. } => "convolution + statistics, with batch norm + ReLU",
            Part::Forward { moments: false, .. } => "convolution, with batch norm + ReLU",
            Part::InputGradient { others: false, .. } => {
                "convolution, input gradient, with batch norm's sums"
            }
            Part::InputGradient { others: true, .. } => {
                "convolution, input gradient, with sum and batch norm's sums"
            }
            Part::Rest { residual: false } => "batch norm + ReLU, gradient with known sums",
            Part::Rest { residual: true } => "batch norm + sum + ReLU, gradient with known sums",
        }
    }

    /// As [`super::operation::Operation::flops`].
    pub fn flops(&self) -> f64 {
        match self.part {
            Part::Rest { .. } => 0.0,
            _ => 2.0 * self.g.multiplications() as f64,
        }
    }

    /// Elements that must cross the memory's bus at least.
    pub fn elements(&self) -> usize {
        let (x, w, y) =
            (self.g.x_rows().len(), self.g.w_shape().iter().product::<usize>(), self.g.y_rows().len());
        match self.part {
            Part::Forward { .. } => x + w + y,
            // The sums are over products with what the batch norm read.
            Part::InputGradient { others, residual } => {
                (2 + usize::from(others) + usize::from(residual)) * x + w + y
            }
            Part::Rest { residual } => {
                if residual {
                    5 * x
                } else {
                    3 * x
                }
            }
        }
    }

    /// As [`super::operation::Operation::call`], with numbers from `values`.
    pub fn call<B: Backend>(self, b: B, values: &impl Fn(usize) -> Result<B::Buffer>) -> Result<Call> {
        let Self { part, g } = self;
        let (p, x) = (Channels::<B>::new(values, g.x_rows())?, values(g.x_rows().len())?);
        let (w, mut y) = (values(g.w_shape().iter().product())?, values(g.y_rows().len())?);
        let mut sums = [values(g.c_in)?, values(g.c_in)?];
        let mut dz = values(g.x_rows().len())?;
        Ok(match part {
            Part::Forward { bias, moments } => {
                let bias = if bias { Some(values(g.c_out)?) } else { None };
                let mut found = [values(g.c_out)?, values(g.c_out)?];
                Box::new(move || {
                    let z = Rectified { x: &x, p: p.operands(), z: None };
                    folding(&b, &g)?.conv2d(
                        &g,
                        &z,
                        &w,
                        bias.as_ref(),
                        &mut y,
                        moments.then(|| found.each_mut()),
                    )
                })
            }
            Part::InputGradient { others, residual } => {
                let (written, theirs) = (values(g.x_rows().len())?, values(g.x_rows().len())?);
                Box::new(move || {
                    let [dgamma, dbeta] = sums.each_mut();
                    let z = Rectified { x: &x, p: p.operands(), z: residual.then_some(&written) };
                    let others = others.then_some(Share { values: &theirs, scale: 1.0, own: 1.0 });
                    folding(&b, &g)?.conv2d_backward_input(&g, &z, &w, &y, others, &mut dz, dgamma, dbeta)
                })
            }
            Part::Rest { residual } => {
                let (written, mut dx) = (values(g.x_rows().len())?, values(g.x_rows().len())?);
                Box::new(move || {
                    let [dgamma, dbeta] = &sums;
                    let z = Rectified { x: &x, p: p.operands(), z: residual.then_some(&written) };
                    let dx = residual.then_some(&mut dx);
                    folding(&b, &g)?.batch_norm_relu_backward(&g, &z, dgamma, dbeta, &mut dz, dx)
                })
            }
        })
    }
}

/// What the survey found the backend to have.
fn folding<'a, B: Backend>(backend: &'a B, g: &Conv2d) -> Result<&'a dyn Folding<B>> {
    let missing = || gradamp_core::Error::external(format!("{} does not fold {g:?}", backend.name()));
    backend.folding(g).ok_or_else(missing)
}
