use super::{AmplificationPolicy, DepthSettings, PolicyContext, Predictability, Timing};
use crate::Trace;
use crate::amplify::overrides::Keys;
use crate::amplify::settings::{AmplificationSettings, PolicyName};
use crate::{Error, Result};

/// The same sites by the same factors throughout.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// Sites' numbers and factors.
    factors: Vec<(usize, f32)>,
}

impl List {
    /// The listed sites, which the trace is known to have, each by its own factor.
    pub(super) fn new(settings: &AmplificationSettings, trace: &Trace) -> Self {
        let number = |path: &String| trace.sites.iter().find(|site| *site.path == **path);
        let pairs = settings.sites.iter().zip(&settings.factors);
        Self { factors: pairs.filter_map(|(path, &factor)| Some((number(path)?.index, factor))).collect() }
    }

    /// All eligible sites by one factor.
    pub(super) fn of_all(eligible: &[usize], factor: f32) -> Self {
        Self { factors: eligible.iter().map(|&site| (site, factor)).collect() }
    }

    /// All eligible sites by factors that go with their depth.
    pub(super) fn of_profile(eligible: &[usize], depth: &DepthSettings) -> Self {
        let factor = |i| depth.factor(i, eligible.len());
        Self { factors: eligible.iter().enumerate().map(|(i, &site)| (site, factor(i))).collect() }
    }
}

/// **Errors:** a list that lacks sites or factors, or has not as many of the one as of the other; factors without a list.
pub(super) fn check_factors(keys: &Keys, settings: &AmplificationSettings) -> Result<()> {
    let (factors, sites) = (settings.factors.len(), settings.sites.len());
    let (field, message) = match settings.policy {
        PolicyName::List if sites == 0 => (
            "sites",
            "lists no layer, but the policy is \"list\": give `sites`, and `factors` for them".into(),
        ),
        PolicyName::List if factors != sites => (
            "factors",
            format!("holds {factors} factors for the {sites} layers of `sites`: give each its own"),
        ),
        PolicyName::List => return Ok(()),
        _ if factors > 0 => {
            ("factors", "is given, but only the policy \"list\" has a factor for each layer".into())
        }
        _ => return Ok(()),
    };
    Err(Error::setting(keys.key(field), message))
}

impl AmplificationPolicy for List {
    fn decide(&self, _: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        Ok(self.factors.clone())
    }

    fn timing(&self) -> Timing {
        Timing::Once
    }

    fn predictability(&self) -> Predictability {
        Predictability::Fixed
    }
}
