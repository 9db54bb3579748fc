//! An operation of a training step: its name, its least cost, and a call that can be timed.

use std::fmt;

use gradamp_core::Result;
use gradamp_core::backend::{Backend, SgdSlot, SgdStep};
use gradamp_core::geometry::{Conv2d, Gemm, MeanPool, Pool2d, Rows};
use gradamp_core::random::{Purpose, Stream};
use gradamp_wgpu::ConvOp;

use super::fused::FusedCall;
use super::operands::{Call, Channels, of_convolution, of_pool, of_rows};

/// A call of a backend's method, with everything that its duration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An operation of a convolution.
    Convolution {
        /// Whether it is the forward pass, the input gradient or the weight gradient.
        op: ConvOp,
        /// The shapes.
        g: Conv2d,
        /// Whether it adds a bias.
        bias: bool,
        /// Whether the mean and variance of the output are computed, too.
        moments: bool,
    },
    /// A fused operation, which includes the batch norm and the rectifier before it.
    Fused(FusedCall),
    /// A matrix product, as in a linear layer.
    Product(Gemm),
    /// A bias for each channel.
    AddBias(Rows),
    /// The gradient of a bias.
    SumRows(Rows),
    /// alpha · x, plus beta · y if `adds` is set.
    Axpby {
        /// The number of elements.
        len: usize,
        /// Whether the old value of y is added.
        adds: bool,
    },
    /// A rectifier that is not fused.
    Relu(usize),
    /// The gradient of a rectifier that is not fused.
    ReluBackward(usize),
    /// The mean and variance of each channel.
    BatchNormStatistics(Rows),
    /// A batch norm that is not fused.
    BatchNorm(Rows),
    /// A batch norm with a rectifier, and perhaps a sum between them.
    BatchNormRelu {
        /// The shape.
        g: Rows,
        /// Whether a residual is added.
        residual: bool,
    },
    /// The gradient of a batch norm, and perhaps of the rectifier after it.
    BatchNormBackward {
        /// The shape.
        g: Rows,
        /// Whether there is a rectifier.
        relu: bool,
        /// Whether the gradient of the residual is computed, too.
        residual: bool,
    },
    /// A max pool.
    MaxPool(Pool2d),
    /// The gradient of a max pool.
    MaxPoolBackward(Pool2d),
    /// The mean of each image and channel.
    MeanPool(MeanPool),
    /// The gradient of this mean.
    MeanPoolBackward(MeanPool),
    /// The softmax cross-entropy, with its gradient.
    Loss(Rows),
    /// An SGD step of parameters with these numbers of elements.
    Sgd(Vec<usize>),
}

/// The length, a prime, after which the values of a buffer repeat. Generating every value would take longer than some
/// operations.
const PATTERN: usize = 4099;

impl Operation {
    /// The name of the kind of operation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Convolution { op: ConvOp::Forward, moments: false, .. } => "convolution",
            Self::Convolution { op: ConvOp::Forward, moments: true, .. } => "convolution + statistics",
            Self::Convolution { op: ConvOp::InputGradient, .. } => "convolution, input gradient",
            Self::Convolution { op: ConvOp::WeightGradient, .. } => "convolution, weight gradient",
            Self::Fused(call) => call.name(),
            Self::Product(_) => "matrix product",
            Self::AddBias(_) => "bias",
            Self::SumRows(_) => "sum of rows",
            Self::Axpby { adds: true, .. } => "sum of two",
            Self::Axpby { adds: false, .. } => "copy",
            Self::Relu(_) => "ReLU",
            Self::ReluBackward(_) => "ReLU, gradient",
            Self::BatchNormStatistics(_) => "batch norm, statistics",
            Self::BatchNorm(_) => "batch norm",
            Self::BatchNormRelu { residual: false, .. } => "batch norm + ReLU",
            Self::BatchNormRelu { residual: true, .. } => "batch norm + sum + ReLU",
            Self::BatchNormBackward { relu: false, .. } => "batch norm, gradient",
            Self::BatchNormBackward { residual: true, .. } => "batch norm + sum + ReLU, gradient",
            Self::BatchNormBackward { relu: true, .. } => "batch norm + ReLU, gradient",
            Self::MaxPool(_) => "max pool",
            Self::MaxPoolBackward(_) => "max pool, gradient",
            Self::MeanPool(_) => "mean pool",
            Self::MeanPoolBackward(_) => "mean pool, gradient",
            Self::Loss(_) => "loss with gradient",
            Self::Sgd(_) => "SGD",
        }
    }

    /// The number of multiplications and additions of a product by its formula, whatever the algorithm; 0 for other
    /// operations.
    pub fn flops(&self) -> f64 {
        match self {
            Self::Convolution { g, .. } => 2.0 * g.multiplications() as f64,
            Self::Fused(call) => call.flops(),
            Self::Product(g) => 2.0 * (g.m * g.n * g.k) as f64,
            _ => 0.0,
        }
    }

    /// The least number of bytes that must cross the memory bus: every operand counts once, or twice if it is both
    /// read and written. Values per channel are not counted.
    pub fn bytes(&self) -> f64 {
        let volume = |shape: [usize; 4]| shape.iter().product::<usize>();
        let elements = match self {
            Self::Convolution { g, .. } => volume(g.x_shape()) + volume(g.w_shape()) + volume(g.y_shape()),
            Self::Fused(call) => call.elements(),
            Self::Product(g) => g.m * g.k + g.k * g.n + g.m * g.n,
            Self::AddBias(g) => 2 * g.len(),
            Self::SumRows(g) | Self::BatchNormStatistics(g) => g.len(),
            Self::Axpby { len, adds } => (2 + usize::from(*adds)) * len,
            Self::Relu(len) => 2 * len,
            Self::ReluBackward(len) => 3 * len,
            Self::BatchNorm(g) | Self::BatchNormRelu { g, residual: false } => 2 * g.len(),
            Self::BatchNormRelu { g, residual: true } => 3 * g.len(),
            Self::BatchNormBackward { g, relu, residual } => {
                (3 + usize::from(*relu) + usize::from(*residual)) * g.len()
            }
            Self::MaxPool(g) | Self::MaxPoolBackward(g) => volume(g.x_shape()) + 2 * volume(g.y_shape()),
            Self::MeanPool(g) | Self::MeanPoolBackward(g) => g.n * (g.pixels + 1) * g.c,
            Self::Loss(g) => 2 * g.len(),
            Self::Sgd(lens) => 5 * lens.iter().sum::<usize>(),
        };
        4.0 * elements as f64
    }

    /// Prepares a call of the operation on `backend`, with buffers that hold values like those in training.
    ///
    /// **Errors:** out of memory.
    pub fn call<B: Backend>(&self, backend: &B) -> Result<Call> {
        let b = backend.clone();
        let buffer = |len: usize, value: &dyn Fn(u64) -> f32| -> Result<B::Buffer> {
            let mut buffer = backend.allocate(len)?;
            let some: Vec<f32> = (0..len.min(PATTERN) as u64).map(value).collect();
            let values: Vec<f32> = some.into_iter().cycle().take(len).collect();
            backend.write(&values, &mut buffer)?;
            Ok(buffer)
        };
        let stream = Stream::new(0, Purpose::Test);
        let values = |len: usize| buffer(len, &|i| stream.uniform(i) - 0.5);
        let image = |shape: [usize; 4]| values(shape.iter().product());
        Ok(match *self {
            Self::Fused(call) => call.call(b, &values)?,
            Self::Convolution { op, g, bias, moments } => {
                let (mut x, mut w, mut y) = (image(g.x_shape())?, image(g.w_shape())?, image(g.y_shape())?);
                let bias = if bias { Some(values(g.c_out)?) } else { None };
                match op {
                    ConvOp::Forward if moments => {
                        let [mut mean, mut variance] = [values(g.c_out)?, values(g.c_out)?];
                        Box::new(move || {
                            let found = (&mut mean, &mut variance);
                            b.conv2d_with_moments(&g, &x, &w, bias.as_ref(), &mut y, found.0, found.1)
                        })
                    }
                    ConvOp::Forward => Box::new(move || b.conv2d(&g, &x, &w, bias.as_ref(), &mut y)),
                    ConvOp::InputGradient => Box::new(move || b.conv2d_backward_input(&g, &w, &y, &mut x)),
                    ConvOp::WeightGradient => Box::new(move || b.conv2d_backward_weight(&g, &x, &y, &mut w)),
                }
            }
            Self::Product(g) => {
                let (x, w, mut y) = (
                    values(g.a_offset + g.m * g.k)?,
                    values(g.b_offset + g.k * g.n)?,
                    values(g.c_offset + g.m * g.n)?,
                );
                Box::new(move || b.gemm(&g, 1.0, &x, &w, 0.0, &mut y))
            }
            Self::AddBias(g) => {
                let (bias, mut y) = (values(g.channels)?, values(g.len())?);
                Box::new(move || b.add_bias(&g, &bias, &mut y))
            }
            Self::SumRows(g) => {
                let (x, mut out) = (values(g.len())?, values(g.channels)?);
                Box::new(move || b.sum_rows(&g, &x, &mut out))
            }
            Self::Axpby { len, adds } => {
                let (x, mut y) = (values(len)?, values(len)?);
                let beta = if adds { 0.9 } else { 0.0 };
                Box::new(move || b.axpby(len, 1.0, &x, beta, &mut y))
            }
            Self::Relu(len) => {
                let (x, mut y) = (values(len)?, values(len)?);
                Box::new(move || b.relu(len, &x, &mut y))
            }
            Self::ReluBackward(len) => {
                let (y, dy, mut dx) = (values(len)?, values(len)?, values(len)?);
                Box::new(move || b.relu_backward(len, &y, &dy, &mut dx))
            }
            Self::BatchNormStatistics(g) => {
                let (x, mut mean, mut variance) =
                    (values(g.len())?, values(g.channels)?, values(g.channels)?);
                Box::new(move || b.batch_norm_statistics(&g, &x, &mut mean, &mut variance))
            }
            Self::BatchNorm(g) => {
                let (p, x, mut y) = (Channels::new(&values, g)?, values(g.len())?, values(g.len())?);
                Box::new(move || b.batch_norm(&g, &p.operands(), &x, &mut y))
            }
            Self::BatchNormRelu { g, residual } => {
                let (p, x, mut y) = (Channels::new(&values, g)?, values(g.len())?, values(g.len())?);
                let residual = if residual { Some(values(g.len())?) } else { None };
                Box::new(move || b.batch_norm_relu(&g, &p.operands(), &x, residual.as_ref(), &mut y))
            }
            Self::BatchNormBackward { g, relu, residual } => {
                let (p, x, y, dy) =
                    (Channels::new(&values, g)?, values(g.len())?, values(g.len())?, values(g.len())?);
                let (mut dx, mut dgamma, mut dbeta) =
                    (values(g.len())?, values(g.channels)?, values(g.channels)?);
                let mut dz = if residual { Some(values(g.len())?) } else { None };
                match relu {
                    true => Box::new(move || {
                        let (p, dz, dx) = (p.operands(), dz.as_mut(), &mut dx);
                        b.batch_norm_relu_backward(&g, &p, &x, &y, &dy, dz, dx, &mut dgamma, &mut dbeta)
                    }),
                    false => Box::new(move || {
                        b.batch_norm_backward(&g, &p.operands(), &x, &dy, &mut dx, &mut dgamma, &mut dbeta)
                    }),
                }
            }
            Self::MaxPool(g) => {
                let (x, mut y, mut index) = (image(g.x_shape())?, image(g.y_shape())?, image(g.y_shape())?);
                Box::new(move || b.max_pool2d(&g, &x, &mut y, &mut index))
            }
            Self::MaxPoolBackward(g) => {
                let places = g.size * g.size;
                let index = buffer(g.y_shape().iter().product(), &|i| stream.below(i, places) as f32)?;
                let (dy, mut dx) = (image(g.y_shape())?, image(g.x_shape())?);
                Box::new(move || b.max_pool2d_backward(&g, &index, &dy, &mut dx))
            }
            Self::MeanPool(g) => {
                let (x, mut y) = (values(g.n * g.pixels * g.c)?, values(g.n * g.c)?);
                Box::new(move || b.mean_pool(&g, &x, &mut y))
            }
            Self::MeanPoolBackward(g) => {
                let (dy, mut dx) = (values(g.n * g.c)?, values(g.n * g.pixels * g.c)?);
                Box::new(move || b.mean_pool_backward(&g, &dy, &mut dx))
            }
            Self::Loss(g) => {
                let labels = buffer(g.rows, &|i| stream.below(i, g.channels) as f32)?;
                let (logits, mut dlogits) = (values(g.len())?, values(g.len())?);
                let (mut loss, mut correct) = (values(1)?, values(1)?);
                Box::new(move || {
                    b.softmax_cross_entropy(&g, 0.0, &logits, &labels, &mut loss, &mut correct, &mut dlogits)
                })
            }
            Self::Sgd(ref lens) => {
                let each = |&len: &usize| Ok((len, [values(len)?, values(len)?, values(len)?]));
                let mut parameters = lens.iter().map(each).collect::<Result<Vec<_>>>()?;
                Box::new(move || b.sgd_all(parameters.iter_mut().map(slot).collect()))
            }
        })
    }
}

/// The SGD step of one parameter. The learning rate is so small that the values do not grow over many calls.
fn slot<B: Backend>((len, buffers): &mut (usize, [B::Buffer; 3])) -> SgdSlot<'_, B> {
    let [gradient, velocity, parameter] = buffers;
    let step = SgdStep {
        lr: 1e-6,
        momentum: 0.9,
        weight_decay: 5e-4,
        nesterov: false,
        gradient_scale: 1.0,
        clip_value: f32::INFINITY,
    };
    SgdSlot { step, len: *len, gradient, gate: None, velocity: Some(velocity), parameter }
}

impl fmt::Display for Operation {
    /// Writes the shape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fused(call) => call.fmt(f),
            Self::Convolution { g, .. } => f.write_str(&of_convolution(g)),
            Self::Product(g) => {
                let Gemm { m, n, k, .. } = g;
                let turned = |turned| if turned { "ᵀ" } else { "" };
                write!(f, "[{m}, {k}]{} · [{k}, {n}]{}", turned(g.transpose_a), turned(g.transpose_b))
            }
            Self::AddBias(g)
            | Self::SumRows(g)
            | Self::BatchNormStatistics(g)
            | Self::BatchNorm(g)
            | Self::BatchNormRelu { g, .. }
            | Self::BatchNormBackward { g, .. }
            | Self::Loss(g) => f.write_str(&of_rows(g)),
            Self::Axpby { len, .. } | Self::Relu(len) | Self::ReluBackward(len) => write!(f, "[{len}]"),
            Self::MaxPool(g) | Self::MaxPoolBackward(g) => f.write_str(&of_pool(g)),
            Self::MeanPool(g) | Self::MeanPoolBackward(g) => write!(f, "[{}, {}, {}]", g.n, g.pixels, g.c),
            Self::Sgd(lens) => write!(f, "{} parameters, [{}]", lens.len(), lens.iter().sum::<usize>()),
        }
    }
}
