//! What is amplified, how much and how often: the table `[amplification]`.

use serde::{Deserialize, Serialize};

use super::overrides::Keys;
use super::policy::{DepthSettings, EqualiseSettings, FluctuationSettings};
use crate::LayerKind;
use crate::error::number;
use crate::{Error, Result};

/// The settings of gradient amplification.
///
/// **Eligible** are either the layers of some `kinds` whose paths match some glob of `paths` (where only one of the
/// two is given, it decides alone), or the layers that `sites` lists. Among the eligible layers the `policy` decides
/// which are amplified, and by what. What belongs to another policy than the one in force is not looked at, so that
/// a study may vary the policy alone.
///
/// None of the defaults is claimed to be the paper's, which leaves these settings open to its readers.
///
/// **Source:** Basodi, Ji, Zhang, Pan, "Gradient Amplification: An Efficient Way to Train Deep Neural Networks",
/// Big Data Mining and Analytics 3(3), 2020: layers are grouped by type, and a random subset is amplified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmplificationSettings {
    /// Who decides among the eligible layers.
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
    /// What gradients are multiplied by, where the policy has no factors of its own: finite, above 0.
    pub factor: f32,
    /// Which gradients of an amplified layer are multiplied.
    pub placement: Placement,
    /// Through what the factors act.
    pub through: Through,
    /// The most that the gradient on any path may be multiplied by, at least 1: where a decision goes beyond, all its
    /// factors are taken to a common power. `None` for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gain: Option<f32>,
    /// The seed of the draws; `None` for the run's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// For the policy `fluctuation`.
    pub fluctuation: FluctuationSettings,
    /// For the policy `equalise`.
    pub equalise: EqualiseSettings,
    /// For the policy `depth`.
    pub depth: DepthSettings,
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
            factor: 2.0,
            placement: Placement::default(),
            through: Through::default(),
            max_gain: None,
            seed: None,
            fluctuation: FluctuationSettings::default(),
            equalise: EqualiseSettings::default(),
            depth: DepthSettings::default(),
        }
    }
}

/// The policies that ship with this crate; others implement [`AmplificationPolicy`](super::AmplificationPolicy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// A random subset of the eligible layers, all by one factor.
    #[default]
    Random,
    /// The listed layers, each by a factor of its own.
    List,
    /// All eligible layers, by one factor.
    All,
    /// The layers whose gradients fluctuate more, or less, than others', by one factor.
    Fluctuation,
    /// All eligible layers, each by the factor that brings its gradient's norm to a common target.
    Equalise,
    /// All eligible layers, by factors that go with their depth.
    Depth,
}

impl PolicyName {
    /// Whether it decides by gradients that were measured, so that it needs some.
    pub fn looks_back(self) -> bool {
        matches!(self, PolicyName::Fluctuation | PolicyName::Equalise)
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

/// Through what the factors act: the two others are the controls that tell amplification from a larger step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// Gradients are multiplied.
    #[default]
    Gradient,
    /// Gradients stay as they are; each parameter's learning rate is multiplied by the gain that its gradient would
    /// have. Only where no gain depends on the path.
    LearningRate,
    /// Gradients stay as they are; the learning rate is multiplied by the mean over the parameters of that gain (of
    /// the geometric middle between the path that is multiplied least and the one that is multiplied most).
    MeanLearningRate,
}

impl AmplificationSettings {
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
            return fail("ratio", format!("is {}, expected more than 0 and at most 1", number(ratio)));
        }
        if self.count == Some(0) {
            return fail(
                "count",
                "is 0, expected at least 1 (to amplify nothing, say `amplify = false`)".into(),
            );
        }
        check_factor(keys, "factor", self.factor)?;
        for (i, factor) in self.factors.iter().enumerate() {
            check_factor(keys, &format!("factors[{i}]"), *factor)?;
        }
        if let Some(bound) = self.max_gain
            && !(bound.is_finite() && bound >= 1.0)
        {
            return fail("max_gain", format!("is {}, expected a finite number of at least 1", number(bound)));
        }
        self.fluctuation.check(keys)?;
        self.equalise.check(keys)?;
        self.depth.check(keys)
    }
}

/// **Errors:** a factor that is not finite and above 0.
pub(super) fn check_factor(keys: &Keys, field: &str, factor: f32) -> Result<()> {
    if factor.is_finite() && factor > 0.0 {
        return Ok(());
    }
    Err(Error::setting(keys.key(field), format!("is {}, expected a finite number above 0", number(factor))))
}
