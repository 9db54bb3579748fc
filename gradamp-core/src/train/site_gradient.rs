use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::exact;

/// Statistics of one site's gradient over the measured steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteGradient {
    /// The site's path.
    pub site: String,
    /// The number of measured steps.
    pub steps: u64,
    /// The mean of ‖dy‖ before amplification at this site.
    #[serde(with = "exact")]
    pub norm_before: f64,
    /// The mean of ‖dy‖ after amplification at this site.
    #[serde(with = "exact")]
    pub norm_after: f64,
    /// The mean of |dy| over elements and steps, before amplification at this site.
    #[serde(with = "exact")]
    pub mean_magnitude_before: f64,
    /// The mean of |dy| over elements and steps, after amplification at this site.
    #[serde(with = "exact")]
    pub mean_magnitude_after: f64,
    /// The mean fraction of elements that are 0.
    #[serde(with = "exact")]
    pub zeros: f64,
    /// The mean of ‖Δw‖ / ‖w‖ over the parameters of the site's layer (for a container, of all its layers); `None` if there are no
    /// parameters.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub update_ratio: Option<f64>,
}

/// Sums over the measured steps of an epoch, by the number of the site.
pub(super) type Sums = BTreeMap<usize, SiteGradient>;

impl SiteGradient {
    /// Divides the sums by the number of steps.
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
