//! z = relu(batch_norm(x)); y = conv2d(z, w) + bias, where nobody wrote z; and the gradients of one that has a residual
//!
//! A backend that does not fold is held to its own composition, which is all that [`Folding`] stands for.

use ndarray::{Array2, Array4, Zip};

use super::Violation;
use super::batch_norm::{BATCH_NORM_EPSILON, Kernel, Normalise, Operands};
use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, random, roundings, upload, wide,
};
use super::conv2d::{self, bias_of, dy, geometries, w};
use crate::backend::BatchNormOperands;
use crate::folding::{Folding, Rectified, Share};
use crate::geometry::Conv2d;
use crate::{Backend, Result};

/// What a backend that folds does otherwise.
#[derive(Debug)]
enum Pass {
    /// The convolution, perhaps with the moments of its output.
    Forward { g: Conv2d, bias: bool, moments: bool },
    /// Its input gradient, with the sums over it; with a residual in z, and a share of another reader of z to be added.
    BackwardInput { g: Conv2d, residual: bool },
    /// The batch norm's gradient, with sums that are known; the residual's too, if there is one.
    Rest { g: Conv2d, residual: bool },
}

use Pass::{BackwardInput, Forward, Rest};

/// x and the batch norm's operands, with the batch's own statistics.
fn operands(g: &Conv2d) -> Operands {
    Normalise { kernel: Kernel::Backward, g: g.x_rows() }.operands()
}

/// The gradient at z, or another reader's share of it.
fn dz(g: &Conv2d) -> Array2<f32> {
    random(8, [g.x_rows().rows, g.c_in])
}

/// The scalars of that share and of the convolution's.
const SCALES: [f32; 2] = [0.5, -1.5];

/// z with a residual, of which only the signs matter.
fn z(g: &Conv2d) -> Array2<f32> {
    random(9, [g.x_rows().rows, g.c_in])
}

/// The gradient where z is above 0, else 0.
fn masked(g: &Conv2d, residual: bool, host: &Operands, dz: &Array2<f64>) -> Array2<f64> {
    match residual {
        false => host.masked(dz),
        true => Zip::from(dz).and(&z(g)).map_collect(|&dz, &z| if z > 0.0 { dz } else { 0.0 }),
    }
}

/// Runs with z folded, or with what is done instead.
struct Run<'a, B: Backend> {
    backend: &'a B,
    g: &'a Conv2d,
    z: Rectified<'a, B>,
}

impl<B: Backend> Run<'_, B> {
    fn folding(&self) -> Option<&dyn Folding<B>> {
        self.backend.folding(self.g)
    }

    /// z, written.
    fn written(&self) -> Result<B::Buffer> {
        let (b, rows) = (self.backend, self.g.x_rows());
        let mut written = b.alloc(rows.len())?;
        match self.z.z {
            Some(z) => b.axpby(rows.len(), 1.0, z, 0.0, &mut written)?,
            None => b.batch_norm_relu(&rows, &self.z.p, self.z.x, None, &mut written)?,
        }
        Ok(written)
    }

    fn forward(
        &self,
        w: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
        moments: Option<[&mut B::Buffer; 2]>,
    ) -> Result<()> {
        match (self.folding(), moments) {
            (Some(folding), moments) => folding.conv2d(self.g, &self.z, w, bias, y, moments),
            (None, None) => self.backend.conv2d(self.g, &self.written()?, w, bias, y),
            (None, Some([mean, variance])) => {
                self.backend.conv2d_with_moments(self.g, &self.written()?, w, bias, y, mean, variance)
            }
        }
    }

    fn backward_input(
        &self,
        w: &B::Buffer,
        dy: &B::Buffer,
        others: Option<Share<'_, B>>,
        dz: &mut B::Buffer,
        [dgamma, dbeta]: [&mut B::Buffer; 2],
    ) -> Result<()> {
        if let Some(folding) = self.folding() {
            return folding.conv2d_backward_input(self.g, &self.z, w, dy, others, dz, dgamma, dbeta);
        }
        let (b, rows) = (self.backend, self.g.x_rows());
        let mut dx = b.alloc(rows.len())?;
        b.conv2d_backward_input(self.g, w, dy, dz)?;
        if let Some(Share { values, scale, own }) = others {
            b.axpby(rows.len(), scale, values, own, dz)?;
        }
        let (z, p, x) = (self.written()?, &self.z.p, self.z.x);
        b.batch_norm_relu_backward(&rows, p, x, &z, dz, None, &mut dx, dgamma, dbeta)
    }

    fn rest(
        &self,
        dgamma: &B::Buffer,
        dbeta: &B::Buffer,
        dz: &mut B::Buffer,
        dx: Option<&mut B::Buffer>,
    ) -> Result<()> {
        let (b, rows) = (self.backend, self.g.x_rows());
        if let Some(folding) = self.folding() {
            return folding.batch_norm_relu_backward(self.g, &self.z, dgamma, dbeta, dz, dx);
        }
        let [mut room, mut kept] = [b.alloc(rows.len())?, b.alloc(rows.len())?];
        let [dgamma, dbeta] = &mut [b.alloc(self.g.c_in)?, b.alloc(self.g.c_in)?];
        let (z, p, x) = (self.written()?, &self.z.p, self.z.x);
        let to = Some(&mut kept);
        match dx {
            None => {
                b.batch_norm_relu_backward(&rows, p, x, &z, dz, to, &mut room, dgamma, dbeta)?;
                b.axpby(rows.len(), 1.0, &room, 0.0, dz)
            }
            Some(dx) => {
                b.batch_norm_relu_backward(&rows, p, x, &z, dz, to, dx, dgamma, dbeta)?;
                b.axpby(rows.len(), 1.0, &kept, 0.0, dz)
            }
        }
    }
}

impl Pass {
    fn g(&self) -> &Conv2d {
        let (Forward { g, .. } | BackwardInput { g, .. } | Rest { g, .. }) = self;
        g
    }
}

impl Case for Pass {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let (g, host) = (self.g(), operands(self.g()));
        let p = BatchNormOperands {
            mean: &upload(backend, &host.mean)?,
            variance: &upload(backend, &host.variance)?,
            gamma: &upload(backend, &host.gamma)?,
            beta: &upload(backend, &host.beta)?,
            epsilon: BATCH_NORM_EPSILON,
        };
        let written = match self {
            BackwardInput { residual: true, .. } | Rest { residual: true, .. } => {
                Some(upload(backend, &z(g))?)
            }
            _ => None,
        };
        let run = Run { backend, g, z: Rectified { x: &upload(backend, &host.x)?, p, z: written.as_ref() } };
        let w = upload(backend, &w(g))?;
        match self {
            Forward { bias, moments, .. } => {
                let bias = if *bias { Some(upload(backend, &bias_of(g))?) } else { None };
                let mut y = Output::new(backend, "y", g.y_rows().len())?;
                if !moments {
                    run.forward(&w, bias.as_ref(), &mut y.buffer, None)?;
                    return Ok(vec![y.read(backend)?]);
                }
                let mut mean = Output::new(backend, "mean", g.c_out)?;
                let mut variance = Output::new(backend, "variance", g.c_out)?;
                let found = Some([&mut mean.buffer, &mut variance.buffer]);
                run.forward(&w, bias.as_ref(), &mut y.buffer, found)?;
                Ok(vec![y.read(backend)?, mean.read(backend)?, variance.read(backend)?])
            }
            BackwardInput { residual, .. } => {
                let mut dz = Output::new(backend, "dz", g.x_rows().len())?;
                let mut dgamma = Output::new(backend, "dgamma", g.c_in)?;
                let mut dbeta = Output::new(backend, "dbeta", g.c_in)?;
                let (dy, sums) = (upload(backend, &dy(g))?, [&mut dgamma.buffer, &mut dbeta.buffer]);
                let values = &upload(backend, &self::dz(g))?;
                let others = residual.then_some(Share { values, scale: SCALES[0], own: SCALES[1] });
                run.backward_input(&w, &dy, others, &mut dz.buffer, sums)?;
                Ok(vec![dz.read(backend)?, dgamma.read(backend)?, dbeta.read(backend)?])
            }
            Rest { residual, .. } => {
                let sums = host.gradients(&masked(g, *residual, &host, &wide(&dz(g))));
                let [dgamma, dbeta] =
                    [&sums.dgamma, &sums.dbeta].map(|sum| upload(backend, &sum.mapv(|v| v as f32)));
                if !residual {
                    let mut dx = Output::holding(backend, "dx", 0, &dz(g))?;
                    run.rest(&dgamma?, &dbeta?, &mut dx.buffer, None)?;
                    return Ok(vec![dx.read(backend)?]);
                }
                let mut dz = Output::holding(backend, "dz", 0, &dz(g))?;
                let mut dx = Output::new(backend, "dx", g.x_rows().len())?;
                run.rest(&dgamma?, &dbeta?, &mut dz.buffer, Some(&mut dx.buffer))?;
                Ok(vec![dx.read(backend)?, dz.read(backend)?])
            }
        }
    }

    fn twin(&self) -> Vec<Expected> {
        let (g, host) = (self.g(), operands(self.g()));
        let image = |rows: Array2<f64>| rows.into_shape_with_order(g.x_shape()).unwrap_or_default();
        match *self {
            Forward { g, bias, moments } => {
                let twin = host.twin();
                // z's own roundings are counted with the sums'.
                let (z, sizes) = (image(twin.y.mapv(|y| y.max(0.0))), image(twin.y_magnitude));
                conv2d::Pass::Forward { g, bias, moments }.expected(&z, &sizes)
            }
            BackwardInput { g, residual } => {
                let nothing = Array4::zeros(g.x_shape());
                let rows = |image: Array4<f64>| {
                    image.into_shape_with_order([g.x_rows().rows, g.c_in]).unwrap_or_default()
                };
                let [mut dz, mut sizes] =
                    conv2d::Pass::BackwardInput { g }.sums(&nothing, &nothing).map(rows);
                if residual {
                    let ([scale, own], others) = (SCALES.map(f64::from), wide(&self::dz(&g)));
                    dz = dz * own + &others * scale;
                    sizes = sizes * own.abs() + others.abs() * scale.abs();
                }
                let found = host.gradients(&masked(&g, residual, &host, &dz));
                let larger = host.sizes(&masked(&g, residual, &host, &sizes));
                let terms = roundings(g.kh * g.kw * g.c_out + 2);
                let all = terms + roundings(g.x_rows().rows);
                vec![
                    Expected::rounded("dz", dz, terms, &sizes),
                    Expected::rounded("dgamma", found.dgamma, all, &larger.dgamma),
                    Expected::rounded("dbeta", found.dbeta, all, &larger.dbeta),
                ]
            }
            Rest { residual, .. } => {
                let dz = masked(g, residual, &host, &wide(&dz(g)));
                let (found, sizes) = (host.gradients(&dz), host.sizes(&dz.abs()));
                let dx = Expected::rounded("dx", found.dx, roundings(g.x_rows().rows), &sizes.dx);
                match residual {
                    true => vec![dx, Expected::rounded("dz", dz.clone(), 1.0, &dz.abs())],
                    false => vec![dx],
                }
            }
        }
    }
}

fn cases(each: impl Fn(Conv2d) -> Vec<Pass>) -> Result<Vec<Pass>> {
    // A batch norm's sums want more than one row.
    let with_rows = geometries()?.into_iter().filter(|g| g.x_rows().rows > 1);
    Ok(with_rows.chain(planes()?).flat_map(each).collect())
}

/// Planes of two pixels, and more of the others' than a task takes.
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
fn rest() -> Result<Vec<Pass>> {
    cases(|g| [false, true].map(|residual| Rest { g, residual }).into())
}

/// y, and the mean and variance of each channel.
pub fn folded_forward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &forward()?)
}

/// As a batch norm, a rectifier and a convolution give it.
pub fn folded_forward_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &forward()?)
}

/// The gradient between the rectifier and the convolution, with the batch norm's sums over it; also where a residual and another
/// reader take part.
pub fn folded_input_gradient_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &backward_input()?)
}

/// As the backward of a convolution and of a rectified batch norm give it.
pub fn folded_input_gradient_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &backward_input()?)
}

/// dx in the place of dz, or beside what the residual gets.
pub fn folded_rest_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &rest()?)
}

/// As the backward of a rectified batch norm gives it.
pub fn folded_rest_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &rest()?)
}

pub(super) fn samples() -> Result<Vec<impl Case>> {
    let g = Conv2d::new(&[9, 12, 12, 16], &[3, 3, 16, 33], 1, 1)?;
    Ok(vec![
        Forward { g, bias: true, moments: true },
        BackwardInput { g, residual: true },
        Rest { g, residual: true },
    ])
}
