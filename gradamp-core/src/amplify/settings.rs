//! What is amplified, how much and how often: the table `[amplification]`.

use std::collections::BTreeMap;

use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use super::policy_name::PolicyName;
use super::policy_settings::{DepthSettings, EqualiseSettings, FluctuationSettings, check_factor};
use crate::LayerKind;
use crate::error::number;
use crate::{Error, Result};

/// The settings of gradient amplification.
///
/// The **eligible** layers are either those that `sites` lists, or those of one of the `kinds` whose path matches one of
/// the globs in `paths`; if only one of `kinds` and `paths` is given, it decides alone. The `policy` decides which of the
/// eligible layers are amplified, and by which factors. Settings of other policies are ignored, so that a study can vary
/// the policy alone.
///
/// The paper leaves these settings open; none of the defaults is claimed to be the paper's.
///
/// **Source:** Basodi, Ji, Zhang, Pan, "Gradient Amplification: An Efficient Way to Train Deep Neural Networks",
/// Big Data Mining and Analytics 3(3), 2020: layers are grouped by type, and a random subset is amplified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[serde(deny_unknown_fields, default)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct AmplificationSettings {
    /// The policy that decides among the eligible layers.
    pub policy: PolicyName,
    /// The kinds of layers that are eligible; empty for no condition on the kind.
    pub kinds: Vec<LayerKind>,
    /// Globs on the paths of layers; empty for no condition on the path. The parts of a path are separated by dots:
    /// `*` and `?` stay within a part, `**` spans any number of parts, `[ab]` and `{a,b}` are alternatives. So
    /// `layer2.*.bn1` is the first batch norm of every block of the second stage, `layer2.**` all that lies inside
    /// that stage, `**.bn1` every layer named `bn1`.
    pub paths: Vec<String>,
    /// The exact paths of eligible layers; excludes `kinds` and `paths`.
    pub sites: Vec<String>,
    /// For the policy `list`: a factor for each of `sites`, in their order.
    pub factors: Vec<f32>,
    /// For the policy `random`: the share of the eligible layers that is drawn, in (0, 1], rounded to the nearest
    /// number of layers and at least one; excludes `count`. Without either, all eligible layers are amplified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// For the policy `random`: how many of the eligible layers are drawn; excludes `ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// For the policy `random`: how often the layers are drawn anew.
    pub redraw: Redraw,
    /// What random draws depend on besides the seed and the time.
    pub draws: Draws,
    /// The factor of policies without factors of their own: finite, above 0.
    pub factor: f32,
    /// Which gradients of an amplified layer are multiplied.
    pub placement: Placement,
    /// What the factors act on.
    pub through: Through,
    /// The largest gain that any path may have, at least 1; `None` for no bound. If a decision exceeds the bound, all its
    /// factors are raised to a common power that meets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gain: Option<f32>,
    /// The seed of the draws; `None` for the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The settings of the policy `fluctuation`.
    pub fluctuation: FluctuationSettings,
    /// The settings of the policy `equalise`.
    pub equalise: EqualiseSettings,
    /// The settings of the policy `depth`.
    pub depth: DepthSettings,
    /// For a policy of another crate: its own settings, numbers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, f64>,
}

impl Default for AmplificationSettings {
    fn default() -> Self {
        Self {
            policy: PolicyName::default(),
            kinds: Vec::new(),
            paths: Vec::new(),
            sites: Vec::new(),
            factors: Vec::new(),
            ratio: None,
            count: None,
            redraw: Redraw::default(),
            draws: Draws::default(),
            factor: 2.0,
            placement: Placement::default(),
            through: Through::default(),
            max_gain: None,
            seed: None,
            fluctuation: FluctuationSettings::default(),
            equalise: EqualiseSettings::default(),
            depth: DepthSettings::default(),
            options: BTreeMap::new(),
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

/// What random draws depend on besides the seed and the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draws {
    /// On the paths of the eligible layers: two kinds of layers are drawn independently of each other.
    #[default]
    Layers,
    /// On nothing else: with the same seed, as many layers of any kind are drawn at the same positions. A study of kinds then
    /// compares neighbouring layers. Runs of versions before this setting drew in this way.
    Positions,
}

/// Which gradients of an amplified layer are multiplied. y is the layer's output and x its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// dy, before the layer's own backward: its own parameters and everything upstream see the factor.
    #[default]
    Output,
    /// dx: everything upstream sees the factor; the layer's own parameters do not.
    Input,
    /// dw: only the parameters of the layer see the factor; for a container, those of all its layers.
    Params,
}

/// What the factors act on. All but the gradient are controls: they show how much of amplification's effect is that of a larger
/// step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// Gradients are multiplied.
    #[default]
    Gradient,
    /// The plain gradient is brought to the length of the amplified gradient of the same batch at the same weights: one factor for
    /// all parameters, ‖g_amplified‖ / ‖g_plain‖ over all of them. Clipping, weight decay and momentum follow; weight decay is not
    /// scaled.
    ///
    /// Each amplified step has two passes, and the host reads the norms. A run's hooks see both passes.
    StepLength,
    /// The same with a factor for each layer: for all parameters whose paths differ in the last part only.
    StepLengthPerLayer,
    /// A control of earlier versions, which multiplied each parameter's learning rate and thereby the effect of weight decay. Runs
    /// with it can be read, but not trained.
    LearningRate,
    /// The same with one multiplier for all parameters.
    MeanLearningRate,
}

impl Through {
    /// **Errors:** a control that is no longer trained.
    pub(super) fn check(self) -> Result<()> {
        let name = match self {
            Self::Gradient | Self::StepLength | Self::StepLengthPerLayer => return Ok(()),
            Self::LearningRate => "learning_rate",
            Self::MeanLearningRate => "mean_learning_rate",
        };
        let message = format!(
            "is {name:?}, a control of earlier versions that scaled weight decay too; such runs can be read, but not begun or \
             resumed; expected \"gradient\", \"step_length\" or \"step_length_per_layer\""
        );
        Err(Error::setting("through", message))
    }
}

impl AmplificationSettings {
    /// The value of one of [`AmplificationSettings::options`], `default` where it is not given.
    pub fn option(&self, name: &str, default: f64) -> f64 {
        self.options.get(name).copied().unwrap_or(default)
    }

    /// Checks that every one of [`AmplificationSettings::options`] is among `known`: what a policy of another crate
    /// does before it reads them.
    ///
    /// **Errors:** the first option that is not.
    pub fn check_options(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(stray) => {
                let message = format!(
                    "is no option of the policy {}, expected {}",
                    self.policy.name(),
                    known.join(", ")
                );
                Err(Error::setting(format!("options.{stray}"), message))
            }
        }
    }

    /// Checks every setting against its range, and that no two settings are given which exclude each other.
    ///
    /// **Errors:** the first wrong setting, by its field.
    pub fn check(&self) -> Result<()> {
        let fail = |field: &str, message: String| Err(Error::setting(field, message));
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
            return fail("ratio", format!("is {}, expected more than 0 and at most 1", number(ratio)));
        }
        if self.count == Some(0) {
            return fail(
                "count",
                "is 0, expected at least 1 (a phase that amplifies nothing has amplification off)".into(),
            );
        }
        check_factor("factor", self.factor)?;
        for (i, factor) in self.factors.iter().enumerate() {
            check_factor(&format!("factors[{i}]"), *factor)?;
        }
        if let Some(bound) = self.max_gain
            && !(bound.is_finite() && bound >= 1.0)
        {
            return fail("max_gain", format!("is {}, expected a finite number of at least 1", number(bound)));
        }
        self.fluctuation.check()?;
        self.equalise.check()?;
        self.depth.check()
    }
}
