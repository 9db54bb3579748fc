//! The training strategy: which learning rate in which epochs, and whether amplification is on.
//!
//! ```toml
//! [strategy]
//! lr = { schedule = "cosine", from = 0.1, to = 0.0 } # for phases that name none; spans the whole run
//!
//! [[strategy.phase]]
//! epochs = 2
//!
//! [[strategy.phase]]
//! epochs = 2
//! amplify = true
//!
//! [[strategy.phase]]
//! epochs = 1
//! lr = 0.01
//! amplify = { factor = 3.0 } # changes to the table [amplification]
//! ```

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::overrides::Overrides;
use super::schedule::Schedule;
use crate::error::number;
use crate::{Error, Result};

/// The most epochs of a run: far beyond any training, and far below where counting steps would overflow.
const MOST_EPOCHS: usize = 1_000_000;

/// A list of phases, one after the other.
///
/// **Source:** Basodi et al. 2020 enable amplification in some epochs and disable it in others, with different learning
/// rates; the phases themselves are the user's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// The learning rate for phases that name none. It spans the whole run, phases with rates of their own included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<Schedule>,
    /// The phases in their order.
    #[serde(default, rename = "phase")]
    pub phases: Vec<Phase>,
}

/// Some epochs under one learning-rate schedule, amplified or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How many epochs it lasts, at least one.
    pub epochs: usize,
    /// The learning rate, spanning the phase; `None` for the run-wide one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<Schedule>,
    /// Whether gradients are amplified, and with which changes to the run's settings.
    #[serde(default)]
    pub amplify: Amplify,
}

/// Whether a phase amplifies: `false`, `true`, or a table of changes to `[amplification]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Amplify {
    /// No gradient is amplified.
    #[default]
    Off,
    /// Gradients are amplified by the run's settings with these changes.
    On(Box<Overrides>),
}

impl Amplify {
    /// Amplification by the run's settings.
    pub fn on() -> Self {
        Amplify::On(Box::default())
    }

    /// Whether gradients are amplified.
    pub fn is_on(&self) -> bool {
        matches!(self, Amplify::On(_))
    }
}

impl Strategy {
    /// One phase.
    pub fn single(epochs: usize, lr: Schedule, amplify: Amplify) -> Self {
        Self { lr: None, phases: vec![Phase { epochs, lr: Some(lr), amplify }] }
    }

    /// The epochs of all phases.
    pub fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }

    /// The number and the phase of `epoch` (from 0); `None` behind the last.
    pub fn phase_at(&self, epoch: usize) -> Option<(usize, &Phase)> {
        let place = self.place(epoch)?;
        Some((place, &self.phases[place]))
    }

    fn place(&self, epoch: usize) -> Option<usize> {
        let mut end = 0;
        self.phases.iter().position(|phase| {
            end += phase.epochs;
            epoch < end
        })
    }

    /// The learning rate of `step` (from 0, counted over the whole run).
    ///
    /// **Errors:** no steps in an epoch, a step behind the last phase, a phase without any learning rate.
    pub fn lr_at(&self, step: u64, steps_per_epoch: u64) -> Result<f64> {
        let epoch = step.checked_div(steps_per_epoch).and_then(|epoch| usize::try_from(epoch).ok());
        let Some((number, phase)) = epoch.and_then(|epoch| self.phase_at(epoch)) else {
            let message = format!("has {} epochs of {steps_per_epoch} steps, no step {step}", self.epochs());
            return Err(Error::setting("strategy.phase", message));
        };
        let steps = |epochs: usize| (epochs as u64).saturating_mul(steps_per_epoch);
        match (&phase.lr, &self.lr) {
            (Some(lr), _) => {
                let before = self.phases[..number].iter().map(|phase| phase.epochs).sum();
                Ok(lr.lr_at(step - steps(before), steps(phase.epochs), steps_per_epoch))
            }
            (None, Some(lr)) => Ok(lr.lr_at(step, steps(self.epochs()), steps_per_epoch)),
            (None, None) => Err(no_rate(number)),
        }
    }

    /// Checks every number against its range.
    ///
    /// **Errors:** no phase, a phase of no epochs, more than a million epochs, a phase without any learning rate, a
    /// schedule that is out of range ([`Schedule::check`]); as `strategy.NAME`, phases counted from 0.
    pub fn check(&self) -> Result<()> {
        if self.phases.is_empty() {
            return Err(Error::setting(
                "strategy.phase",
                "there is none: a strategy needs at least one phase",
            ));
        }
        let mut total = 0_usize;
        for (i, phase) in self.phases.iter().enumerate() {
            let key = format!("strategy.phase[{i}]");
            total = total.saturating_add(phase.epochs);
            if phase.epochs == 0 || total > MOST_EPOCHS {
                let expected =
                    format!("expected at least 1, and at most {MOST_EPOCHS} in all phases together");
                return Err(Error::setting(
                    format!("{key}.epochs"),
                    format!("is {}, {expected}", phase.epochs),
                ));
            }
            match &phase.lr {
                Some(lr) => lr.check(&format!("{key}.lr"), phase.epochs)?,
                None if self.lr.is_none() => return Err(no_rate(i)),
                None => {}
            }
        }
        self.lr.iter().try_for_each(|lr| lr.check("strategy.lr", total))
    }

    /// Makes the run last `total` epochs: phases keep their shares, rounded by largest remainders, earlier phases first
    /// among equals; warm-ups and milestones stretch with their spans. Each phase keeps at least one epoch where there are
    /// enough for all; else those whose share is rounded to none are left out. Returns the numbers of these, from 0.
    ///
    /// **Errors:** no epochs, or more than a million; a strategy that does not pass [`Strategy::check`].
    pub fn scale_epochs(&mut self, total: usize) -> Result<Vec<usize>> {
        self.check()?;
        if !(1..=MOST_EPOCHS).contains(&total) {
            return Err(Error::setting("epochs", format!("is {total}, expected 1 to {MOST_EPOCHS}")));
        }
        if let Some(lr) = &mut self.lr {
            lr.stretch(total as f64 / self.phases.iter().map(|phase| phase.epochs).sum::<usize>() as f64);
        }
        let shares = apportion(&self.phases.iter().map(|phase| phase.epochs).collect::<Vec<_>>(), total);
        for (phase, &epochs) in self.phases.iter_mut().zip(&shares).filter(|(_, epochs)| **epochs > 0) {
            if let Some(lr) = &mut phase.lr {
                lr.stretch(epochs as f64 / phase.epochs as f64);
            }
            phase.epochs = epochs;
        }
        let mut kept = shares.iter().map(|epochs| *epochs > 0);
        self.phases.retain(|_| kept.next().unwrap_or(true));
        Ok((0..shares.len()).filter(|&phase| shares[phase] == 0).collect())
    }

    /// Multiplies every learning rate by `factor`.
    pub fn scale_lr(&mut self, factor: f64) {
        self.lr
            .iter_mut()
            .chain(self.phases.iter_mut().filter_map(|p| p.lr.as_mut()))
            .for_each(|lr| lr.scale(factor));
    }

    /// Multiplies every learning rate so that the peak of the first phase's schedule becomes `lr`.
    ///
    /// **Errors:** an `lr` that is negative or not finite; a first schedule of nothing but zeros.
    pub fn with_initial_lr(mut self, lr: f64) -> Result<Self> {
        self.check()?;
        if !(lr.is_finite() && lr >= 0.0) {
            return Err(Error::setting(
                "lr",
                format!("is {}, expected a finite learning rate of at least 0", number(lr)),
            ));
        }
        let first = self.phases[0].lr.as_ref().or(self.lr.as_ref());
        match first.map_or(0.0, Schedule::peak) {
            0.0 => {
                let message = format!(
                    "{} cannot be reached by scaling: the first phase's rate is 0 throughout",
                    number(lr)
                );
                return Err(Error::setting("lr", message));
            }
            peak => self.scale_lr(lr / peak),
        }
        Ok(self)
    }
}

fn no_rate(phase: usize) -> Error {
    let message = "is missing, and there is no `strategy.lr` for phases that name none";
    Error::setting(format!("strategy.phase[{phase}].lr"), message)
}

/// Splits `total` in proportion to `weights`, which are positive, by largest remainders, with at least 1 for each where
/// there are enough.
fn apportion(weights: &[usize], total: usize) -> Vec<usize> {
    // Whoever is due less than 1 gets 1, and the rest is split anew among the others.
    let mut is_minimal = vec![false; weights.len()];
    let (weight, total) = loop {
        if total < weights.len() {
            break (weights.iter().sum(), total);
        }
        let others = || (0..weights.len()).filter(|&i| !is_minimal[i]);
        let weight: usize = others().map(|i| weights[i]).sum();
        let rest = total - (weights.len() - others().count());
        let short: Vec<usize> = others().filter(|&i| weights[i] * rest < weight).collect();
        if short.is_empty() {
            break (weight, rest);
        }
        short.into_iter().for_each(|i| is_minimal[i] = true);
    };
    let others: Vec<usize> = (0..weights.len()).filter(|&i| !is_minimal[i]).collect();
    let mut shares = vec![1; weights.len()];
    others.iter().for_each(|&i| shares[i] = weights[i] * total / weight);
    let left = total - others.iter().map(|&i| shares[i]).sum::<usize>();
    let mut by_remainder = others;
    by_remainder.sort_by_key(|&i| std::cmp::Reverse(weights[i] * total % weight)); // stable: earlier phases first
    by_remainder[..left].iter().for_each(|&i| shares[i] += 1);
    shares
}

// ---- The form in a configuration ------------------------------------------------------------------------------

impl Serialize for Amplify {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Amplify::On(overrides) if !overrides.is_empty() => overrides.serialize(serializer),
            _ => serializer.serialize_bool(self.is_on()),
        }
    }
}

impl<'de> Deserialize<'de> for Amplify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoolOrTable)
    }
}

/// By hand rather than as an untagged enum, whose errors would not say which key is wrong.
struct BoolOrTable;

impl<'de> Visitor<'de> for BoolOrTable {
    type Value = Amplify;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a table of amplification settings such as { factor = 3.0 }")
    }

    fn visit_bool<E>(self, is_on: bool) -> Result<Amplify, E> {
        Ok(if is_on { Amplify::on() } else { Amplify::Off })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Amplify, A::Error> {
        Overrides::deserialize(MapAccessDeserializer::new(map))
            .map(|overrides| Amplify::On(Box::new(overrides)))
    }
}
