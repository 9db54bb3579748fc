use serde::{Deserialize, Serialize};

use super::{AmplificationPolicy, PolicyContext, Timing};
use crate::Trace;
use crate::amplify::history::{EpochStatistics, Moments};
use crate::amplify::overrides::{Keys, named};
use crate::amplify::selection::owns;
use crate::amplify::settings::AmplificationSettings;
use crate::error::number;
use crate::{Error, Result};

/// `[amplification.fluctuation]`: which layers are amplified because of how their gradients fluctuate.
///
/// Where neither a threshold nor a quantile is given, the threshold is the median.
///
/// **Source:** S. Basodi, K. Pusuluri, X. Xiao, Y. Pan, "Intelligent gradient amplification for deep neural networks",
/// 2023, select layers by two measures of their gradients' fluctuation and two thresholds. The measures here are
/// named options; none is claimed to be theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FluctuationSettings {
    /// What is measured.
    pub measure: Measure,
    /// Of which gradient.
    pub of: Measured,
    /// A fixed threshold, at least 0; excludes `quantile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The threshold as a quantile over the eligible layers, in [0, 1]; excludes `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// On which side of the threshold layers are amplified; those that meet it exactly are.
    pub select: Side,
    /// Epochs in a window, at least 1.
    pub window: usize,
    /// Epochs from one selection to the next, at least 1.
    pub every: usize,
}

/// A measure of fluctuation. With g a layer's gradient at one step, and sums over the measured steps of a window:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// |Σ sum(g)| / Σ sum(|g|), in [0, 1]: small where signs cancel out.
    #[default]
    Cancellation,
    /// |‖g‖ − ‖g‖'| / ‖g‖', with the mean norms of the last window and of the one before it.
    RelativeChange,
}

/// Which gradient of a layer is measured. Amplification that was in force meanwhile is divided out (by the geometric
/// middle, where it depends on the path), so that no layer is selected for having been amplified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// That of its output.
    #[default]
    Output,
    /// That of its parameters (of all its layers', where it is a container).
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
            of: Measured::default(),
            threshold: None,
            quantile: None,
            select: Side::default(),
            window: 1,
            every: 1,
        }
    }
}

impl FluctuationSettings {
    pub(in crate::amplify) fn check(&self, keys: &Keys) -> Result<()> {
        let fail = |field: &str, message: String| {
            Err(Error::setting(keys.key(&format!("fluctuation.{field}")), message))
        };
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

/// The most epochs of a window: every one of them is kept in the checkpoints.
const MOST_EPOCHS: usize = 1000;

/// What a phase changes about [`FluctuationSettings`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FluctuationChanges {
    /// See [`FluctuationSettings::measure`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
    /// See [`FluctuationSettings::of`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Measured>,
    /// See [`FluctuationSettings::threshold`]; drops the run's `quantile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// See [`FluctuationSettings::quantile`]; drops the run's `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// See [`FluctuationSettings::select`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Side>,
    /// See [`FluctuationSettings::window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// See [`FluctuationSettings::every`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
}

impl FluctuationChanges {
    pub(crate) fn apply(&self, settings: &mut FluctuationSettings) {
        if self.threshold.is_some() || self.quantile.is_some() {
            (settings.threshold, settings.quantile) = (self.threshold, self.quantile);
        }
        settings.measure = self.measure.unwrap_or(settings.measure);
        settings.of = self.of.unwrap_or(settings.of);
        settings.select = self.select.unwrap_or(settings.select);
        settings.window = self.window.unwrap_or(settings.window);
        settings.every = self.every.unwrap_or(settings.every);
    }

    pub(crate) fn fields(&self) -> Vec<&'static str> {
        named(&[
            ("fluctuation.measure", self.measure.is_some()),
            ("fluctuation.of", self.of.is_some()),
            ("fluctuation.threshold", self.threshold.is_some()),
            ("fluctuation.quantile", self.quantile.is_some()),
            ("fluctuation.select", self.select.is_some()),
            ("fluctuation.window", self.window.is_some()),
            ("fluctuation.every", self.every.is_some()),
        ])
    }
}

/// The layers on one side of a threshold of fluctuation, all by one factor.
#[derive(Clone, Debug)]
pub(super) struct Fluctuation {
    settings: FluctuationSettings,
    factor: f32,
}

impl Fluctuation {
    /// **Errors:** parameters to measure where no eligible layer has any.
    pub(super) fn new(
        keys: &Keys,
        settings: &AmplificationSettings,
        trace: &Trace,
        eligible: &[usize],
    ) -> Result<Self> {
        let has_parameters =
            |&site: &usize| trace.parameters.iter().any(|path| owns(&trace.sites[site], path));
        if settings.fluctuation.of == Measured::Params && !eligible.iter().any(has_parameters) {
            let message =
                format!("is \"params\", but none of the {} eligible layers has parameters", eligible.len());
            return Err(Error::setting(keys.key("fluctuation.of"), message));
        }
        Ok(Self { settings: settings.fluctuation.clone(), factor: settings.factor })
    }

    /// The measure of one site over the last window; `None` where it is not defined, as for a gradient of zeros.
    fn measure(&self, statistics: &[EpochStatistics], site: usize) -> Option<f64> {
        let recent = statistics.len().saturating_sub(self.settings.window);
        let window = |epochs: &[EpochStatistics]| {
            epochs.iter().fold(Moments::default(), |sum, epoch| match (self.settings.of, epoch.site(site)) {
                (Measured::Output, Some(found)) => sum.and(&found.output),
                (Measured::Params, Some(found)) => sum.and(&found.params),
                (_, None) => sum,
            })
        };
        let now = window(&statistics[recent..]);
        let value = match self.settings.measure {
            Measure::Cancellation => now.cancellation()?,
            Measure::RelativeChange => {
                let before = window(&statistics[..recent]).mean_norm()?;
                (now.mean_norm()? - before).abs() / before
            }
        };
        value.is_finite().then_some(value)
    }
}

impl AmplificationPolicy for Fluctuation {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let measured = |&site: &usize| Some((site, self.measure(context.statistics, site)?));
        let found: Vec<(usize, f64)> = context.eligible.iter().filter_map(measured).collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let threshold = match (self.settings.threshold, self.settings.quantile) {
            (Some(threshold), _) => threshold,
            (None, at) => quantile(found.iter().map(|(_, value)| *value).collect(), at.unwrap_or(0.5)),
        };
        let is_chosen = |value: f64| match self.settings.select {
            Side::Below => value <= threshold,
            Side::Above => value >= threshold,
        };
        let chosen = found.into_iter().filter(|(_, value)| is_chosen(*value));
        Ok(chosen.map(|(site, _)| (site, self.factor)).collect())
    }

    fn timing(&self) -> Timing {
        Timing::Epochs(self.settings.every)
    }

    fn memory(&self) -> usize {
        match self.settings.measure {
            Measure::Cancellation => self.settings.window,
            Measure::RelativeChange => 2 * self.settings.window,
        }
    }
}

/// The quantile of some values, at least one, linearly between neighbours: NumPy's default.
pub(super) fn quantile(mut values: Vec<f64>, at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = at * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    // Not low + t · (high − low) alone: where t is 0 the value itself must come out, to be met exactly.
    if low == high { low } else { low + place.fract() * (high - low) }
}
