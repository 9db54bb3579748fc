//! Learning rates over a span of training: a phase, or the whole run.
//!
//! In a configuration a schedule is a number (a constant rate) or a table:
//!
//! ```toml
//! lr = 0.1
//! lr = { schedule = "constant", from = 0.1, warmup_epochs = 1.0, warmup_from = 0.01 }
//! lr = { schedule = "linear", from = 0.1, to = 0.0 }
//! lr = { schedule = "cosine", from = 0.1, to = 0.0 }
//! lr = { schedule = "multi_step", from = 0.1, milestones = [60, 120], gamma = 0.1 }
//! lr = { schedule = "one_cycle", from = 0.004, peak = 0.1 }
//! lr = { schedule = "plateau", from = 0.1, factor = 0.1, patience = 10 }
//! ```

mod curve;
mod moment;
mod table;

use derive_setters::Setters;

use crate::error::number;
use crate::{Error, Result};

pub use curve::Curve;
pub use moment::{Moment, Schedule, Score};

/// A learning rate over a span of T steps, of which the first W may be a warm-up.
///
/// With t counted from the span's first step:
///
/// lr(t) = warmup.from + (from − warmup.from) · t/W for t < W, and what the [`Curve`] gives for the T − W steps after.
///
/// **Source:** PyTorch's `SequentialLR` of a `LinearLR` and the curve.
#[derive(Clone, Debug, PartialEq, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct LearningRate {
    /// The rate after the warm-up.
    pub curve: Curve,
    /// The way to the curve's first rate; `None` to begin with that rate.
    pub warmup: Option<WarmUp>,
}

/// A linear rise (or fall) to the curve's first rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// The length in epochs; parts of an epoch are rounded to whole steps.
    pub epochs: f64,
    /// The rate of the very first step.
    pub from: f64,
}

impl LearningRate {
    /// The rates of `curve`, without a warm-up.
    pub fn new(curve: Curve) -> Self {
        Self { curve, warmup: None }
    }

    /// One rate throughout.
    pub fn constant(lr: f64) -> Self {
        Self::new(Curve::Constant { from: lr })
    }

    /// The rate at one step of the span.
    pub fn lr_at(&self, at: &Moment<'_>) -> f64 {
        let t = at.step as f64;
        let warmup = self.warmup.map_or(0.0, |w| (w.epochs * at.steps_per_epoch as f64).round());
        if let Some(WarmUp { from, .. }) = self.warmup
            && t < warmup
        {
            return from + (self.curve.from() - from) * t / warmup;
        }
        self.curve.at(at, warmup)
    }

    /// The highest rate it reaches.
    pub fn peak(&self) -> f64 {
        let curve = match &self.curve {
            Curve::Constant { from } => *from,
            Curve::Linear { from, to } | Curve::Cosine { from, to } | Curve::Plateau { from, to, .. } => {
                from.max(*to)
            }
            Curve::OneCycle { from, peak, to, .. } => from.max(*peak).max(*to),
            Curve::MultiStep { from, milestones, gamma } => {
                from * gamma.powi(milestones.len() as i32).max(1.0)
            }
        };
        self.warmup.map_or(curve, |warmup| curve.max(warmup.from))
    }

    /// Multiplies every rate by `factor`.
    pub fn scale(&mut self, factor: f64) {
        if let Some(warmup) = &mut self.warmup {
            warmup.from *= factor;
        }
        match &mut self.curve {
            Curve::Constant { from } | Curve::MultiStep { from, .. } => *from *= factor,
            Curve::Linear { from, to } | Curve::Cosine { from, to } | Curve::Plateau { from, to, .. } => {
                *from *= factor;
                *to *= factor;
            }
            Curve::OneCycle { from, peak, to, .. } => {
                [from, peak, to].into_iter().for_each(|lr| *lr *= factor)
            }
        }
    }

    /// Multiplies every length of time (warm-up, milestones) by `factor`.
    pub(super) fn stretch(&mut self, factor: f64) {
        if let Some(warmup) = &mut self.warmup {
            warmup.epochs *= factor;
        }
        if let Curve::MultiStep { milestones, .. } = &mut self.curve {
            milestones.iter_mut().for_each(|milestone| *milestone *= factor);
        }
    }

    /// Checks every number against its range. `field` is the schedule's field, for errors; `epochs` is the length of its span.
    ///
    /// **Errors:** a rate that is negative or not finite, a gamma that is not positive, a warm-up longer than the
    /// span, milestones that do not ascend inside it.
    pub fn check(&self, field: &str, epochs: usize) -> Result<()> {
        let span = epochs as f64;
        let is_plain = self.warmup.is_none() && matches!(self.curve, Curve::Constant { .. });
        rate(&if is_plain { field.to_owned() } else { format!("{field}.from") }, self.curve.from())?;
        match &self.curve {
            Curve::Constant { .. } => {}
            Curve::Linear { to, .. } | Curve::Cosine { to, .. } => rate(&format!("{field}.to"), *to)?,
            Curve::OneCycle { peak, to, rise, .. } => {
                rate(&format!("{field}.peak"), *peak)?;
                rate(&format!("{field}.to"), *to)?;
                share(&format!("{field}.rise"), *rise)?;
            }
            Curve::Plateau { factor, threshold, to, .. } => {
                rate(&format!("{field}.to"), *to)?;
                share(&format!("{field}.factor"), *factor)?;
                if *threshold != 0.0 {
                    share(&format!("{field}.threshold"), *threshold)?;
                }
            }
            Curve::MultiStep { milestones, gamma, .. } => {
                if !(gamma.is_finite() && *gamma > 0.0) {
                    return Err(Error::setting(
                        format!("{field}.gamma"),
                        format!("is {}, expected a finite number above 0", number(*gamma)),
                    ));
                }
                check_milestones(&format!("{field}.milestones"), milestones, epochs)?;
            }
        }
        let Some(warmup) = self.warmup else { return Ok(()) };
        rate(&format!("{field}.warmup_from"), warmup.from)?;
        if !(0.0..=span).contains(&warmup.epochs) {
            return Err(Error::setting(
                format!("{field}.warmup_epochs"),
                format!(
                    "is {}, expected 0 to {epochs}, the epochs that the schedule spans",
                    number(warmup.epochs)
                ),
            ));
        }
        Ok(())
    }
}

impl Schedule for LearningRate {
    fn lr(&self, at: &Moment<'_>) -> f64 {
        self.lr_at(at)
    }
}

fn rate(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::setting(field, format!("is {}, expected a finite learning rate of at least 0", number(value))))
}

fn share(field: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::setting(field, format!("is {}, expected a number between 0 and 1", number(value))))
}

fn check_milestones(field: &str, milestones: &[f64], epochs: usize) -> Result<()> {
    let mut last = 0.0;
    for (i, &milestone) in milestones.iter().enumerate() {
        if !(milestone > 0.0 && milestone < epochs as f64) {
            let expected = format!("expected an epoch inside the {epochs} that the schedule spans");
            return Err(Error::setting(
                format!("{field}[{i}]"),
                format!("is {}, {expected}", number(milestone)),
            ));
        }
        if milestone <= last {
            let message = format!("is {milestone}, expected more than the {last} before it");
            return Err(Error::setting(format!("{field}[{i}]"), message));
        }
        last = milestone;
    }
    Ok(())
}
