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
//! ```

use std::f64::consts::PI;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::number;
use crate::{Error, Result};

/// A learning rate over a span of T steps, of which the first W may be a warm-up.
///
/// With t counted from the span's first step:
///
/// lr(t) = warmup.from + (from − warmup.from) · t/W for t < W, and what the [`Curve`] gives for the T − W steps after.
///
/// **Source:** PyTorch's `SequentialLR` of a `LinearLR` and the curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The rate after the warm-up.
    pub curve: Curve,
    /// The way to the curve's first rate; `None` to begin with that rate.
    pub warmup: Option<WarmUp>,
}

/// The course of a learning rate over T steps; s counts from 0.
///
/// **Units:** rates per step, as PyTorch's `lr`; milestones in epochs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Curve {
    /// lr(s) = from
    Constant {
        /// The rate.
        from: f64,
    },
    /// lr(s) = from + (to − from) · s/T
    Linear {
        /// The rate at the beginning.
        from: f64,
        /// The rate at the end, which the last step approaches.
        to: f64,
    },
    /// lr(s) = to + (from − to) · (1 + cos(π s/T)) / 2
    ///
    /// **Source:** PyTorch's `CosineAnnealingLR`, stepped at every step; Loshchilov and Hutter, "SGDR", ICLR 2017,
    /// equation 5.
    Cosine {
        /// The rate at the beginning.
        from: f64,
        /// The rate at the end, which the last step approaches.
        to: f64,
    },
    /// lr = from · gamma^k, where k is the number of milestones that have passed
    ///
    /// **Source:** PyTorch's `MultiStepLR`.
    MultiStep {
        /// The rate at the beginning.
        from: f64,
        /// Ascending, in epochs from the beginning of the span (its warm-up included).
        milestones: Vec<f64>,
        /// The factor by which each milestone multiplies the rate.
        gamma: f64,
    },
}

/// A linear rise (or fall) to the curve's first rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// The length in epochs; parts of an epoch are rounded to whole steps.
    pub epochs: f64,
    /// The rate of the very first step.
    pub from: f64,
}

impl Schedule {
    /// One rate throughout.
    pub fn constant(lr: f64) -> Self {
        Self { curve: Curve::Constant { from: lr }, warmup: None }
    }

    /// The rate at step `t` of a span of `steps` steps, `steps_per_epoch` to an epoch.
    pub fn lr_at(&self, t: u64, steps: u64, steps_per_epoch: u64) -> f64 {
        let to_steps = |epochs: f64| (epochs * steps_per_epoch as f64).round();
        let (t, steps) = (t as f64, steps as f64);
        let warmup = self.warmup.map_or(0.0, |w| to_steps(w.epochs));
        if let Some(WarmUp { from, .. }) = self.warmup
            && t < warmup
        {
            return from + (self.curve.from() - from) * t / warmup;
        }
        let progress = if steps > warmup { ((t - warmup) / (steps - warmup)).min(1.0) } else { 1.0 };
        match &self.curve {
            Curve::Constant { from } => *from,
            Curve::Linear { from, to } => from + (to - from) * progress,
            Curve::Cosine { from, to } => to + (from - to) * (1.0 + (PI * progress).cos()) / 2.0,
            Curve::MultiStep { from, milestones, gamma } => {
                let behind = milestones.iter().filter(|&&milestone| to_steps(milestone) <= t).count();
                from * gamma.powi(behind as i32)
            }
        }
    }

    /// The highest rate it reaches.
    pub fn peak(&self) -> f64 {
        let curve = match &self.curve {
            Curve::Constant { from } => *from,
            Curve::Linear { from, to } | Curve::Cosine { from, to } => from.max(*to),
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
            Curve::Linear { from, to } | Curve::Cosine { from, to } => {
                *from *= factor;
                *to *= factor;
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

impl Curve {
    /// The rate at the beginning.
    pub fn from(&self) -> f64 {
        match self {
            Curve::Constant { from }
            | Curve::Linear { from, .. }
            | Curve::Cosine { from, .. }
            | Curve::MultiStep { from, .. } => *from,
        }
    }
}

fn rate(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::setting(field, format!("is {}, expected a finite learning rate of at least 0", number(value))))
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

// ---- The form in a configuration ------------------------------------------------------------------------------

/// Every field that some schedule has; which of them belong together is decided in `TryFrom`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    schedule: Name,
    from: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestones: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gamma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_epochs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_from: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    #[default]
    Constant,
    Linear,
    Cosine,
    MultiStep,
}

impl TryFrom<Table> for Schedule {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let from = table.from;
        let to = table.to.unwrap_or(0.0);
        let curve = match table.schedule {
            Name::Constant => Curve::Constant { from },
            Name::Linear => Curve::Linear { from, to },
            Name::Cosine => Curve::Cosine { from, to },
            Name::MultiStep => Curve::MultiStep {
                from,
                milestones: table.milestones.clone().ok_or("a multi_step schedule needs `milestones`")?,
                gamma: table.gamma.unwrap_or(0.1),
            },
        };
        let falls = matches!(table.schedule, Name::Linear | Name::Cosine);
        let steps = table.schedule == Name::MultiStep;
        let strays = [
            ("to", table.to.is_some() && !falls, "linear and cosine"),
            ("milestones", table.milestones.is_some() && !steps, "multi_step"),
            ("gamma", table.gamma.is_some() && !steps, "multi_step"),
        ];
        if let Some((field, _, owners)) = strays.into_iter().find(|&(_, is_stray, _)| is_stray) {
            return Err(format!("`{field}` belongs to {owners} schedules only"));
        }
        let warmup = match (table.warmup_epochs, table.warmup_from) {
            (Some(epochs), from) => Some(WarmUp { epochs, from: from.unwrap_or(0.0) }),
            (None, Some(_)) => return Err("`warmup_from` needs `warmup_epochs`".into()),
            (None, None) => None,
        };
        Ok(Schedule { curve, warmup })
    }
}

impl From<&Schedule> for Table {
    fn from(schedule: &Schedule) -> Self {
        let common = Table {
            from: schedule.curve.from(),
            warmup_epochs: schedule.warmup.map(|w| w.epochs),
            warmup_from: schedule.warmup.map(|w| w.from),
            ..Table::default()
        };
        match &schedule.curve {
            Curve::Constant { .. } => common,
            Curve::Linear { to, .. } => Table { schedule: Name::Linear, to: Some(*to), ..common },
            Curve::Cosine { to, .. } => Table { schedule: Name::Cosine, to: Some(*to), ..common },
            Curve::MultiStep { milestones, gamma, .. } => Table {
                schedule: Name::MultiStep,
                milestones: Some(milestones.clone()),
                gamma: Some(*gamma),
                ..common
            },
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Schedule { curve: Curve::Constant { from }, warmup: None } => serializer.serialize_f64(*from),
            _ => Table::from(self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

/// By hand rather than as an untagged enum, whose errors would not say which key is wrong.
struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a learning rate, or a table such as { schedule = \"cosine\", from = 0.1, to = 0.0 }")
    }

    fn visit_f64<E>(self, lr: f64) -> Result<Schedule, E> {
        Ok(Schedule::constant(lr))
    }

    fn visit_i64<E>(self, lr: i64) -> Result<Schedule, E> {
        Ok(Schedule::constant(lr as f64))
    }

    fn visit_u64<E>(self, lr: u64) -> Result<Schedule, E> {
        Ok(Schedule::constant(lr as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map))?.try_into().map_err(serde::de::Error::custom)
    }
}
