use std::sync::Arc;

use crate::backend::BatchNormRelu;
use crate::fusion::{
    ConvInputGradient, Convolution as Lazy, ConvolutionInput, GradientRecipe, Recipe, RectifiedBatchNorm,
    Value,
};
use crate::geometry::Conv2d;
use crate::{
    Backend, BackwardRule, Gradient, LayerKind, ParameterId, Pass, Result, Shape, Tape, Tensor, Var,
};

/// The parameters and settings of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// The kernel, `[kh, kw, c_in, c_out]`.
    pub weight: ParameterId,
    /// Added to each channel, `[c_out]`.
    pub bias: Option<ParameterId>,
    /// From one window to the next, in pixels.
    pub stride: usize,
    /// Pixels of zeros on every side.
    pub padding: usize,
}

/// y = conv2d(x, weight) + bias; see [`Conv2d`].
///
/// **Shapes:** x `[n, h, w, c_in]`, y `[n, h_out, w_out, c_out]`.
/// **Errors:** shapes that do not fit.
pub fn conv2d<B: Backend>(
    tape: &mut Tape<'_, B>,
    x: &Var<B>,
    layer: &Convolution,
    site: &Arc<str>,
) -> Result<Var<B>> {
    let w = tape.parameter(layer.weight);
    let g = Conv2d::new(x.shape(), w.shape(), layer.stride, layer.padding)?;
    let backend = tape.backend();
    let is_fused = backend.fused_kernels().is_some_and(|fused| fused.fuses(&g));
    // A value with other readers has to be stored in any case.
    let unread = x.value().unread_batch_norm_relu().filter(|_| is_fused && x.has_one_reader());
    let input = match unread {
        Some(norm) => ConvolutionInput::BatchNormRelu(norm),
        None => ConvolutionInput::Tensor(x.tensor()?),
    };
    let bias = layer.bias.map(|bias| tape.parameter(bias));
    let lazy = Lazy { g, x: input, w: w.clone(), bias };
    let y = Value::lazy(Shape::new(&g.y_shape())?, Recipe::Convolution(lazy));
    let z = x.value().rectified().filter(|_| is_fused);
    let rule = Rule { g, x: x.value().clone(), z, w };
    let parameters: Vec<_> = [layer.weight].into_iter().chain(layer.bias).collect();
    let site = Some(tape.add_site(site, LayerKind::Conv)?);
    tape.record_value("conv2d", &[x], &parameters, site, y, |_| rule)
}

/// dw. A rectified batch norm that nobody has read is computed by the kernel if it can, and else for this kernel only.
fn weight_gradient<B: Backend>(g: &Conv2d, x: &Value<B>, dy: &Tensor<B>) -> Result<Tensor<B>> {
    let backend = dy.backend();
    let fused = backend.fused_kernels().filter(|fused| fused.fuses_weight_gradient(g));
    Tensor::build(backend, &g.w_shape(), |dw| match (fused, x.unread_batch_norm_relu()) {
        (Some(fused), Some(norm)) => {
            let z = BatchNormRelu { x: norm.x.buffer(), p: norm.operands(), z: None };
            fused.conv2d_backward_weight(g, &z, dy.buffer(), dw)
        }
        _ => backend.conv2d_backward_weight(g, x.transient()?.buffer(), dy.buffer(), dw),
    })
}

/// Keeps x for dw and w for dx; y is of no use.
struct Rule<B: Backend> {
    g: Conv2d,
    x: Arc<Value<B>>,
    /// The operations that have computed x, if x is a rectified batch norm whose sums the kernel can compute.
    z: Option<RectifiedBatchNorm<B>>,
    w: Tensor<B>,
}

impl<B: Backend> BackwardRule<B> for Rule<B> {
    fn backward(self: Box<Self>, dy: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self { g, x, z, w } = *self;
        let scale = dy.scale();
        let dy = dy.into_unscaled()?;
        let backend = dy.backend().clone();
        let dw = weight_gradient(&g, &x, &dy)?;
        drop(x);
        pass.parameter(0, Gradient::new(dw).scaled(scale))?;
        if pass.parameters() > 1 {
            let db =
                Tensor::build(&backend, &[g.c_out], |db| backend.sum_rows(&g.y_rows(), dy.buffer(), db))?;
            pass.parameter(1, Gradient::new(db).scaled(scale))?;
        }
        if !pass.needs(0) {
            return Ok(());
        }
        let dx = match z {
            Some(z) => {
                let recipe = GradientRecipe::ConvInput(ConvInputGradient { g, z, w, dy });
                Gradient::lazy(Shape::new(&g.x_shape())?, recipe)
            }
            None => Gradient::new(Tensor::build(&backend, &g.x_shape(), |dx| {
                backend.conv2d_backward_input(&g, w.buffer(), dy.buffer(), dx)
            })?),
        };
        pass.give(0, dx.scaled(scale))
    }
}
