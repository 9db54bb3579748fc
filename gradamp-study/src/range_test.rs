//! The learning-rate range test: the loss of a short training whose rate grows exponentially from step to step.
//!
//! With lossₖ the loss of step k (from 0) at the rate lrₖ, the smoothed loss is
//!
//! sₖ = mₖ / (1 − βᵏ⁺¹), mₖ = β mₖ₋₁ + (1 − β) lossₖ, m₋₁ = 0.
//!
//! The test ends when a loss is not finite, or sₖ exceeds four times the lowest value so far.
//!
//! **Source:** Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3; the exponential ramp, the
//! smoothing and the bound are those of fastai's learning-rate finder.

use serde::Serialize;

use crate::run_folder::null_is_nan;

/// How many times the lowest smoothed loss ends the test.
pub const DIVERGED: f64 = 4.0;
/// The fewest points from which a rate is suggested.
const FEWEST: usize = 10;

/// The least slope that is a descent, as a share of the lowest loss: rounding makes slopes, too.
const FLAT: f64 = 1e-6;

/// A step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RangePoint {
    /// The learning rate.
    pub lr: f64,
    /// The loss of the step's batch.
    #[serde(with = "null_is_nan")]
    pub loss: f64,
    /// The smoothed loss.
    #[serde(with = "null_is_nan")]
    pub smoothed: f64,
}

/// The rates that a test suggests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The rate at which the smoothed loss falls fastest with the logarithm of the rate. Only rates up to that of the lowest
    /// smoothed loss count.
    pub steepest: f64,
    /// The rate of the lowest smoothed loss.
    pub minimum: f64,
    /// A tenth of that rate.
    pub tenth_of_minimum: f64,
}

/// A learning-rate range test.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTest {
    /// What was trained, such as `without amplification`.
    pub name: String,
    /// The steps so far.
    pub points: Vec<RangePoint>,
    /// Whether the loss diverged, which ended the test.
    pub has_diverged: bool,
    beta: f64,
    mean: f64,
    lowest: f64,
}

impl RangeTest {
    /// A test without steps. `beta`, in [0, 1), is the share of the mean loss that each step keeps.
    pub fn new(name: &str, beta: f64) -> Self {
        Self {
            name: name.into(),
            points: Vec::new(),
            has_diverged: false,
            beta,
            mean: 0.0,
            lowest: f64::INFINITY,
        }
    }

    /// Adds a step. Returns whether the test goes on. After a divergence, further steps are ignored.
    pub fn add(&mut self, lr: f64, loss: f64) -> bool {
        if self.has_diverged {
            return false;
        }
        self.mean = self.beta * self.mean + (1.0 - self.beta) * loss;
        let smoothed = self.mean / (1.0 - self.beta.powi(self.points.len() as i32 + 1));
        self.points.push(RangePoint { lr, loss, smoothed });
        self.has_diverged = !smoothed.is_finite() || smoothed > DIVERGED * self.lowest;
        self.lowest = self.lowest.min(smoothed);
        !self.has_diverged
    }

    /// The rates that the test suggests; `None` if it has fewer than ten finite points, or if the loss never falls.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let finite = || self.points.iter().filter(|point| point.smoothed.is_finite());
        if finite().count() < FEWEST {
            return None;
        }
        let lowest = finite().enumerate().min_by(|a, b| a.1.smoothed.total_cmp(&b.1.smoothed))?;
        let points: Vec<&RangePoint> = finite().take(lowest.0 + 1).collect();
        let slope = |window: &[&RangePoint]| {
            let [a, _, b] = window else { return f64::INFINITY };
            (b.smoothed - a.smoothed) / (b.lr / a.lr).ln()
        };
        let steepest = points.windows(3).min_by(|a, b| slope(a).total_cmp(&slope(b)))?;
        let (minimum, minimum_loss) = (lowest.1.lr, lowest.1.smoothed);
        (slope(steepest) < -FLAT * minimum_loss.abs()).then_some(Suggestion {
            steepest: steepest[1].lr,
            minimum,
            tenth_of_minimum: minimum / 10.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test whose losses are those of `loss` at rates from 1e-4 that grow by a tenth of a decade.
    fn test(beta: f64, steps: usize, loss: impl Fn(f64) -> f64) -> RangeTest {
        let mut test = RangeTest::new("test", beta);
        for step in 0..steps {
            let lr = 1e-4 * 10f64.powf(step as f64 / 10.0);
            if !test.add(lr, loss(lr)) {
                break;
            }
        }
        test
    }

    #[test]
    fn the_smoothed_loss_is_a_mean_without_the_bias_of_its_beginning() {
        let constant = test(0.9, 20, |_| 2.5);
        assert!(constant.points.iter().all(|point| (point.smoothed - 2.5).abs() < 1e-12));
        assert_eq!(constant.suggestion(), None, "the loss never falls");
        let mut two = RangeTest::new("two", 0.5);
        assert!(two.add(0.1, 4.0) && two.add(0.2, 1.0));
        // (0.5 · 0.5 · 4 + 0.5 · 1) / (1 − 0.25)
        assert_eq!(two.points[1].smoothed, 2.0);
    }

    #[test]
    fn the_steepest_descent_and_the_minimum_are_found() {
        // A logistic descent around 10⁻², steepest there, and a parabola in the logarithm with its minimum at 1.
        let loss = |lr: f64| 2.0 / (1.0 + (4.0 * (lr.log10() + 2.0)).exp()) + 0.05 * lr.log10().powi(2) + 0.5;
        let found = test(0.0, 50, loss).suggestion().unwrap();
        assert!((found.steepest.log10() + 2.0).abs() < 0.11, "{found:?}");
        assert!(
            (found.minimum.log10()).abs() < 0.11 && found.tenth_of_minimum == found.minimum / 10.0,
            "{found:?}"
        );
        assert_eq!(test(0.0, 9, |lr| -lr).suggestion(), None, "too few points");
    }

    #[test]
    fn the_test_ends_where_the_loss_diverges() {
        let high = test(0.0, 50, |lr| if lr > 0.1 { 4.1 } else { 1.0 });
        assert!(high.has_diverged && high.points.len() == 32, "{}", high.points.len());
        let mut nan = test(0.0, 12, |lr| -lr.ln());
        assert!(!nan.has_diverged);
        assert!(!nan.add(1.0, f64::NAN));
        assert!(nan.has_diverged);
        assert!(!nan.add(2.0, 0.1) && nan.points.len() == 13);
        assert!(nan.suggestion().is_some(), "points that are not finite are left out");
    }
}
