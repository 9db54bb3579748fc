use super::{AmplificationPolicy, PolicyContext, Timing};
use crate::Trace;
use crate::amplify::history::{EpochStatistics, Moments};
use crate::amplify::policy_settings::{FluctuationSettings, Measure, Measured, Side};
use crate::amplify::settings::AmplificationSettings;
use crate::{Error, Result};

/// The layers on one side of a threshold of fluctuation, all by one factor.
#[derive(Clone, Debug)]
pub(in crate::amplify) struct Fluctuation {
    settings: FluctuationSettings,
    factor: f32,
}

impl Fluctuation {
    /// **Errors:** cancellation of outputs; parameters to measure where no eligible layer has any.
    pub(in crate::amplify) fn new(
        settings: &AmplificationSettings,
        trace: &Trace,
        eligible: &[usize],
    ) -> Result<Self> {
        // Not where settings are read: those of old runs hold the former default, whatever their policy.
        let FluctuationSettings { measure, of, .. } = settings.fluctuation;
        if measure == Measure::Cancellation && of == Some(Measured::Output) {
            let message = "is \"output\", but cancellation is measured on parameters: gradients of outputs belong to other images at \
                           each step. Versions before this one summed the elements of a gradient, a sum that is zero for a \
                           convolution before a batch norm; a run of theirs cannot go on";
            return Err(Error::setting("fluctuation.of", message));
        }
        let has_parameters = |&site: &usize| trace.parameters.iter().any(|path| trace.sites[site].owns(path));
        if settings.fluctuation.measured() == Measured::Params && !eligible.iter().any(has_parameters) {
            let message = format!(
                "measures \"params\", but none of the {} eligible layers has parameters",
                eligible.len()
            );
            return Err(Error::setting("fluctuation.of", message));
        }
        Ok(Self { settings: settings.fluctuation.clone(), factor: settings.factor })
    }

    /// The measure of one site over the last window; `None` where it is not defined, as for a gradient of zeros.
    fn measure(&self, statistics: &[EpochStatistics], site: usize) -> Option<f64> {
        let recent = statistics.len().saturating_sub(self.settings.window);
        let window = |epochs: &[EpochStatistics]| {
            epochs.iter().fold(Moments::default(), |sum, epoch| {
                match (self.settings.measured(), epoch.site(site)) {
                    (Measured::Output, Some(found)) => sum.and(&found.output),
                    (Measured::Params, Some(found)) => sum.and(&found.params),
                    (_, None) => sum,
                }
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
        if self.settings.measure == Measure::Cancellation {
            let sites = context.statistics.iter().flat_map(|epoch| &epoch.sites);
            if sites.map(|site| &site.params).any(|params| params.steps > 0 && params.net.is_none()) {
                let message = "needs sums of gradients, which the run's checkpoint does not hold: it was saved by an earlier version";
                return Err(Error::setting("fluctuation.measure", message));
            }
        }
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
