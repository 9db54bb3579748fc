use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exact;

/// What was gathered about one site's gradient over some steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteGradient {
    /// The site's path.
    pub site: String,
    /// Steps that were measured.
    pub steps: u64,
    /// Mean over those steps of ‖dy‖, before amplification at this site.
    #[serde(with = "exact")]
    pub norm_before: f64,
    /// The same after amplification.
    #[serde(with = "exact")]
    pub norm_after: f64,
    /// Mean over those steps of the mean of |dy|, before amplification at this site.
    #[serde(with = "exact")]
    pub mean_magnitude_before: f64,
    /// The same after amplification.
    #[serde(with = "exact")]
    pub mean_magnitude_after: f64,
    /// Mean over those steps of the fraction of elements that are 0.
    #[serde(with = "exact")]
    pub zeros: f64,
    /// Mean over those steps of ‖Δw‖ / ‖w‖, over the parameters of the site's layer (of all its layers, where it is a
    /// container); `None` where it has none.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub update_ratio: Option<f64>,
}

/// Sums over the measured steps of an epoch, by site index.
pub(super) type Sums = BTreeMap<usize, SiteGradient>;

impl SiteGradient {
    /// The means over the steps whose sums these are.
    pub(super) fn into_means(mut self) -> Self {
        let steps = self.steps.max(1) as f64;
        let sums = [
            &mut self.norm_before,
            &mut self.norm_after,
            &mut self.mean_magnitude_before,
            &mut self.mean_magnitude_after,
            &mut self.zeros,
        ];
        sums.into_iter().chain(&mut self.update_ratio).for_each(|sum| *sum /= steps);
        self
    }
}
