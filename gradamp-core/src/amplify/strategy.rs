//! The training strategy: which learning rate in which epochs, and whether amplification is on.
//!
//! ```toml
//! [strategy]
//! lr = { schedule = "cosine", from = 0.1, to = 0.0 } # of phases without a rate of their own; spans the whole run
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
//! amplify = { kinds = ["relu"], factor = 3.0 } # the phase's own settings of amplification
//! ```

use std::fmt;

use derive_setters::Setters;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schedule::{LearningRate, Moment, Score};
use super::settings::AmplificationSettings;
use crate::error::number;
use crate::{Error, Result};

/// The most epochs of a run: far more than any training needs, and far too few for the count of steps to overflow.
const MOST_EPOCHS: usize = 1_000_000;

/// The phases of a run, one after the other.
///
/// **Source:** Basodi et al. 2020 enable amplification in some epochs and disable it in others, with different learning
/// rates; the phases themselves are the user's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Strategy {
    /// The learning rate of phases without one. Its schedule spans the whole run, including phases with a rate of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<LearningRate>,
    /// The phases in their order.
    #[serde(default, rename = "phase")]
    pub phases: Vec<Phase>,
}

/// A number of epochs under one learning-rate schedule, with or without amplification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Phase {
    /// The number of epochs, at least 1.
    pub epochs: usize,
    /// The learning rate, whose schedule spans the phase; `None` for the strategy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<LearningRate>,
    /// Whether gradients are amplified, and by which settings.
    #[serde(default)]
    pub amplify: Amplify,
}

/// Whether a phase amplifies: `false`, `true`, or a table of settings of its own. A key that the table leaves out has its default.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Amplify {
    /// No gradient is amplified.
    #[default]
    Off,
    /// Gradients are amplified by these settings; `None` for the run's.
    On(Option<Box<AmplificationSettings>>),
}

impl Amplify {
    /// Amplification by the run's settings.
    pub fn on() -> Self {
        Amplify::On(None)
    }

    /// Amplification by settings of the phase's own.
    pub fn with(settings: AmplificationSettings) -> Self {
        Amplify::On(Some(Box::new(settings)))
    }

    /// The phase's settings, given the run's; `None` if the phase does not amplify.
    pub fn settings<'a>(&'a self, run: &'a AmplificationSettings) -> Option<&'a AmplificationSettings> {
        match self {
            Amplify::Off => None,
            Amplify::On(own) => Some(own.as_deref().unwrap_or(run)),
        }
    }

    /// Whether gradients are amplified.
    pub fn is_on(&self) -> bool {
        matches!(self, Amplify::On(_))
    }
}

impl Phase {
    /// A phase of `epochs` epochs with the strategy's learning rate and without amplification.
    pub fn new(epochs: usize) -> Self {
        Self { epochs, lr: None, amplify: Amplify::Off }
    }
}

impl Strategy {
    /// A strategy of one phase.
    pub fn single(epochs: usize, lr: LearningRate, amplify: Amplify) -> Self {
        Self { lr: None, phases: vec![Phase { epochs, lr: Some(lr), amplify }] }
    }

    /// The epochs of all phases.
    pub fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }

    /// The phase of `epoch` (from 0) and the phase's number; `None` after the last epoch.
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

    /// The learning rate of `step` (from 0, counted over the whole run). `scores` are the run's evaluations so far, by which a
    /// plateau lowers the rate; those of this epoch and of later ones do not count.
    ///
    /// **Errors:** an epoch without steps; a step after the last phase; a phase without a learning rate.
    pub fn lr_at(&self, step: u64, steps_per_epoch: u64, scores: &[Score]) -> Result<f64> {
        let epoch = step.checked_div(steps_per_epoch).and_then(|epoch| usize::try_from(epoch).ok());
        let Some((epoch, (number, phase))) = epoch.and_then(|epoch| Some((epoch, self.phase_at(epoch)?)))
        else {
            let message = format!("has {} epochs of {steps_per_epoch} steps, no step {step}", self.epochs());
            return Err(Error::setting("phases", message));
        };
        let (lr, first, epochs) = match (&phase.lr, &self.lr) {
            (Some(lr), _) => (lr, self.phases[..number].iter().map(|phase| phase.epochs).sum(), phase.epochs),
            (None, Some(lr)) => (lr, 0, self.epochs()),
            (None, None) => return Err(no_rate(number)),
        };
        let until = |epoch| scores.partition_point(|score| score.epoch < epoch);
        let steps = |epochs: usize| (epochs as u64).saturating_mul(steps_per_epoch);
        Ok(lr.lr_at(&Moment {
            step: step - steps(first),
            steps: steps(epochs),
            steps_per_epoch,
            scores: &scores[until(first)..until(epoch)],
        }))
    }

    /// Checks every number against its range.
    ///
    /// **Errors:** no phase, a phase of no epochs, more than a million epochs, a phase without any learning rate, a
    /// schedule out of its range ([`LearningRate::check`]); by its field, such as `phases[0].lr`.
    pub fn check(&self) -> Result<()> {
        if self.phases.is_empty() {
            return Err(Error::setting("phases", "found none, expected at least one phase"));
        }
        let mut total = 0_usize;
        for (i, phase) in self.phases.iter().enumerate() {
            let key = format!("phases[{i}]");
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
        self.lr.iter().try_for_each(|lr| lr.check("lr", total))
    }

    /// Changes the length of the run to `total` epochs. Phases keep their shares, rounded by largest remainders, earlier phases
    /// first among equals; warm-ups and milestones stretch with their spans. If there are enough epochs, each phase keeps at
    /// least one; otherwise phases whose share is rounded to 0 are left out. Returns the numbers of these phases, from 0.
    ///
    /// **Errors:** a `total` of 0 or of more than a million; a strategy that does not pass [`Strategy::check`].
    pub fn scale_epochs(&mut self, total: usize) -> Result<Vec<usize>> {
        self.check()?;
        if !(1..=MOST_EPOCHS).contains(&total) {
            return Err(Error::setting("total", format!("is {total}, expected 1 to {MOST_EPOCHS}")));
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

    /// Multiplies every learning rate so that the highest rate of the first phase becomes `initial_lr`.
    ///
    /// **Errors:** an `initial_lr` that is negative or not finite; a first phase whose rate is 0 throughout.
    pub fn with_initial_lr(mut self, initial_lr: f64) -> Result<Self> {
        self.check()?;
        if !(initial_lr.is_finite() && initial_lr >= 0.0) {
            let message = format!("is {}, expected a finite learning rate of at least 0", number(initial_lr));
            return Err(Error::setting("initial_lr", message));
        }
        let first = self.phases[0].lr.as_ref().or(self.lr.as_ref());
        match first.map_or(0.0, LearningRate::peak) {
            0.0 => {
                let message = format!(
                    "{} cannot be reached by scaling: the first phase's rate is 0 throughout",
                    number(initial_lr)
                );
                return Err(Error::setting("initial_lr", message));
            }
            peak => self.scale_lr(initial_lr / peak),
        }
        Ok(self)
    }
}

fn no_rate(phase: usize) -> Error {
    let message = "is missing, and the strategy has no `lr` for phases without a learning rate of their own";
    Error::setting(format!("phases[{phase}].lr"), message)
}

/// Splits `total` in proportion to `weights`, which are positive, by largest remainders. Each share is at least 1 if `total` suffices.
fn apportion(weights: &[usize], total: usize) -> Vec<usize> {
    // A share below 1 becomes 1, and the rest is split again among the other shares.
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
            Amplify::On(Some(settings)) => settings.serialize(serializer),
            _ => serializer.serialize_bool(self.is_on()),
        }
    }
}

impl<'de> Deserialize<'de> for Amplify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoolOrTable)
    }
}

/// Written by hand, because the errors of an untagged enum do not name the wrong key.
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
        AmplificationSettings::deserialize(MapAccessDeserializer::new(map)).map(Amplify::with)
    }
}
