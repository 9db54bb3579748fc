use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use crate::error::number;
use crate::{Error, Result};

/// The number of steps after which the factor is adapted again. These steps do not depend on when results are read.
pub(super) const RECONSIDERED: u64 = 16;

/// The settings of the factor of [`ops::loss_scale`](crate::ops::loss_scale): as large as possible while gradients stay finite.
///
/// A step whose gradients are not finite is skipped: it changes no parameter. After every 16th step the factor is multiplied
/// by `backoff` if one of the 16 steps was skipped, or by `growth` if none of the last `growth_interval` steps was.
///
/// **Units:** none; powers of two change no bit of a gradient that stays in the range of its format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct LossScaling {
    /// The factor at the beginning.
    pub initial: f32,
    /// The multiplier after `growth_interval` steps without a skipped one, at least 1.
    pub growth: f32,
    /// The number of steps without a skipped one after which the factor grows.
    pub growth_interval: u64,
    /// The multiplier after a skipped step, in (0, 1).
    pub backoff: f32,
    /// The smallest factor.
    pub min: f32,
    /// The largest factor.
    pub max: f32,
}

impl Default for LossScaling {
    fn default() -> Self {
        Self {
            initial: 65536.0,
            growth: 2.0,
            growth_interval: 2000,
            backoff: 0.5,
            min: 1.0,
            max: 16_777_216.0,
        }
    }
}

/// The state of loss scaling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The factor of the next step.
    pub factor: f32,
    /// The number of steps since the last skipped step or the last growth of the factor.
    pub good_steps: u64,
    /// Whether a step was skipped since the factor was last adapted.
    pub overflowed: bool,
    /// The number of skipped steps of the whole run.
    pub skipped: u64,
}

impl LossScaling {
    /// Checks every setting against its range.
    ///
    /// **Errors:** a value out of its range, by its field.
    pub fn check(&self) -> Result<()> {
        let fail = |field: &str, expected: &str, found: f32| {
            let message = format!("expected {expected}, found {}", number(found));
            Err(Error::setting(field, message))
        };
        if !(self.min > 0.0 && self.min.is_finite()) {
            return fail("min", "a number above 0", self.min);
        }
        if !(self.max >= self.min && self.max.is_finite()) {
            return fail("max", "a number of at least `min`", self.max);
        }
        if !(self.min..=self.max).contains(&self.initial) {
            return fail("initial", "a number from `min` to `max`", self.initial);
        }
        if !(self.growth >= 1.0 && self.growth.is_finite()) {
            return fail("growth", "a number of at least 1", self.growth);
        }
        if !(self.backoff > 0.0 && self.backoff < 1.0) {
            return fail("backoff", "a number in (0, 1)", self.backoff);
        }
        if self.growth_interval == 0 {
            return fail("growth_interval", "at least 1 step", 0.0);
        }
        Ok(())
    }

    /// The state at the beginning of a run.
    pub(super) fn begin(&self) -> LossScale {
        LossScale { factor: self.initial, good_steps: 0, overflowed: false, skipped: 0 }
    }

    /// Counts step number `step` (from 0), and chooses the factor of those to come.
    pub(super) fn count(&self, scale: &mut LossScale, step: u64, skipped: bool) {
        scale.skipped += u64::from(skipped);
        scale.overflowed |= skipped;
        scale.good_steps = if skipped { 0 } else { scale.good_steps + 1 };
        if !(step + 1).is_multiple_of(RECONSIDERED) {
            return;
        }
        if scale.overflowed {
            scale.factor = (scale.factor * self.backoff).max(self.min);
        } else if scale.good_steps >= self.growth_interval {
            scale.factor = (scale.factor * self.growth).min(self.max);
            scale.good_steps = 0;
        }
        scale.overflowed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factor after each window of 16 steps, where those in `skipped` were skipped.
    fn factors(scaling: &LossScaling, windows: u64, skipped: &[u64]) -> Vec<f32> {
        let mut scale = scaling.begin();
        let mut factors = Vec::new();
        for step in 0..windows * RECONSIDERED {
            let before = scale.factor;
            scaling.count(&mut scale, step, skipped.contains(&step));
            match (step + 1).is_multiple_of(RECONSIDERED) {
                true => factors.push(scale.factor),
                false => assert_eq!(scale.factor, before, "step {step}"),
            }
        }
        assert_eq!(scale.skipped, skipped.len() as u64);
        factors
    }

    #[test]
    fn the_factor_backs_off_once_for_each_window_and_grows_after_an_interval() {
        let scaling = LossScaling { initial: 8.0, growth_interval: 32, max: 16.0, ..LossScaling::default() };
        assert_eq!(factors(&scaling, 5, &[]), [8.0, 16.0, 16.0, 16.0, 16.0]);
        assert_eq!(factors(&scaling, 4, &[0, 1, 15, 16]), [4.0, 2.0, 2.0, 4.0]);
        // 31 good steps are too few at the end of the fourth window; the fifth makes it.
        assert_eq!(factors(&scaling, 5, &[16, 32]), [8.0, 4.0, 2.0, 2.0, 4.0]);
        let low = LossScaling { min: 4.0, ..scaling };
        assert_eq!(factors(&low, 3, &[0, 16, 32]), [4.0, 4.0, 4.0]);
    }

    #[test]
    fn settings_out_of_range_name_their_key() {
        let plain = LossScaling::default;
        plain().check().unwrap();
        let cases = [
            ("min", LossScaling { min: 0.0, ..plain() }),
            ("max", LossScaling { max: 0.5, ..plain() }),
            ("initial", LossScaling { initial: f32::NAN, ..plain() }),
            ("growth", LossScaling { growth: 0.5, ..plain() }),
            ("backoff", LossScaling { backoff: 1.0, ..plain() }),
            ("growth_interval", LossScaling { growth_interval: 0, ..plain() }),
        ];
        for (key, scaling) in cases {
            let error = scaling.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{error}");
        }
    }
}
