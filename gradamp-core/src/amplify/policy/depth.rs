use serde::{Deserialize, Serialize};

use crate::Result;
use crate::amplify::overrides::{Keys, named};
use crate::amplify::settings::check_factor;

/// `[amplification.depth]`: factors that go from the first eligible layer to the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepthSettings {
    /// The factor of the first eligible layer, next to the images.
    pub first: f32,
    /// The factor of the last one, next to the loss.
    pub last: f32,
    /// How factors go from the first to the last.
    pub profile: Profile,
}

/// How factors go from the first to the last. With t the relative depth, i / (n − 1) for number i (from 0) of n:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// first^(1 − t) · last^t
    #[default]
    Geometric,
    /// first + t · (last − first)
    Linear,
}

impl Default for DepthSettings {
    fn default() -> Self {
        Self { first: 2.0, last: 1.0, profile: Profile::default() }
    }
}

impl DepthSettings {
    /// The factor of number `i` (from 0) among `n` eligible layers.
    pub(super) fn factor(&self, i: usize, n: usize) -> f32 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let t = i as f64 / n.saturating_sub(1).max(1) as f64;
        let factor = match self.profile {
            Profile::Geometric => first.powf(1.0 - t) * last.powf(t),
            Profile::Linear => first + t * (last - first),
        };
        factor as f32
    }

    pub(in crate::amplify) fn check(&self, keys: &Keys) -> Result<()> {
        check_factor(keys, "depth.first", self.first)?;
        check_factor(keys, "depth.last", self.last)
    }
}

/// What a phase changes about [`DepthSettings`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepthChanges {
    /// See [`DepthSettings::first`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<f32>,
    /// See [`DepthSettings::last`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<f32>,
    /// See [`DepthSettings::profile`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

impl DepthChanges {
    pub(crate) fn apply(&self, settings: &mut DepthSettings) {
        settings.first = self.first.unwrap_or(settings.first);
        settings.last = self.last.unwrap_or(settings.last);
        settings.profile = self.profile.unwrap_or(settings.profile);
    }

    pub(crate) fn fields(&self) -> Vec<&'static str> {
        named(&[
            ("depth.first", self.first.is_some()),
            ("depth.last", self.last.is_some()),
            ("depth.profile", self.profile.is_some()),
        ])
    }
}
