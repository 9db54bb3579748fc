use std::f64::consts::PI;

use super::moment::{Moment, Score};

/// The course of a learning rate over T steps; s counts from 0.
///
/// **Units:** rates per step, as PyTorch's `lr`; milestones in epochs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Curve {
    /// lr(s) = from
    Constant {
        /// The rate.
        from: f64,
    },
    /// lr(s) = from + (to − from) · s/T
    Linear {
        /// The rate at the beginning.
        from: f64,
        /// The rate at the end, which the last step approaches.
        to: f64,
    },
    /// lr(s) = to + (from − to) · (1 + cos(π s/T)) / 2
    ///
    /// **Source:** PyTorch's `CosineAnnealingLR`, stepped at every step; Loshchilov and Hutter, "SGDR", ICLR 2017,
    /// equation 5.
    Cosine {
        /// The rate at the beginning.
        from: f64,
        /// The rate at the end, which the last step approaches.
        to: f64,
    },
    /// A rise from `from` to `peak`, and a fall to `to`, each along half a cosine. With R = rise · T − 1:
    ///
    /// lr(s) = a + (b − a) · (1 − cos(π u)) / 2, from a = from to b = peak with u = s/R for s ≤ R, and then from a = peak to b = to with
    /// u = (s − R) / (T − 1 − R)
    ///
    /// **Source:** PyTorch's `OneCycleLR`, whose `div_factor` is peak/from and whose `final_div_factor` is from/to; L. Smith, N. Topin,
    /// "Super-Convergence", 2019. The momentum stays as it is.
    OneCycle {
        /// The rate at the beginning.
        from: f64,
        /// The highest rate.
        peak: f64,
        /// The rate of the last step.
        to: f64,
        /// The share of the span in which the rate rises, between 0 and 1.
        rise: f64,
    },
    /// lr = max(from · factor^k, to), where k counts how often the loss came to a plateau: more than `patience` evaluations in a row
    /// whose loss was not below (1 − threshold) times the least before
    ///
    /// The loss is that of the run's first evaluation, in the epochs of the span.
    ///
    /// **Source:** PyTorch's `ReduceLROnPlateau`.
    Plateau {
        /// The rate at the beginning.
        from: f64,
        /// The factor by which each plateau multiplies the rate.
        factor: f64,
        /// The evaluations without an improvement that change nothing.
        patience: usize,
        /// The relative improvement that counts as one.
        threshold: f64,
        /// The lowest rate.
        to: f64,
    },
    /// lr = from · gamma^k, where k is the number of milestones that have passed
    ///
    /// **Source:** PyTorch's `MultiStepLR`.
    MultiStep {
        /// The rate at the beginning.
        from: f64,
        /// Ascending, in epochs from the beginning of the span (its warm-up included).
        milestones: Vec<f64>,
        /// The factor by which each milestone multiplies the rate.
        gamma: f64,
    },
}

impl Curve {
    /// The rate at the beginning.
    pub fn from(&self) -> f64 {
        match self {
            Curve::Constant { from }
            | Curve::Linear { from, .. }
            | Curve::Cosine { from, .. }
            | Curve::OneCycle { from, .. }
            | Curve::Plateau { from, .. }
            | Curve::MultiStep { from, .. } => *from,
        }
    }

    /// The rate at one step of the span, after a warm-up of `warmup` steps.
    pub(super) fn at(&self, at: &Moment<'_>, warmup: f64) -> f64 {
        let to_steps = |epochs: f64| (epochs * at.steps_per_epoch as f64).round();
        let (t, steps) = (at.step as f64, at.steps as f64);
        let progress = if steps > warmup { ((t - warmup) / (steps - warmup)).min(1.0) } else { 1.0 };
        match self {
            Curve::Constant { from } => *from,
            Curve::Linear { from, to } => from + (to - from) * progress,
            Curve::Cosine { from, to } => to + (from - to) * (1.0 + (PI * progress).cos()) / 2.0,
            Curve::MultiStep { from, milestones, gamma } => {
                let behind = milestones.iter().filter(|&&milestone| to_steps(milestone) <= t).count();
                from * gamma.powi(behind as i32)
            }
            &Curve::OneCycle { from, peak, to, rise } => {
                let along = |from, to, share: f64| to + (from - to) * (1.0 + (PI * share).cos()) / 2.0;
                let (s, last) = (t - warmup, steps - warmup - 1.0);
                let top = rise * (steps - warmup) - 1.0;
                if s <= top {
                    along(from, peak, s / top.max(f64::MIN_POSITIVE))
                } else {
                    along(peak, to, ((s - top) / (last - top)).min(1.0))
                }
            }
            &Curve::Plateau { from, factor, patience, threshold, to } => {
                let plateaus = plateaus(at.scores, patience, threshold);
                (from * factor.powi(plateaus as i32)).max(to)
            }
        }
    }
}

/// How often the loss of `scores` came to a plateau. After each plateau the count of evaluations begins anew.
fn plateaus(scores: &[Score], patience: usize, threshold: f64) -> usize {
    let (mut least, mut without, mut plateaus) = (f64::INFINITY, 0, 0);
    for Score { loss, .. } in scores {
        // The first number is an improvement on infinity; NaN never is one.
        let limit = if least.is_finite() { least - threshold * least } else { least };
        if *loss < limit {
            (least, without) = (*loss, 0);
        } else {
            without += 1;
        }
        if without > patience {
            (without, plateaus) = (0, plateaus + 1);
        }
    }
    plateaus
}
