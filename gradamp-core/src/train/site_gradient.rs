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
    /// What [`TrainSettings::signals`](super::TrainSettings::signals) measures besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<SiteSignals>,
}

/// Means over the measured steps of a site's forward signal, and of the noise and the angular update of its layer's parameters.
///
/// The forward signal is that of the first half of each batch. The layer's parameters are taken as one vector; for a container,
/// those of all its layers. Fields are `None` at sites to which they do not apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteSignals {
    /// The mean of the outputs y over units and examples.
    #[serde(with = "exact")]
    pub output_mean: f64,
    /// The standard deviation of a unit over the examples, as the root mean square over the units. A unit is one output of an
    /// example. Near 0, the layers behind the site see the same input whatever the image is: the forward path is dead.
    #[serde(with = "exact")]
    pub output_deviation: f64,
    /// The fraction of outputs through which little gradient flows: exact zeros of a ReLU, |y| > 0.97 of a tanh, and
    /// |2y − 1| > 0.97 of a sigmoid. `None` for other layers.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub saturated: Option<f64>,
    /// ‖g‖², where g is the gradient of the batch. `None` without parameters, and for a batch of one example.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub gradient_square: Option<f64>,
    /// An estimate of the variance of g over batches, summed over the parameters: ‖h − g‖² / (n/m − 1), where h is the gradient of
    /// the first m = n/2 of the batch's n examples. It has no bias where examples are independent; a batch norm couples them.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub gradient_variance: Option<f64>,
    /// The angle between the parameters before and after the step, in radians.
    #[serde(default, with = "exact::option", skip_serializing_if = "Option::is_none")]
    pub angular_update: Option<f64>,
}

impl SiteSignals {
    /// The gradient's signal-to-noise ratio: the squared norm of the mean gradient over its variance over batches.
    ///
    /// (‖g‖² − variance) / variance, with both averaged over the measured steps: ‖g‖² holds the variance too. Where noise
    /// prevails, the estimate may be below 0.
    ///
    /// **Source:** S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018 (arXiv 1812.06162), appendix A.1,
    /// whose noise scale at this batch size is the inverse.
    pub fn signal_to_noise(&self) -> Option<f64> {
        let variance = self.gradient_variance?;
        Some((self.gradient_square? - variance) / variance)
    }
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
        if let Some(signals) = &mut self.signals {
            let sums = [&mut signals.output_mean, &mut signals.output_deviation];
            let optional = [
                &mut signals.saturated,
                &mut signals.gradient_square,
                &mut signals.gradient_variance,
                &mut signals.angular_update,
            ];
            sums.into_iter().chain(optional.into_iter().flatten()).for_each(|sum| *sum /= steps);
        }
        self
    }
}
