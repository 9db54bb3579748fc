//! A rectified batch norm and the convolution that folds it, part by part.

use gradamp_core::Result;
use gradamp_core::backend::Backend;
use gradamp_core::folding::{Folded as Image, Folding};
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
    InputGradient,
    /// The rest of the batch norm's gradient.
    Rest,
}

impl Folded {
    /// What kind of operation it is.
    pub fn name(&self) -> &'static str {
        match self.part {
            Part::Forward { moments: true, .. } => "convolution + statistics, with batch norm + ReLU",
            Part::Forward { moments: false, .. } => "convolution, with batch norm + ReLU",
            Part::InputGradient => "convolution, input gradient, with batch norm's sums",
            Part::Rest => "batch norm + ReLU, gradient with known sums",
        }
    }

    /// As [`super::operation::Operation::flops`].
    pub fn flops(&self) -> f64 {
        if self.part == Part::Rest { 0.0 } else { 2.0 * self.g.multiplications() as f64 }
    }

    /// Elements that must cross the memory's bus at least.
    pub fn elements(&self) -> usize {
        let (x, w, y) =
            (self.g.x_rows().len(), self.g.w_shape().iter().product::<usize>(), self.g.y_rows().len());
        match self.part {
            Part::Forward { .. } => x + w + y,
            Part::InputGradient => 2 * x + w + y, // the sums are over products with what the batch norm read
            Part::Rest => 3 * x,
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
                    let z = Image { x: &x, p: p.operands() };
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
            Part::InputGradient => Box::new(move || {
                let ([dgamma, dbeta], z) = (sums.each_mut(), Image { x: &x, p: p.operands() });
                folding(&b, &g)?.conv2d_backward_input(&g, &z, &w, &y, &mut dz, dgamma, dbeta)
            }),
            Part::Rest => Box::new(move || {
                let ([dgamma, dbeta], z) = (&sums, Image { x: &x, p: p.operands() });
                folding(&b, &g)?.batch_norm_relu_backward(&g, &z, dgamma, dbeta, &mut dz)
            }),
        })
    }
}

/// What the survey found the backend to have.
fn folding<'a, B: Backend>(backend: &'a B, g: &Conv2d) -> Result<&'a dyn Folding<B>> {
    let missing = || gradamp_core::Error::external(format!("{} does not fold {g:?}", backend.name()));
    backend.folding(g).ok_or_else(missing)
}
