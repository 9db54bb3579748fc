//! Softmax cross-entropy: loss_r = −Σ_k t_k · ln q_k and dlogits[r, k] = (q_k − t_k) / rows

use ndarray::{Array1, Array2};

use super::case::{Case, Expected, Found, Output, equals_twin, every, random, roundings, upload, wide};
use super::rows::shape;
use super::{Broken, Violation};
use crate::Backend;
use crate::geometry::Rows;
use crate::random::{Purpose, Stream};

#[derive(Clone, Copy, Debug)]
enum Logits {
    /// Random values within these bounds.
    Within(f32),
    /// Few distinct values, so that rows hold equal logits.
    Equals,
    /// Random values, with this value in the middle.
    Holding(f32),
}

#[derive(Debug)]
struct Loss {
    g: Rows,
    smoothing: f32,
    logits: Logits,
}

impl Loss {
    fn logits(&self) -> Array2<f32> {
        let mut logits = random(1, shape(&self.g));
        match self.logits {
            Logits::Within(bound) => logits *= bound,
            Logits::Equals => logits.mapv_inplace(|x| (1.5 * x).round()),
            Logits::Holding(value) => logits[[self.g.rows / 2, self.g.channels / 2]] = value,
        }
        logits
    }

    fn labels(&self) -> Array1<usize> {
        let stream = Stream::new(0, Purpose::Test).at(2);
        Array1::from_shape_fn(self.g.rows, |r| stream.below(r as u64, self.g.channels))
    }
}

impl Case for Loss {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let logits = upload(backend, &self.logits())?;
        let labels = upload(backend, &self.labels().mapv(|label| label as f32))?;
        let mut loss = Output::new(backend, "loss", 1)?;
        let mut correct = Output::new(backend, "correct", 1)?;
        let mut dlogits = Output::new(backend, "dlogits", self.g.len())?;
        backend.softmax_cross_entropy(
            &self.g,
            self.smoothing,
            &logits,
            &labels,
            &mut loss.buffer,
            &mut correct.buffer,
            &mut dlogits.buffer,
        )?;
        [loss, correct, dlogits].map(|output| output.read(backend)).into_iter().collect()
    }

    fn twin(&self) -> Vec<Expected> {
        let Rows { rows, channels } = self.g;
        let (logits, labels) = (wide(&self.logits()), self.labels());
        let s = f64::from(self.smoothing);
        let (mut loss, mut loss_magnitude, mut correct) = (0.0, 0.0, 0.0);
        let (mut dlogits, mut magnitudes) = (Array2::zeros(logits.dim()), Array2::zeros(logits.dim()));
        for ((r, row), &label) in logits.outer_iter().enumerate().zip(&labels) {
            let max = row.fold(f64::NEG_INFINITY, |max, &x| max.max(x));
            let log_sum = max + row.mapv(|x| (x - max).exp()).sum().ln();
            correct += f64::from(row.iter().position(|&x| x == max) == Some(label));
            for (k, &x) in row.indexed_iter() {
                let t = (1.0 - s) * f64::from(k == label) + s / channels as f64;
                let q = (x - log_sum).exp();
                loss += t * (log_sum - x) / rows as f64;
                loss_magnitude += t * (log_sum.abs() + x.abs() + 4.0) / rows as f64;
                dlogits[[r, k]] = (q - t) / rows as f64;
                // The relative error of an exponential grows with its argument. Values below 1e-30 count as 0.
                magnitudes[[r, k]] = (q * (4.0 + (x - max).abs()) + t + 1e-30) / rows as f64;
            }
        }
        let [loss, loss_magnitude, correct] =
            [loss, loss_magnitude, correct].map(|value| Array1::from(vec![value]));
        vec![
            Expected::rounded("loss", loss, roundings(rows + channels), &loss_magnitude),
            Expected::exact("correct", correct),
            Expected::rounded("dlogits", dlogits, roundings(channels), &magnitudes),
        ]
    }
}

fn cases(logits: Logits) -> Vec<Loss> {
    let mut cases = Vec::new();
    for (rows, channels) in [(1, 1), (1, 10), (7, 10), (128, 10), (5, 100), (1030, 3), (33, 67)] {
        for smoothing in [0.0, 0.1] {
            cases.push(Loss { g: Rows { rows, channels }, smoothing, logits });
        }
    }
    cases
}

/// With and without smoothing: loss, correct rows, gradient.
pub fn softmax_cross_entropy_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(Logits::Within(4.0)))
}

/// Logits whose exponential exceeds f32.
pub fn softmax_cross_entropy_survives_large_logits<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(Logits::Within(300.0)))
}

/// A row of equal logits is correct only if its label is the first class.
pub fn softmax_cross_entropy_counts_the_first_of_equals<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(Logits::Equals))
}

/// A diverged step must be visible: if a logit is NaN or infinite, the loss is not finite.
pub fn softmax_cross_entropy_shows_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    for value in [f32::NAN, f32::INFINITY] {
        every(&cases(Logits::Holding(value)), |case| match case.run(backend)?[0].values[0] {
            loss if loss.is_finite() => Err(Broken::Other(format!("the mean loss is {loss}")).into()),
            _ => Ok(()),
        })?;
    }
    Ok(())
}

pub(super) fn sample() -> impl Case {
    Loss { g: Rows { rows: 1030, channels: 10 }, smoothing: 0.1, logits: Logits::Within(4.0) }
}
