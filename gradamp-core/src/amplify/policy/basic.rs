//! The policies that look at no gradient: a random subset, a list, all layers, and factors by depth.

use super::{AmplificationPolicy, PolicyContext, Predictability, Timing};
use crate::Trace;
use crate::amplify::policy_name::PolicyName;
use crate::amplify::policy_settings::DepthSettings;
use crate::amplify::settings::{AmplificationSettings, Redraw};
use crate::{Error, Result};

/// A random subset of the eligible sites, all by one factor.
///
/// Draws of different size at one place are nested: the layers drawn at a ratio of 0.25 are among those drawn at 0.5,
/// so that studies of the ratio compare like with like. A draw that is made `once` is that of epoch 0.
///
/// **Source:** Basodi et al. 2020 amplify a random subset of the layers of one type.
#[derive(Clone, Debug)]
pub(in crate::amplify) struct Random {
    count: usize,
    factor: f32,
    redraw: Redraw,
}

impl Random {
    /// **Errors:** a count larger than the number of eligible sites.
    pub(in crate::amplify) fn new(settings: &AmplificationSettings, eligible: &[usize]) -> Result<Self> {
        let count = match (settings.count, settings.ratio) {
            (Some(count), _) if count > eligible.len() => {
                let message = format!("is {count}, but only {} layers are eligible", eligible.len());
                return Err(Error::setting("count", message));
            }
            (Some(count), _) => count,
            (None, Some(ratio)) => ((ratio * eligible.len() as f64).round() as usize).max(1),
            (None, None) => eligible.len(),
        };
        Ok(Self { count, factor: settings.factor, redraw: settings.redraw })
    }
}

impl AmplificationPolicy for Random {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let chosen = context.random().choose(context.eligible.len(), self.count);
        Ok(chosen.into_iter().map(|i| (context.eligible[i], self.factor)).collect())
    }

    fn timing(&self) -> Timing {
        match self.redraw {
            Redraw::Once => Timing::Once,
            Redraw::Epoch => Timing::Epochs(1),
            Redraw::Step => Timing::Step,
        }
    }

    fn predictability(&self) -> Predictability {
        Predictability::Drawn { count: self.count, factor: self.factor }
    }
}

/// The same sites by the same factors in every epoch.
#[derive(Clone, Debug)]
pub(in crate::amplify) struct List {
    /// Sites' numbers and factors.
    factors: Vec<(usize, f32)>,
}

impl List {
    /// The listed sites, each by its own factor. The sites are known to be in the trace.
    pub(in crate::amplify) fn new(settings: &AmplificationSettings, trace: &Trace) -> Self {
        let number = |path: &String| trace.sites.iter().find(|site| *site.path == **path);
        let pairs = settings.sites.iter().zip(&settings.factors);
        Self { factors: pairs.filter_map(|(path, &factor)| Some((number(path)?.index, factor))).collect() }
    }

    /// All eligible sites by one factor.
    pub(in crate::amplify) fn all(eligible: &[usize], factor: f32) -> Self {
        Self { factors: eligible.iter().map(|&site| (site, factor)).collect() }
    }

    /// All eligible sites by factors that depend on their depth.
    pub(in crate::amplify) fn by_depth(eligible: &[usize], depth: &DepthSettings) -> Self {
        let factor = |i| depth.factor(i, eligible.len());
        Self { factors: eligible.iter().enumerate().map(|(i, &site)| (site, factor(i))).collect() }
    }
}

/// **Errors:** a list without sites; a number of factors that differs from the number of sites; factors for another policy.
pub(in crate::amplify) fn check_factors(settings: &AmplificationSettings) -> Result<()> {
    let (factors, sites) = (settings.factors.len(), settings.sites.len());
    let (field, message) = match settings.policy {
        PolicyName::List if sites == 0 => (
            "sites",
            "is empty, but the policy is \"list\": expected layers, with one of `factors` for each".into(),
        ),
        PolicyName::List if factors != sites => (
            "factors",
            format!("holds {factors} factors for the {sites} layers of `sites`: expected one for each"),
        ),
        PolicyName::List => return Ok(()),
        _ if factors > 0 => {
            ("factors", "is given, but only the policy \"list\" has a factor for each layer".into())
        }
        _ => return Ok(()),
    };
    Err(Error::setting(field, message))
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
