//! Training: a loop over epochs and steps that anyone can watch, stop and resume.
//!
//! The [`Trainer`] works on any [`Module`](crate::Module), [`Backend`](crate::Backend) and
//! [`BatchSource`](crate::BatchSource). It writes nothing: [`Observer`]s do.

mod divergence;
mod evaluate;
mod exact;
mod loss_scaling;
mod meter;
mod observer;
mod pending;
mod settings;
mod state;
mod steps;
mod trainer;

pub use evaluate::{Evaluation, evaluate};
pub use loss_scaling::{LossScale, LossScaling};
pub use meter::SiteGradient;
pub use observer::{Control, EpochReport, Observer, Snapshot, StepReport};
pub use settings::{OnDivergence, TrainSettings};
pub use state::TrainState;
pub use trainer::{Outcome, Trainer};
