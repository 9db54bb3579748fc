use serde::{Deserialize, Serialize};

use super::fluctuation::quantile;
use super::{AmplificationPolicy, PolicyContext, Timing};
use crate::amplify::draw::Draw;
use crate::amplify::gain;
use crate::amplify::history::SiteStatistics;
use crate::amplify::overrides::{Keys, named};
use crate::amplify::selection::owns;
use crate::amplify::settings::{AmplificationSettings, Placement, check_factor};
use crate::error::number;
use crate::{Error, Result};

/// `[amplification.equalise]`: factors that bring each eligible layer's gradient to one norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EqualiseSettings {
    /// The norm to bring gradients to; `None` for the median over the network's layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// No factor is smaller.
    pub min_factor: f32,
    /// No factor is larger.
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
    pub(in crate::amplify) fn check(&self, keys: &Keys) -> Result<()> {
        let fail = |field: &str, message: String| {
            Err(Error::setting(keys.key(&format!("equalise.{field}")), message))
        };
        if let Some(target) = self.target
            && !(target.is_finite() && target > 0.0)
        {
            return fail("target", format!("is {}, expected a finite number above 0", number(target)));
        }
        check_factor(keys, "equalise.min_factor", self.min_factor)?;
        check_factor(keys, "equalise.max_factor", self.max_factor)?;
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

/// What a phase changes about [`EqualiseSettings`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EqualiseChanges {
    /// See [`EqualiseSettings::target`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// See [`EqualiseSettings::min_factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_factor: Option<f32>,
    /// See [`EqualiseSettings::max_factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_factor: Option<f32>,
    /// See [`EqualiseSettings::every`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<usize>,
}

impl EqualiseChanges {
    pub(crate) fn apply(&self, settings: &mut EqualiseSettings) {
        settings.target = self.target.or(settings.target);
        settings.min_factor = self.min_factor.unwrap_or(settings.min_factor);
        settings.max_factor = self.max_factor.unwrap_or(settings.max_factor);
        settings.every = self.every.unwrap_or(settings.every);
    }

    pub(crate) fn fields(&self) -> Vec<&'static str> {
        named(&[
            ("equalise.target", self.target.is_some()),
            ("equalise.min_factor", self.min_factor.is_some()),
            ("equalise.max_factor", self.max_factor.is_some()),
            ("equalise.every", self.every.is_some()),
        ])
    }
}

/// All eligible layers, each by the factor that brings its gradient's norm to a common target.
///
/// What is amplified near the loss changes what arrives further up. So the plan goes from the loss backwards, as
/// gradients do: at each layer, target / (norm without amplification · gain by the factors planned so far).
#[derive(Clone, Debug)]
pub(super) struct Equalise {
    settings: EqualiseSettings,
}

impl Equalise {
    /// **Errors:** the placement `input`, which leaves a layer's own gradients as they are.
    pub(super) fn new(keys: &Keys, settings: &AmplificationSettings) -> Result<Self> {
        if settings.placement == Placement::Input {
            let message = "is \"input\", but the policy \"equalise\" brings a layer's own gradient to its target: \
                           expected \"output\" or \"params\"";
            return Err(Error::setting(keys.key("placement"), message));
        }
        Ok(Self { settings: settings.equalise.clone() })
    }
}

impl AmplificationPolicy for Equalise {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let PolicyContext { trace, eligible, placement, statistics, .. } = *context;
        let Some(epoch) = statistics.last() else { return Ok(Vec::new()) };
        let norm = |found: &SiteStatistics| match placement {
            Placement::Params => found.params.mean_norm(),
            Placement::Output | Placement::Input => found.output.mean_norm(),
        };
        let norm = |site| epoch.site(site).and_then(norm).filter(|norm| norm.is_finite() && *norm > 0.0);
        let norms: Vec<f64> = (0..trace.sites.len()).filter_map(norm).collect();
        if norms.is_empty() {
            return Ok(Vec::new());
        }
        let target = self.settings.target.unwrap_or_else(|| quantile(norms, 0.5));
        let (least, most) = (f64::from(self.settings.min_factor), f64::from(self.settings.max_factor));
        let mut plan = Draw { sites: Vec::new(), factors: Vec::new(), placement, power: None };
        for site in gain::backward_order(trace).filter(|site| eligible.contains(site)) {
            let Some(norm) = norm(site) else { continue };
            let gain = match placement {
                // Containers come before the layers inside them, whose parameters they multiply too.
                Placement::Params => {
                    let planned = plan.sites.iter().zip(&plan.factors);
                    let around =
                        planned.filter(|(other, _)| owns(&trace.sites[**other], &trace.sites[site].path));
                    around.map(|(_, factor)| f64::from(*factor)).product()
                }
                Placement::Output | Placement::Input => gain::arriving(trace, &plan).sites[site],
            };
            plan.sites.push(site);
            plan.factors.push((target / (norm * gain)).clamp(least, most) as f32);
        }
        Ok(plan.sites.into_iter().zip(plan.factors).collect())
    }

    fn timing(&self) -> Timing {
        Timing::Epochs(self.settings.every)
    }

    fn memory(&self) -> usize {
        1
    }
}
