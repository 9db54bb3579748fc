//! The laws of [`FusedKernels`](crate::backend::FusedKernels): z = relu(batch_norm(x)) and y = conv2d(z, w) + bias in one
//! kernel, and the gradients, with and without a residual in z.
//!
//! For a backend without fused kernels, the laws check the separate kernels that take their place.

mod run;

use ndarray::{Array2, Array4, Zip};

use super::Violation;
use super::batch_norm::{BATCH_NORM_EPSILON, Kernel, Normalise, Operands};
use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, random, roundings, upload, wide,
};
use super::conv2d::{self, bias_of, dy, geometries, w};
use super::pool::{self, MaxPoolBackward};
use super::rows::shape;
use crate::backend::BatchNormOperands;
use crate::backend::{BatchNormRelu, GradientShare};
use crate::geometry::{Conv2d, Pool2d, Rows};
use crate::{Backend, Result};
use run::{Outputs, Run};

/// A call of a fused kernel.
#[derive(Debug)]
enum Pass {
    /// The convolution, with or without the moments of its output.
    Forward { g: Conv2d, bias: bool, moments: bool },
    /// The convolution's input gradient, and the batch norm's two sums over it. With a residual, z is a sum, and the share of another
    /// reader of z is added.
    BackwardInput { g: Conv2d, residual: bool },
    /// The convolution's weight gradient.
    WeightGradient { g: Conv2d },
    /// A max-pool's input gradient, and the batch norm's two sums over it.
    Pool { g: Pool2d },
    /// The rest of the batch norm's gradient, once its sums are known; and the residual's gradient, if there is one.
    Rest { g: Rows, residual: bool },
}

use Pass::{BackwardInput, Forward, Pool, Rest, WeightGradient};

/// x and the batch norm's operands, with the mean and variance of x.
fn operands(g: &Rows) -> Operands {
    Normalise { kernel: Kernel::Backward, g: *g }.operands()
}

/// The gradient of z, or the share of another reader.
fn dz(g: &Rows) -> Array2<f32> {
    random(8, shape(g))
}

/// The scalar of the other reader's share, and the scalar of the convolution's share.
const SCALES: [f32; 2] = [0.5, -1.5];

/// z for cases with a residual. The kernels use only the signs of z.
fn z(g: &Rows) -> Array2<f32> {
    random(9, shape(g))
}

/// The gradient where z is above 0, and 0 elsewhere.
fn masked(g: &Rows, residual: bool, host: &Operands, dz: &Array2<f64>) -> Array2<f64> {
    match residual {
        false => host.masked(dz),
        true => Zip::from(dz).and(&z(g)).map_collect(|&dz, &z| if z > 0.0 { dz } else { 0.0 }),
    }
}

impl Pass {
    /// The rows of z.
    fn rows(&self) -> Rows {
        match self {
            Forward { g, .. } | BackwardInput { g, .. } | WeightGradient { g } => g.x_rows(),
            Pool { g } => g.x_rows(),
            Rest { g, .. } => *g,
        }
    }

    fn residual(&self) -> bool {
        matches!(self, BackwardInput { residual: true, .. } | Rest { residual: true, .. })
    }
}

impl Case for Pass {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let rows = self.rows();
        let host = operands(&rows);
        let p = BatchNormOperands {
            mean: &upload(backend, &host.mean)?,
            variance: &upload(backend, &host.variance)?,
            gamma: &upload(backend, &host.gamma)?,
            beta: &upload(backend, &host.beta)?,
            epsilon: BATCH_NORM_EPSILON,
        };
        let written = if self.residual() { Some(upload(backend, &z(&rows))?) } else { None };
        let run =
            Run { backend, rows, z: BatchNormRelu { x: &upload(backend, &host.x)?, p, z: written.as_ref() } };
        match self {
            Forward { g, bias, moments } => {
                let w = upload(backend, &w(g))?;
                let bias = if *bias { Some(upload(backend, &bias_of(g))?) } else { None };
                let mut y = Output::new(backend, "y", g.y_rows().len())?;
                if !moments {
                    run.forward(g, &w, bias.as_ref(), &mut y.buffer, None)?;
                    return Ok(vec![y.read(backend)?]);
                }
                let mut mean = Output::new(backend, "mean", g.c_out)?;
                let mut variance = Output::new(backend, "variance", g.c_out)?;
                let found = Some([&mut mean.buffer, &mut variance.buffer]);
                run.forward(g, &w, bias.as_ref(), &mut y.buffer, found)?;
                Ok(vec![y.read(backend)?, mean.read(backend)?, variance.read(backend)?])
            }
            BackwardInput { g, residual } => {
                let (w, dy) = (upload(backend, &w(g))?, upload(backend, &dy(g))?);
                let values = &upload(backend, &dz(&rows))?;
                let others = residual.then_some(GradientShare { values, scale: SCALES[0], own: SCALES[1] });
                let mut outputs = Outputs::new(backend, &rows)?;
                run.backward_input(g, &w, &dy, others, outputs.buffers())?;
                outputs.read(backend)
            }
            WeightGradient { g } => {
                let dy = upload(backend, &dy(g))?;
                let mut dw = Output::new(backend, "dw", g.w_shape().iter().product())?;
                run.backward_weight(g, &dy, &mut dw.buffer)?;
                Ok(vec![dw.read(backend)?])
            }
            Pool { g } => {
                let [index, dy] = MaxPoolBackward { g: *g }.operands().map(|values| upload(backend, &values));
                let mut outputs = Outputs::new(backend, &rows)?;
                run.pool(g, &index?, &dy?, outputs.buffers())?;
                outputs.read(backend)
            }
            Rest { residual, .. } => {
                let sums = host.gradients(&masked(&rows, *residual, &host, &wide(&dz(&rows))));
                let [dgamma, dbeta] =
                    [&sums.dgamma, &sums.dbeta].map(|sum| upload(backend, &sum.mapv(|v| v as f32)));
                if !residual {
                    let mut dx = Output::holding(backend, "dx", 0, &dz(&rows))?;
                    run.rest(&dgamma?, &dbeta?, &mut dx.buffer, None)?;
                    return Ok(vec![dx.read(backend)?]);
                }
                let mut dz = Output::holding(backend, "dz", 0, &dz(&rows))?;
                let mut dx = Output::new(backend, "dx", rows.len())?;
                run.rest(&dgamma?, &dbeta?, &mut dz.buffer, Some(&mut dx.buffer))?;
                Ok(vec![dx.read(backend)?, dz.read(backend)?])
            }
        }
    }

    fn twin(&self) -> Vec<Expected> {
        let g = self.rows();
        let host = operands(&g);
        let rows = |image: Array4<f64>| image.into_shape_with_order(shape(&g)).unwrap_or_default();
        // dz is a sum of `terms` terms, whose magnitudes are `sizes`.
        let with_sums = |dz: Array2<f64>, sizes: Array2<f64>, terms| {
            let found = host.gradients(&masked(&g, self.residual(), &host, &dz));
            let larger = host.sizes(&masked(&g, self.residual(), &host, &sizes));
            let all = roundings(terms) + roundings(g.rows);
            vec![
                Expected::rounded("dz", dz, roundings(terms), &sizes),
                Expected::rounded("dgamma", found.dgamma, all, &larger.dgamma),
                Expected::rounded("dbeta", found.dbeta, all, &larger.dbeta),
            ]
        };
        // The roundings of z are counted among those of the sums.
        let reads_z = |g: &Conv2d, pass: conv2d::Pass| {
            let image = |rows: Array2<f64>| rows.into_shape_with_order(g.x_shape()).unwrap_or_default();
            let twin = host.twin();
            pass.expected(&image(twin.y.mapv(|y| y.max(0.0))), &image(twin.y_magnitude))
        };
        match *self {
            Forward { g, bias, moments } => reads_z(&g, conv2d::Pass::Forward { g, bias, moments }),
            WeightGradient { g } => reads_z(&g, conv2d::Pass::BackwardWeight { g }),
            BackwardInput { g, residual } => {
                let nothing = Array4::zeros(g.x_shape());
                let [mut dz, mut sizes] =
                    conv2d::Pass::BackwardInput { g }.sums(&nothing, &nothing).map(rows);
                if residual {
                    let ([scale, own], others) = (SCALES.map(f64::from), wide(&self::dz(&g.x_rows())));
                    dz = dz * own + &others * scale;
                    sizes = sizes * own.abs() + others.abs() * scale.abs();
                }
                with_sums(dz, sizes, g.kh * g.kw * g.c_out + 2)
            }
            Pool { g } => {
                let [dz, sizes] = MaxPoolBackward { g }.sums().map(rows);
                with_sums(dz, sizes, g.size * g.size)
            }
            Rest { residual, .. } => {
                let dz = masked(&g, residual, &host, &wide(&dz(&g)));
                let (found, sizes) = (host.gradients(&dz), host.sizes(&dz.abs()));
                let dx = Expected::rounded("dx", found.dx, roundings(g.rows), &sizes.dx);
                if residual { vec![dx, Expected::exact("dz", dz)] } else { vec![dx] }
            }
        }
    }
}

fn cases(each: impl Fn(Conv2d) -> Vec<Pass>) -> Result<Vec<Pass>> {
    // The variance of a single row is 0.
    let with_rows = geometries()?.into_iter().filter(|g| g.x_rows().rows > 1);
    Ok(with_rows.chain(planes()?).flat_map(each).collect())
}

/// Images of two by two pixels, and images with more pixels than one task computes.
fn planes() -> Result<Vec<Conv2d>> {
    [([40, 2, 2, 20], [3, 3, 20, 7]), ([2, 32, 32, 24], [3, 3, 24, 16])]
        .into_iter()
        .map(|(x, w)| Conv2d::new(&x, &w, 1, 1))
        .collect()
}

fn forward() -> Result<Vec<Pass>> {
    cases(|g| [(false, false), (true, true)].map(|(bias, moments)| Forward { g, bias, moments }).into())
}
fn backward_input() -> Result<Vec<Pass>> {
    cases(|g| [false, true].map(|residual| BackwardInput { g, residual }).into())
}
fn weight_gradient() -> Result<Vec<Pass>> {
    cases(|g| vec![WeightGradient { g }])
}
fn pools() -> Result<Vec<Pass>> {
    let with_rows = pool::geometries()?.into_iter().filter(|g| g.x_rows().rows > 1);
    Ok(with_rows.map(|g| Pool { g }).collect())
}
fn rest() -> Result<Vec<Pass>> {
    cases(|g| [false, true].map(|residual| Rest { g: g.x_rows(), residual }).into())
}

/// y, and the mean and variance of each channel.
pub fn fused_forward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &forward()?)
}

/// The default is a batch norm, a rectifier and a convolution.
pub fn fused_forward_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &forward()?)
}

/// The gradient between the rectifier and the convolution, and the batch norm's sums over it; with and without a residual and another
/// reader of z.
pub fn fused_input_gradient_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &backward_input()?)
}

/// The default is the backward of a convolution and of a rectified batch norm.
pub fn fused_input_gradient_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &backward_input()?)
}

/// The weight gradient of a convolution that reads relu(batch_norm(x)).
pub fn fused_weight_gradient_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &weight_gradient()?)
}

/// The default is a batch norm, a rectifier and a weight gradient.
pub fn fused_weight_gradient_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &weight_gradient()?)
}

/// The gradient between the rectifier and a max-pool, and the batch norm's sums over it.
pub fn fused_pool_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &pools()?)
}

/// The default is the backward of a max-pool and of a rectified batch norm.
pub fn fused_pool_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &pools()?)
}

/// dx, which takes the place of dz without a residual, and has its own buffer with one.
pub fn fused_rest_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &rest()?)
}

/// The default is the backward of a rectified batch norm.
pub fn fused_rest_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &rest()?)
}

pub(super) fn samples() -> Result<Vec<impl Case>> {
    let g = Conv2d::new(&[9, 12, 12, 16], &[3, 3, 16, 33], 1, 1)?;
    Ok(vec![
        Forward { g, bias: true, moments: true },
        BackwardInput { g, residual: true },
        WeightGradient { g },
        Pool { g: Pool2d::new(&g.x_shape(), 2, 2)? },
        Rest { g: g.x_rows(), residual: true },
    ])
}
