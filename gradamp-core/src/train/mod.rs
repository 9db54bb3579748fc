//! Training: a loop over epochs and steps that observers can watch and stop, and that resumes bit for bit.
//!
//! The [`Trainer`] works on any [`Module`](crate::Module), [`Backend`](crate::Backend) and
//! [`BatchSource`](crate::BatchSource). It writes no files; an [`Observer`] can.

mod average;
mod batches;
mod divergence;
mod epochs;
mod evaluate;
pub(crate) mod exact;
mod loss_scaling;
mod measured;
mod meter;
mod observer;
mod passes;
mod pending;
mod settings;
mod signals;
mod site_gradient;
mod state;
mod step_length;
mod steps;
mod trainer;

pub use evaluate::{evaluate, evaluate_unless};
pub use loss_scaling::{LossScale, LossScaling};
pub use observer::{Control, EpochReport, Evaluation, Next, Observer, Snapshot, StepReport};
pub use settings::{OnDivergence, TrainSettings};
pub use site_gradient::{SiteGradient, SiteSignals};
pub use state::TrainState;
pub use trainer::{Outcome, Trainer};
