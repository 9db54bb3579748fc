//! y = (x − mean) / sqrt(variance + epsilon) · gamma + beta

use ndarray::{Array1, Array2, Axis, Zip};

use super::case::{
    Case, EPSILON, Expected, Found, Output, equals_default, equals_twin, every, random, roundings, upload,
    wide,
};
use super::rows::{geometries, shape};
use super::{Broken, Violation};
use crate::Backend;
use crate::backend::BatchNormOperands;
use crate::geometry::Rows;

#[derive(Debug)]
struct BatchStatistics {
    g: Rows,
    /// The approximate mean of x. If it is far from 0, a variance computed as E[x²] − E[x]² loses all digits.
    centre: f32,
}

impl BatchStatistics {
    fn x(&self) -> Array2<f32> {
        random(1, shape(&self.g)) + self.centre
    }
}

/// The mean and the biased variance of each channel.
pub(super) fn mean_and_variance(x: &Array2<f64>) -> (Array1<f64>, Array1<f64>) {
    let rows = x.nrows() as f64;
    let mean = x.sum_axis(Axis(0)) / rows;
    let variance = (x - &mean).mapv(|d| d * d).sum_axis(Axis(0)) / rows;
    (mean, variance)
}

impl Case for BatchStatistics {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &self.x())?;
        let mut mean = Output::new(backend, "mean", self.g.channels)?;
        let mut variance = Output::new(backend, "variance", self.g.channels)?;
        backend.batch_norm_statistics(&self.g, &x, &mut mean.buffer, &mut variance.buffer)?;
        Ok(vec![mean.read(backend)?, variance.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let x = wide(&self.x());
        let (mean, variance) = mean_and_variance(&x);
        let mean_abs = x.abs().sum_axis(Axis(0)) / self.g.rows as f64;
        let roundings = roundings(self.g.rows);
        // These are the rounding of the sum, the squared error of the mean, and one rounding of each difference.
        let magnitudes = Zip::from(&variance)
            .and(&mean_abs)
            .map_collect(|v, m| v + roundings * EPSILON * m * m + 2.0 * m * v.sqrt() / roundings);
        vec![
            Expected::rounded("mean", mean, roundings, &mean_abs),
            Expected::rounded("variance", variance, roundings, &magnitudes),
        ]
    }
}

/// A kernel of batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    Forward,
    ForwardRelu {
        residual: bool,
    },
    Backward,
    /// If there is a residual, the kernel writes its gradient too.
    BackwardRelu {
        residual: bool,
    },
}

use Kernel::{Backward, BackwardRelu, Forward, ForwardRelu};

#[derive(Debug)]
pub(super) struct Normalise {
    pub(super) kernel: Kernel,
    pub(super) g: Rows,
}

pub(super) const BATCH_NORM_EPSILON: f32 = 1e-5;

/// The operands of batch norm, on the host.
pub(super) struct Operands {
    pub(super) x: Array2<f32>,
    pub(super) mean: Array1<f32>,
    pub(super) variance: Array1<f32>,
    pub(super) gamma: Array1<f32>,
    pub(super) beta: Array1<f32>,
}

impl Normalise {
    /// Forward kernels get arbitrary means and variances, as in evaluation, which uses the running ones. Backward kernels get those of
    /// the batch.
    pub(super) fn operands(&self) -> Operands {
        let c = self.g.channels;
        let x = random(1, shape(&self.g)) * 2.0 + 0.5;
        let (mean, variance) = match self.kernel {
            Forward | ForwardRelu { .. } => (random(2, c), random(3, c).mapv(|v| v.abs() + 0.1)),
            Backward | BackwardRelu { .. } => {
                let (mean, variance) = mean_and_variance(&wide(&x));
                (mean.mapv(|m| m as f32), variance.mapv(|v| v as f32))
            }
        };
        Operands { x, mean, variance, gamma: random(4, c) + 0.5, beta: random(5, c) * 0.5 }
    }

    fn residual(&self) -> Array2<f32> {
        random(6, shape(&self.g))
    }

    fn dy(&self) -> Array2<f32> {
        random(7, shape(&self.g))
    }
}

/// The formulas, in f64, and the magnitudes that enter them.
pub(super) struct Twin {
    inverse: Array1<f64>,
    x_hat: Array2<f64>,
    x_hat_magnitude: Array2<f64>,
    pub(super) y: Array2<f64>,
    pub(super) y_magnitude: Array2<f64>,
}

/// The results of backward, or the magnitudes that enter them.
pub(super) struct Gradients {
    pub(super) dx: Array2<f64>,
    pub(super) dgamma: Array1<f64>,
    pub(super) dbeta: Array1<f64>,
}

impl Operands {
    pub(super) fn twin(&self) -> Twin {
        let [mean, variance, gamma, beta] = [&self.mean, &self.variance, &self.gamma, &self.beta].map(wide);
        let inverse = variance.mapv(|v| 1.0 / (v + f64::from(BATCH_NORM_EPSILON)).sqrt());
        let x_hat = (wide(&self.x) - &mean) * &inverse;
        let x_hat_magnitude = (wide(&self.x).abs() + mean.abs()) * &inverse;
        let y = &x_hat * &gamma + &beta;
        let y_magnitude = &x_hat_magnitude * gamma.abs() + beta.abs();
        Twin { inverse, x_hat, x_hat_magnitude, y, y_magnitude }
    }

    /// dy where the rectifier's input is above 0, and 0 elsewhere.
    pub(super) fn masked(&self, dy: &Array2<f64>) -> Array2<f64> {
        Zip::from(dy).and(&self.twin().y).map_collect(|&dy, &y| if y > 0.0 { dy } else { 0.0 })
    }

    /// The gradients for `dy`, the gradient of the batch norm's output.
    pub(super) fn gradients(&self, dy: &Array2<f64>) -> Gradients {
        let (Twin { inverse, x_hat, .. }, rows) = (self.twin(), dy.nrows() as f64);
        let (dbeta, dgamma) = (dy.sum_axis(Axis(0)), (dy * &x_hat).sum_axis(Axis(0)));
        let scale = wide(&self.gamma) * &inverse;
        let dx = (dy - &dbeta / rows - &x_hat * &dgamma / rows) * &scale;
        Gradients { dx, dgamma, dbeta }
    }

    /// The magnitudes that enter [`Operands::gradients`]; `dy` holds the magnitudes of dy.
    pub(super) fn sizes(&self, dy: &Array2<f64>) -> Gradients {
        let (Twin { inverse, x_hat_magnitude, .. }, rows) = (self.twin(), dy.nrows() as f64);
        let (dbeta, dgamma) = (dy.sum_axis(Axis(0)), (dy * &x_hat_magnitude).sum_axis(Axis(0)));
        let scale = wide(&self.gamma) * &inverse;
        let dx = (dy + &dbeta / rows + x_hat_magnitude * &dgamma / rows) * scale.mapv(f64::abs);
        Gradients { dx, dgamma, dbeta }
    }
}

impl Case for Normalise {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let (g, host) = (&self.g, self.operands());
        let x = upload(backend, &host.x)?;
        let p = &BatchNormOperands {
            mean: &upload(backend, &host.mean)?,
            variance: &upload(backend, &host.variance)?,
            gamma: &upload(backend, &host.gamma)?,
            beta: &upload(backend, &host.beta)?,
            epsilon: BATCH_NORM_EPSILON,
        };
        if let Forward | ForwardRelu { .. } = self.kernel {
            let residual = upload(backend, &self.residual())?;
            let mut y = Output::new(backend, "y", g.len())?;
            match self.kernel {
                ForwardRelu { residual: true } => {
                    backend.batch_norm_relu(g, p, &x, Some(&residual), &mut y.buffer)
                }
                ForwardRelu { residual: false } => backend.batch_norm_relu(g, p, &x, None, &mut y.buffer),
                _ => backend.batch_norm(g, p, &x, &mut y.buffer),
            }?;
            return Ok(vec![y.read(backend)?]);
        }
        let dy = upload(backend, &self.dy())?;
        let mut dx = Output::new(backend, "dx", g.len())?;
        let mut dgamma = Output::new(backend, "dgamma", g.channels)?;
        let mut dbeta = Output::new(backend, "dbeta", g.channels)?;
        let (to_x, to_gamma, to_beta) = (&mut dx.buffer, &mut dgamma.buffer, &mut dbeta.buffer);
        let mut dz = Output::new(backend, "dz", g.len())?;
        let BackwardRelu { residual } = self.kernel else {
            backend.batch_norm_backward(g, p, &x, &dy, to_x, to_gamma, to_beta)?;
            return Ok(vec![dx.read(backend)?, dgamma.read(backend)?, dbeta.read(backend)?]);
        };
        let y = upload(backend, &host.twin().y.mapv(|y| y.max(0.0) as f32))?;
        let to_z = residual.then_some(&mut dz.buffer);
        backend.batch_norm_relu_backward(g, p, &x, &y, &dy, to_z, to_x, to_gamma, to_beta)?;
        let mut found = vec![dx.read(backend)?, dgamma.read(backend)?, dbeta.read(backend)?];
        if residual {
            found.push(dz.read(backend)?);
        }
        Ok(found)
    }

    fn twin(&self) -> Vec<Expected> {
        let host = self.operands();
        if let Forward | ForwardRelu { .. } = self.kernel {
            let Twin { y, y_magnitude, .. } = host.twin();
            let residual = match self.kernel {
                ForwardRelu { residual: true } => wide(&self.residual()),
                _ => Array2::zeros(shape(&self.g)),
            };
            let (z, magnitudes) = (y + &residual, y_magnitude + residual.abs());
            let y = if self.kernel == Forward { z } else { z.mapv(|z| z.max(0.0)) };
            return vec![Expected::rounded("y", y, 8.0, &magnitudes)];
        }
        let mut dy = wide(&self.dy());
        if let BackwardRelu { .. } = self.kernel {
            dy = host.masked(&dy);
        }
        let (found, sizes, roundings) = (host.gradients(&dy), host.sizes(&dy.abs()), roundings(self.g.rows));
        let mut expected = vec![
            Expected::rounded("dx", found.dx, roundings, &sizes.dx),
            Expected::rounded("dgamma", found.dgamma, roundings, &sizes.dgamma),
            Expected::rounded("dbeta", found.dbeta, roundings, &sizes.dbeta),
        ];
        if self.kernel == (BackwardRelu { residual: true }) {
            expected.push(Expected::exact("dz", dy));
        }
        expected
    }
}

fn cases(kernel: Kernel) -> Vec<Normalise> {
    geometries().into_iter().map(|g| Normalise { kernel, g }).collect()
}

fn forward_relu() -> Vec<Normalise> {
    [false, true].into_iter().flat_map(|residual| cases(ForwardRelu { residual })).collect()
}

fn backward_relu() -> Vec<Normalise> {
    [false, true].into_iter().flat_map(|residual| cases(BackwardRelu { residual })).collect()
}

/// Among the cases are means of a hundred times the standard deviation.
pub fn batch_norm_statistics_equal_their_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    let both = |g| [BatchStatistics { g, centre: 0.3 }, BatchStatistics { g, centre: 60.0 }];
    equals_twin(backend, &geometries().into_iter().flat_map(both).collect::<Vec<_>>())
}

/// The mean and the variance are arbitrary, not those of x.
pub fn batch_norm_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(Forward))
}

/// dx, dgamma and dbeta. Among the cases is a single row, whose variance is 0.
pub fn batch_norm_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases(Backward))
}

/// With and without a residual.
pub fn batch_norm_relu_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &forward_relu())
}

/// The default is batch norm, addition and ReLU.
pub fn batch_norm_relu_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &forward_relu())
}

/// dx, dgamma and dbeta.
pub fn batch_norm_relu_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &backward_relu())
}

/// The default is the backward of ReLU and of batch norm.
pub fn batch_norm_relu_backward_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &backward_relu())
}

/// A diverged step must be visible. A value that is not finite makes the mean and variance of its channel not finite, and of no other
/// channel. A NaN passes the rectifier.
pub fn batch_norm_shows_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    let sizes: Vec<Rows> = geometries().into_iter().filter(|g| g.rows > 1).collect();
    every(&sizes, |g| {
        let host = Normalise { kernel: ForwardRelu { residual: false }, g: *g }.operands();
        for value in [f32::NAN, f32::NEG_INFINITY] {
            let (row, channel) = (g.rows / 2, g.channels / 2);
            let mut x = host.x.clone();
            x[[row, channel]] = value;
            let x = upload(backend, &x)?;
            let mut mean = Output::new(backend, "mean", g.channels)?;
            let mut variance = Output::new(backend, "variance", g.channels)?;
            backend.batch_norm_statistics(g, &x, &mut mean.buffer, &mut variance.buffer)?;
            for found in [mean.read(backend)?, variance.read(backend)?] {
                if let Some(c) = (0..g.channels).find(|&c| found.values[c].is_finite() == (c == channel)) {
                    let (name, found) = (found.name, found.values[c]);
                    let message = format!("{name}[{c}] is {found}, with {value} in channel {channel}");
                    return Err(Broken::Other(message).into());
                }
            }
            let p = &BatchNormOperands {
                mean: &upload(backend, &host.mean)?,
                variance: &upload(backend, &host.variance)?,
                gamma: &upload(backend, &host.gamma)?,
                beta: &upload(backend, &host.beta)?,
                epsilon: BATCH_NORM_EPSILON,
            };
            let mut y = Output::new(backend, "y", g.len())?;
            backend.batch_norm_relu(g, p, &x, None, &mut y.buffer)?;
            let (y, place) = (y.read(backend)?.values, row * g.channels + channel);
            if let Some(i) = (0..y.len()).find(|&i| y[i].is_nan() != (i == place && value.is_nan())) {
                let message = format!("y[{i}] is {}, with {value} at {place} of x", y[i]);
                return Err(Broken::Other(message).into());
            }
        }
        Ok(())
    })
}

pub(super) fn statistics() -> impl Case {
    BatchStatistics { g: Rows { rows: 1200, channels: 13 }, centre: 0.3 }
}

pub(super) fn samples() -> impl Iterator<Item = impl Case> {
    let g = Rows { rows: 1200, channels: 13 };
    [Forward, ForwardRelu { residual: true }, Backward, BackwardRelu { residual: true }]
        .into_iter()
        .map(move |kernel| Normalise { kernel, g })
}
