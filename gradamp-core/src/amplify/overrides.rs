//! What a phase changes about the run's settings of amplification, and where each setting was written.

use serde::{Deserialize, Serialize};

use super::policy::{DepthChanges, EqualiseChanges, FluctuationChanges};
use super::settings::{AmplificationSettings, Placement, PolicyName, Redraw, Through};
use crate::LayerKind;

/// What a phase changes about the run's [`AmplificationSettings`]; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// See [`AmplificationSettings::policy`]; another than `list` drops the run's `factors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// See [`AmplificationSettings::kinds`]; drops the run's `sites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<LayerKind>>,
    /// See [`AmplificationSettings::paths`]; drops the run's `sites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// See [`AmplificationSettings::sites`]; drops the run's `kinds`, `paths` and `factors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
    /// See [`AmplificationSettings::factors`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factors: Option<Vec<f32>>,
    /// See [`AmplificationSettings::ratio`]; drops the run's `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// See [`AmplificationSettings::count`]; drops the run's `ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// See [`AmplificationSettings::redraw`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redraw: Option<Redraw>,
    /// See [`AmplificationSettings::factor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f32>,
    /// See [`AmplificationSettings::placement`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// See [`AmplificationSettings::through`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Through>,
    /// See [`AmplificationSettings::max_gain`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gain: Option<f32>,
    /// See [`AmplificationSettings::seed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// See [`AmplificationSettings::fluctuation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fluctuation: Option<FluctuationChanges>,
    /// See [`AmplificationSettings::equalise`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equalise: Option<EqualiseChanges>,
    /// See [`AmplificationSettings::depth`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthChanges>,
}

impl AmplificationSettings {
    /// These settings with a phase's changes.
    #[must_use]
    pub fn with(&self, phase: &Overrides) -> Self {
        let mut merged = self.clone();
        if phase.sites.is_some() {
            (merged.kinds, merged.paths) = (Vec::new(), Vec::new());
        } else if phase.kinds.is_some() || phase.paths.is_some() {
            merged.sites = Vec::new();
        }
        if phase.sites.is_some() || phase.policy.is_some_and(|policy| policy != PolicyName::List) {
            merged.factors = Vec::new();
        }
        if phase.ratio.is_some() || phase.count.is_some() {
            (merged.ratio, merged.count) = (phase.ratio, phase.count);
        }
        merged.policy = phase.policy.unwrap_or(merged.policy);
        merged.kinds = phase.kinds.clone().unwrap_or(merged.kinds);
        merged.paths = phase.paths.clone().unwrap_or(merged.paths);
        merged.sites = phase.sites.clone().unwrap_or(merged.sites);
        merged.factors = phase.factors.clone().unwrap_or(merged.factors);
        merged.redraw = phase.redraw.unwrap_or(merged.redraw);
        merged.factor = phase.factor.unwrap_or(merged.factor);
        merged.placement = phase.placement.unwrap_or(merged.placement);
        merged.through = phase.through.unwrap_or(merged.through);
        merged.max_gain = phase.max_gain.or(merged.max_gain);
        merged.seed = phase.seed.or(merged.seed);
        phase.fluctuation.iter().for_each(|changes| changes.apply(&mut merged.fluctuation));
        phase.equalise.iter().for_each(|changes| changes.apply(&mut merged.equalise));
        phase.depth.iter().for_each(|changes| changes.apply(&mut merged.depth));
        merged
    }
}

impl Overrides {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn fields(&self) -> Vec<&'static str> {
        let given = [
            ("policy", self.policy.is_some()),
            ("kinds", self.kinds.is_some()),
            ("paths", self.paths.is_some()),
            ("sites", self.sites.is_some()),
            ("factors", self.factors.is_some()),
            ("ratio", self.ratio.is_some()),
            ("count", self.count.is_some()),
            ("redraw", self.redraw.is_some()),
            ("factor", self.factor.is_some()),
            ("placement", self.placement.is_some()),
            ("through", self.through.is_some()),
            ("max_gain", self.max_gain.is_some()),
            ("seed", self.seed.is_some()),
        ];
        let mut fields = named(&given);
        fields.extend(self.fluctuation.iter().flat_map(FluctuationChanges::fields));
        fields.extend(self.equalise.iter().flat_map(EqualiseChanges::fields));
        fields.extend(self.depth.iter().flat_map(DepthChanges::fields));
        fields
    }
}

/// The names of those that are given.
pub(super) fn named(fields: &[(&'static str, bool)]) -> Vec<&'static str> {
    fields.iter().filter(|(_, is_given)| *is_given).map(|(field, _)| *field).collect()
}

/// Where each setting was written, so that an error names the line's key: the phase's table where it gives the
/// setting, else the run's.
#[derive(Debug, Default)]
pub(super) struct Keys {
    phase: String,
    overridden: Vec<&'static str>,
}

impl Keys {
    pub(super) fn of_phase(phase: usize, overrides: &Overrides) -> Self {
        Self { phase: format!("strategy.phase[{phase}].amplify"), overridden: overrides.fields() }
    }

    /// The full key of `field`, which may be an item of a list, such as `factors[2]`.
    pub(super) fn key(&self, field: &str) -> String {
        let name = field.split('[').next().unwrap_or(field);
        let table = if self.overridden.contains(&name) { &self.phase } else { "amplification" };
        format!("{table}.{field}")
    }
}
