use serde::{Deserialize, Serialize};

/// A step of a run, and what a schedule may depend on there.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The step, from 0.
    pub step: u64,
    /// The steps of the whole span.
    pub steps: u64,
    /// The steps of an epoch.
    pub steps_per_epoch: u64,
    /// The evaluations of earlier epochs, in their order.
    pub scores: &'a [Score],
}

/// What the first evaluation of an epoch found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The mean loss.
    #[serde(with = "crate::train::exact")]
    pub loss: f64,
    /// The fraction of examples whose class was found; `None` for an objective without classes.
    pub accuracy: Option<f64>,
}

/// A learning rate for every step of a run.
///
/// A rate is a function of the moment alone: a schedule has no state, so that a resumed run has the rates of one that never stopped.
/// [`LearningRate`](super::LearningRate) is the schedule of a configuration. A closure is a schedule, too:
///
/// ```
/// use gradamp_core::amplify::{Moment, Schedule};
///
/// /// 0.1 until the loss of an evaluation is below 1, and 0.01 then.
/// let schedule = |at: &Moment<'_>| if at.scores.iter().any(|score| score.loss < 1.0) { 0.01 } else { 0.1 };
/// assert_eq!(schedule.lr(&Moment { step: 0, steps: 100, steps_per_epoch: 10, scores: &[] }), 0.1);
/// ```
pub trait Schedule {
    /// The learning rate of a step.
    fn lr(&self, at: &Moment<'_>) -> f64;
}

impl<F: Fn(&Moment<'_>) -> f64> Schedule for F {
    fn lr(&self, at: &Moment<'_>) -> f64 {
        self(at)
    }
}
