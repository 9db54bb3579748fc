//! The settings of the policies that need some of their own: parts of [`AmplificationSettings`](super::AmplificationSettings).

use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use crate::error::number;
use crate::{Error, Result};

/// The settings of the policy `fluctuation`, which amplifies layers by how their gradients fluctuate.
///
/// If neither a threshold nor a quantile is given, the threshold is the median.
///
/// **Source:** S. Basodi, K. Pusuluri, X. Xiao, Y. Pan, "Intelligent gradient amplification for deep neural networks",
/// 2023, select layers by two measures of their gradients' fluctuation and two thresholds. The measures here are
/// named options; none is claimed to be theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields, default)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct FluctuationSettings {
    /// The measure of fluctuation.
    pub measure: Measure,
    /// The gradient that is measured. By default `params` for `cancellation`, which is measured on nothing else, and `output` for
    /// `relative_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Measured>,
    /// A fixed threshold, at least 0; excludes `quantile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The threshold as a quantile over the eligible layers, in [0, 1]; excludes `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// The side of the threshold on which layers are amplified. A layer that meets the threshold exactly is amplified.
    pub select: Side,
    /// Epochs in a window, at least 1.
    pub window: usize,
    /// Epochs from one selection to the next, at least 1.
    pub every: usize,
}

/// A measure of fluctuation. g is a layer's gradient at one step; sums are over the measured steps of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// ‖Σ g‖ / Σ ‖g‖ over the steps of an epoch, in [0, 1], where g is the gradient of the layer's parameters: 1 if all steps point
    /// the same way, small if they undo each other. For a window of several epochs, the quotient of the sums over the epochs.
    #[default]
    Cancellation,
    /// |‖g‖ − ‖g‖'| / ‖g‖', where ‖g‖ is the mean norm in the last window and ‖g‖' that in the window before.
    RelativeChange,
}

/// The gradient of a layer that is measured. The gain of the amplification that was in force is divided out (its geometric
/// mean, if it depends on the path), so that no layer is selected because it was amplified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// The gradient of the layer's output.
    #[default]
    Output,
    /// The gradient of the layer's parameters; for a container, of the parameters of all its layers.
    Params,
}

/// A side of a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// At most the threshold.
    #[default]
    Below,
    /// At least the threshold.
    Above,
}

impl Default for FluctuationSettings {
    fn default() -> Self {
        Self {
            measure: Measure::default(),
            of: None,
            threshold: None,
            quantile: None,
            select: Side::default(),
            window: 1,
            every: 1,
        }
    }
}

impl FluctuationSettings {
    /// The gradient that is measured.
    pub(super) fn measured(&self) -> Measured {
        let default = match self.measure {
            Measure::Cancellation => Measured::Params,
            Measure::RelativeChange => Measured::Output,
        };
        self.of.unwrap_or(default)
    }

    pub(super) fn check(&self) -> Result<()> {
        let fail =
            |field: &str, message: String| Err(Error::setting(format!("fluctuation.{field}"), message));
        if let Some(threshold) = self.threshold {
            if self.quantile.is_some() {
                return fail("quantile", "is given beside `threshold`: give one of the two".into());
            }
            if !(threshold.is_finite() && threshold >= 0.0) {
                return fail(
                    "threshold",
                    format!("is {}, expected a finite number of at least 0", number(threshold)),
                );
            }
        }
        if let Some(quantile) = self.quantile
            && !(0.0..=1.0).contains(&quantile)
        {
            return fail("quantile", format!("is {quantile}, expected 0 to 1"));
        }
        for (field, epochs) in [("window", self.window), ("every", self.every)] {
            if !(1..=MOST_EPOCHS).contains(&epochs) {
                return fail(field, format!("is {epochs}, expected 1 to {MOST_EPOCHS} epochs"));
            }
        }
        Ok(())
    }
}

/// The most epochs of a window: a checkpoint holds the statistics of every epoch in it.
const MOST_EPOCHS: usize = 1000;

/// The settings of the policy `equalise`, whose factors bring each eligible layer's gradient to one norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields, default)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct EqualiseSettings {
    /// The norm to bring gradients to; `None` for the median over the network's layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The smallest factor.
    pub min_factor: f32,
    /// The largest factor.
    pub max_factor: f32,
    /// Epochs from one decision to the next, at least 1.
    pub every: usize,
}

impl Default for EqualiseSettings {
    fn default() -> Self {
        Self { target: None, min_factor: 0.1, max_factor: 10.0, every: 1 }
    }
}

impl EqualiseSettings {
    pub(super) fn check(&self) -> Result<()> {
        let fail = |field: &str, message: String| Err(Error::setting(format!("equalise.{field}"), message));
        if let Some(target) = self.target
            && !(target.is_finite() && target > 0.0)
        {
            return fail("target", format!("is {}, expected a finite number above 0", number(target)));
        }
        check_factor("equalise.min_factor", self.min_factor)?;
        check_factor("equalise.max_factor", self.max_factor)?;
        if self.max_factor < self.min_factor {
            let message =
                format!("is {}, expected at least `min_factor`, {}", self.max_factor, self.min_factor);
            return fail("max_factor", message);
        }
        if self.every == 0 {
            return fail("every", "is 0, expected at least 1 epoch".into());
        }
        Ok(())
    }
}

/// The settings of the policy `depth`, whose factors go from the first eligible layer to the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields, default)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct DepthSettings {
    /// The factor of the first eligible layer, the one closest to the images.
    pub first: f32,
    /// The factor of the last eligible layer, the one closest to the loss.
    pub last: f32,
    /// How the factors between the first and the last are found.
    pub profile: Profile,
}

/// How the factors between the first and the last are found. t = i / (n − 1) is the relative depth of layer i (from 0) of n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// first^(1 − t) · last^t
    #[default]
    Geometric,
    /// first + t · (last − first)
    Linear,
}

impl Default for DepthSettings {
    fn default() -> Self {
        Self { first: 2.0, last: 1.0, profile: Profile::default() }
    }
}

impl DepthSettings {
    /// The factor of number `i` (from 0) among `n` eligible layers.
    pub(super) fn factor(&self, i: usize, n: usize) -> f32 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let t = i as f64 / n.saturating_sub(1).max(1) as f64;
        let factor = match self.profile {
            Profile::Geometric => first.powf(1.0 - t) * last.powf(t),
            Profile::Linear => first + t * (last - first),
        };
        factor as f32
    }

    pub(super) fn check(&self) -> Result<()> {
        check_factor("depth.first", self.first)?;
        check_factor("depth.last", self.last)
    }
}

/// **Errors:** a factor that is not finite and above 0.
pub(super) fn check_factor(field: &str, factor: f32) -> Result<()> {
    if factor.is_finite() && factor > 0.0 {
        return Ok(());
    }
    Err(Error::setting(field, format!("is {}, expected a finite number above 0", number(factor))))
}
