//! What is amplified, how much and how often: the table `[amplification]`, and what a phase changes about it.

use serde::{Deserialize, Serialize};

use crate::hook::LayerKind;
use crate::{Error, Result};

/// The settings of gradient amplification.
///
/// **Eligible** are either the layers of some `kinds` whose paths match some glob of `paths` (where only one of the
/// two is given, it decides alone), or the layers that `sites` lists. Of the eligible layers a share (`ratio`) or a
/// number (`count`) is drawn; at those drawn, gradients are multiplied by `factor`.
///
/// None of the defaults is claimed to be the paper's, which leaves these settings open to its readers.
///
/// **Source:** Basodi, Ji, Zhang, Pan, "Gradient Amplification: An Efficient Way to Train Deep Neural Networks",
/// Big Data Mining and Analytics 3(3), 2020: layers are grouped by type, and a random subset is amplified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmplificationSettings {
    /// The kinds of layers that are eligible; empty for no condition on the kind.
    pub kinds: Vec<LayerKind>,
    /// Globs on the paths of layers; empty for no condition on the path. The parts of a path are separated by dots:
    /// `*` and `?` stay within a part, `**` spans any number of parts, `[ab]` and `{a,b}` are alternatives. So
    /// `layer2.*.bn1` is the first batch norm of every block of the second stage, `layer2.**` all that lies inside
    /// that stage, `**.bn1` every layer named `bn1`.
    pub paths: Vec<String>,
    /// The exact paths of eligible layers; excludes `kinds` and `paths`.
    pub sites: Vec<String>,
    /// The share of the eligible layers that is drawn, in (0, 1], rounded to the nearest number of layers and at
    /// least one; excludes `count`. Without either, all eligible layers are amplified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// How many of the eligible layers are drawn; excludes `ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// How often the layers are drawn anew.
    pub redraw: Redraw,
    /// What gradients are multiplied by: finite, above 0.
    pub factor: f32,
    /// Which gradients of a drawn layer are multiplied.
    pub placement: Placement,
    /// The seed of the draws; `None` for the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for AmplificationSettings {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            paths: Vec::new(),
            sites: Vec::new(),
            ratio: None,
            count: None,
            redraw: Redraw::default(),
            factor: 2.0,
            placement: Placement::default(),
            seed: None,
        }
    }
}

/// How often the amplified layers are drawn anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redraw {
    /// One draw serves the whole run.
    Once,
    /// A draw for every epoch.
    #[default]
    Epoch,
    /// A draw for every step.
    Step,
}

/// Which gradients of an amplified layer are multiplied. With y the layer's output and x its input:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// dy, before the layer's own backward: its own parameters and everything upstream see the factor.
    #[default]
    Output,
    /// dx: everything upstream sees the factor, the layer's own parameters do not.
    Input,
    /// dw: the parameters of the layer (of all its layers, where it is a container) see the factor, nothing else.
    Params,
}

/// What a phase changes about the run's [`AmplificationSettings`]; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// See [`AmplificationSettings::kinds`]; drops the run's `sites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<LayerKind>>,
    /// See [`AmplificationSettings::paths`]; drops the run's `sites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// See [`AmplificationSettings::sites`]; drops the run's `kinds` and `paths`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
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
    /// See [`AmplificationSettings::seed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
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
        if phase.ratio.is_some() || phase.count.is_some() {
            (merged.ratio, merged.count) = (phase.ratio, phase.count);
        }
        merged.kinds = phase.kinds.clone().unwrap_or(merged.kinds);
        merged.paths = phase.paths.clone().unwrap_or(merged.paths);
        merged.sites = phase.sites.clone().unwrap_or(merged.sites);
        merged.redraw = phase.redraw.unwrap_or(merged.redraw);
        merged.factor = phase.factor.unwrap_or(merged.factor);
        merged.placement = phase.placement.unwrap_or(merged.placement);
        merged.seed = phase.seed.or(merged.seed);
        merged
    }

    /// Checks every setting against its range, and that those which exclude each other are not both given.
    ///
    /// **Errors:** the first setting that is wrong, as `amplification.NAME`.
    pub fn check(&self) -> Result<()> {
        self.check_as(&Keys::default())
    }

    pub(super) fn check_as(&self, keys: &Keys) -> Result<()> {
        let fail = |field: &str, message: String| Err(Error::setting(keys.key(field), message));
        let by_rule = !self.kinds.is_empty() || !self.paths.is_empty();
        if by_rule && !self.sites.is_empty() {
            return fail("sites", "lists layers exactly: give it without `kinds` and `paths`".into());
        }
        if self.ratio.is_some() && self.count.is_some() {
            return fail("count", "is given beside `ratio`: give one of the two".into());
        }
        if let Some(ratio) = self.ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            return fail("ratio", format!("is {ratio}, expected more than 0 and at most 1"));
        }
        if self.count == Some(0) {
            return fail(
                "count",
                "is 0, expected at least 1 (to amplify nothing, say `amplify = false`)".into(),
            );
        }
        if !(self.factor.is_finite() && self.factor > 0.0) {
            return fail("factor", format!("is {}, expected a finite number above 0", self.factor));
        }
        Ok(())
    }
}

impl Overrides {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn fields(&self) -> Vec<&'static str> {
        let given = [
            ("kinds", self.kinds.is_some()),
            ("paths", self.paths.is_some()),
            ("sites", self.sites.is_some()),
            ("ratio", self.ratio.is_some()),
            ("count", self.count.is_some()),
            ("redraw", self.redraw.is_some()),
            ("factor", self.factor.is_some()),
            ("placement", self.placement.is_some()),
            ("seed", self.seed.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field).collect()
    }
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

    pub(super) fn key(&self, field: &str) -> String {
        let table = if self.overridden.contains(&field) { &self.phase } else { "amplification" };
        format!("{table}.{field}")
    }
}
