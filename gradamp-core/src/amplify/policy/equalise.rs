use super::fluctuation::quantile;
use super::{AmplificationPolicy, PolicyContext, Timing};
use crate::amplify::draw::Draw;
use crate::amplify::gain;
use crate::amplify::history::SiteStatistics;
use crate::amplify::policy_settings::EqualiseSettings;
use crate::amplify::settings::{AmplificationSettings, Placement};
use crate::{Error, Result};

/// All eligible layers, each by the factor that brings its gradient's norm to a common target.
///
/// A factor near the loss changes the gradients upstream. The factors are therefore planned from the loss backwards, in the order of the
/// backward pass: factor = target / (norm without amplification · gain by the factors planned so far).
#[derive(Clone, Debug)]
pub(in crate::amplify) struct Equalise {
    settings: EqualiseSettings,
}

impl Equalise {
    /// **Errors:** the placement `input`, which does not change a layer's own gradients.
    pub(in crate::amplify) fn new(settings: &AmplificationSettings) -> Result<Self> {
        if settings.placement == Placement::Input {
            let message = "is \"input\", but the policy \"equalise\" brings a layer's own gradient to its target: \
                           expected \"output\" or \"params\"";
            return Err(Error::setting("placement", message));
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
                        planned.filter(|(other, _)| trace.sites[**other].owns(&trace.sites[site].path));
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
