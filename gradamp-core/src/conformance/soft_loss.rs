//! Softmax cross-entropy against shares of classes: loss_r = −Σ_k t_k · ln q_k and dlogits[r, k] = (T · q_k − t_k) / rows

use ndarray::{Array1, Array2};

use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, every, random, roundings, upload, wide,
};
use super::rows::shape;
use super::{Broken, Violation};
use crate::Backend;
use crate::geometry::Rows;

#[derive(Debug)]
struct SoftLoss {
    g: Rows,
    smoothing: f32,
    /// The logits are random within ± this number.
    bound: f32,
    /// Whether each row has one class.
    hard: bool,
}

impl SoftLoss {
    fn logits(&self) -> Array2<f32> {
        random(1, shape(&self.g)) * self.bound
    }

    /// Shares from 0 to 1, about half of which are 0: their sum is not 1.
    fn targets(&self) -> Array2<f32> {
        if self.hard {
            return Array2::from_shape_fn(shape(&self.g), |(r, k)| f32::from(self.label(r) == k));
        }
        random(2, shape(&self.g)).mapv(|x| x.max(0.0))
    }

    fn label(&self, row: usize) -> usize {
        row * 7 % self.g.channels
    }

    fn run_on<B: Backend>(
        &self,
        backend: &B,
        logits: &Array2<f32>,
        targets: &Array2<f32>,
    ) -> Result<Vec<Found>, Violation> {
        let (logits, targets) = (upload(backend, logits)?, upload(backend, targets)?);
        let mut loss = Output::new(backend, "loss", 1)?;
        let mut correct = Output::new(backend, "correct", 1)?;
        let mut dlogits = Output::new(backend, "dlogits", self.g.len())?;
        backend.soft_cross_entropy(
            &self.g,
            self.smoothing,
            &logits,
            &targets,
            &mut loss.buffer,
            &mut correct.buffer,
            &mut dlogits.buffer,
        )?;
        [loss, correct, dlogits].map(|output| output.read(backend)).into_iter().collect()
    }
}

impl Case for SoftLoss {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        self.run_on(backend, &self.logits(), &self.targets())
    }

    fn twin(&self) -> Vec<Expected> {
        let Rows { rows, channels } = self.g;
        let (logits, targets, s) = (wide(&self.logits()), wide(&self.targets()), f64::from(self.smoothing));
        let (mut loss, mut loss_magnitude, mut correct) = (0.0, 0.0, 0.0);
        let (mut dlogits, mut magnitudes) = (Array2::zeros(logits.dim()), Array2::zeros(logits.dim()));
        let first_largest = |row: ndarray::ArrayView1<'_, f64>| {
            let most = row.fold(f64::NEG_INFINITY, |most, &x| most.max(x));
            row.iter().position(|&x| x == most)
        };
        for (r, (row, shares)) in logits.outer_iter().zip(targets.outer_iter()).enumerate() {
            let max = row.fold(f64::NEG_INFINITY, |max, &x| max.max(x));
            let log_sum = max + row.mapv(|x| (x - max).exp()).sum().ln();
            correct += f64::from(first_largest(row) == first_largest(shares));
            let total = shares.sum();
            for (k, &x) in row.indexed_iter() {
                let t = (1.0 - s) * shares[k] + s * total / channels as f64;
                let q = (x - log_sum).exp();
                loss += t * (log_sum - x) / rows as f64;
                loss_magnitude += t * (log_sum.abs() + x.abs() + 4.0) / rows as f64;
                dlogits[[r, k]] = (total * q - t) / rows as f64;
                // The relative error of an exponential grows with its argument. Values below 1e-30 count as 0.
                magnitudes[[r, k]] = (total * q * (4.0 + (x - max).abs()) + t + 1e-30) / rows as f64;
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

fn cases() -> Vec<SoftLoss> {
    let mut cases = Vec::new();
    for (rows, channels) in [(1, 1), (1, 10), (7, 10), (128, 10), (5, 100), (1030, 3), (33, 67)] {
        for (smoothing, bound) in [(0.0, 4.0), (0.1, 4.0), (0.0, 300.0)] {
            cases.push(SoftLoss { g: Rows { rows, channels }, smoothing, bound, hard: false });
        }
    }
    cases
}

/// With and without smoothing, on logits whose exponential exceeds f32 too.
pub fn soft_cross_entropy_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases())
}

/// The default computes on the host.
pub fn soft_cross_entropy_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases())
}

/// A loss of labels, whose twin is that of shares.
#[derive(Debug)]
struct OfLabels(SoftLoss);

impl Case for OfLabels {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let SoftLoss { g, smoothing, .. } = self.0;
        let labels = Array1::from_shape_fn(g.rows, |row| self.0.label(row) as f32);
        let (logits, labels) = (upload(backend, &self.0.logits())?, upload(backend, &labels)?);
        let mut loss = Output::new(backend, "loss", 1)?;
        let mut correct = Output::new(backend, "correct", 1)?;
        let mut dlogits = Output::new(backend, "dlogits", g.len())?;
        backend.softmax_cross_entropy(
            &g,
            smoothing,
            &logits,
            &labels,
            &mut loss.buffer,
            &mut correct.buffer,
            &mut dlogits.buffer,
        )?;
        [loss, correct, dlogits].map(|output| output.read(backend)).into_iter().collect()
    }

    fn twin(&self) -> Vec<Expected> {
        self.0.twin()
    }
}

/// A row with one class has the loss of a label.
pub fn soft_cross_entropy_of_one_class_is_that_of_its_label<B: Backend>(
    backend: &B,
) -> Result<(), Violation> {
    let g = Rows { rows: 130, channels: 10 };
    let cases = || [0.0, 0.1].map(|smoothing| SoftLoss { g, smoothing, bound: 4.0, hard: true });
    equals_twin(backend, &cases())?;
    equals_twin(backend, &cases().map(OfLabels))
}

/// A logit or a share that is NaN or infinite makes the loss not finite.
pub fn soft_cross_entropy_shows_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    for value in [f32::NAN, f32::INFINITY] {
        every(&cases(), |case| {
            let (mut logits, mut targets) = (case.logits(), case.targets());
            let middle = [case.g.rows / 2, case.g.channels / 2];
            logits[middle] = value;
            let spoilt = case.run_on(backend, &logits, &targets)?;
            targets[middle] = value;
            for found in [spoilt, case.run_on(backend, &case.logits(), &targets)?] {
                let loss = found[0].values[0];
                if loss.is_finite() {
                    return Err(Broken::Other(format!("the mean loss is {loss} with {value}")).into());
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) fn sample() -> impl Case {
    SoftLoss { g: Rows { rows: 1030, channels: 10 }, smoothing: 0.1, bound: 4.0, hard: false }
}
