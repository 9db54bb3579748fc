//! The macro for backends that decorate another one.

/// Writes methods of a backend's traits that call those of another backend, for a backend that decorates one: it counts, times, logs
/// or changes what some kernels do, and leaves the rest to the backend inside.
///
/// The decorating type has the same buffers as the backend inside, and a method `inner` that gives a reference to it. In each `impl`
/// of a trait, `forward_backend!(Trait)` forwards every method, `forward_backend!(Trait except a, b)` all but these, and
/// `forward_backend!(Trait only a, b)` these. `Device::fused_kernels` and `Device::keep_images` are not forwarded, since what they
/// return belongs to the backend inside: the decorated backend fuses nothing, and the host prepares its batches.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use gradamp_core::backend::{Device, Layers, LinearAlgebra, Memory, OptimizerKernels};
/// use gradamp_core::geometry::Gemm;
/// use gradamp_core::{Backend, Reference, Result, forward_backend};
///
/// /// Counts matrix products.
/// #[derive(Clone, Debug)]
/// struct Counting<B>(B, Arc<AtomicUsize>);
///
/// impl<B> Counting<B> {
///     fn inner(&self) -> &B { &self.0 }
/// }
///
/// impl<B: Backend> Memory for Counting<B> {
///     type Buffer = B::Buffer;
///     forward_backend!(Memory);
/// }
///
/// impl<B: Backend> LinearAlgebra for Counting<B> {
///     forward_backend!(LinearAlgebra except gemm);
///
///     fn gemm(
///         &self,
///         g: &Gemm,
///         alpha: f32,
///         a: &B::Buffer,
///         b: &B::Buffer,
///         beta: f32,
///         c: &mut B::Buffer,
///     ) -> Result<()> {
///         self.1.fetch_add(1, Ordering::Relaxed);
///         self.0.gemm(g, alpha, a, b, beta, c)
///     }
/// }
///
/// impl<B: Backend> Layers for Counting<B> {
///     forward_backend!(Layers);
/// }
/// impl<B: Backend> OptimizerKernels for Counting<B> {
///     forward_backend!(OptimizerKernels);
/// }
/// impl<B: Backend> Device for Counting<B> {
///     forward_backend!(Device);
/// }
///
/// let backend = Counting(Reference, Arc::default());
/// let (a, b) = (backend.allocate(1)?, backend.allocate(1)?);
/// backend.gemm(&Gemm { m: 1, n: 1, k: 1, ..Gemm::default() }, 1.0, &a, &b, 0.0, &mut backend.allocate(1)?)?;
/// assert_eq!(backend.1.load(Ordering::Relaxed), 1);
/// # Ok::<(), gradamp_core::Error>(())
/// ```
#[macro_export]
macro_rules! forward_backend {
    (Memory) => { $crate::forward_backend!(Memory except); };
    (Memory only $($method:ident),+ $(,)?) => { $($crate::forward_backend!(@Memory $method);)+ };
    (Memory except $($own:ident),* $(,)?) => {
        $crate::forward_backend!(@each Memory [$($own)*] name allocate write read read_all);
    };
    (LinearAlgebra) => { $crate::forward_backend!(LinearAlgebra except); };
    (LinearAlgebra only $($method:ident),+ $(,)?) => { $($crate::forward_backend!(@LinearAlgebra $method);)+ };
    (LinearAlgebra except $($own:ident),* $(,)?) => {
        $crate::forward_backend!(@each LinearAlgebra [$($own)*] gemm im2col col2im axpby add_bias sum_rows sum_squares scale_channels);
    };
    (Layers) => { $crate::forward_backend!(Layers except); };
    (Layers only $($method:ident),+ $(,)?) => { $($crate::forward_backend!(@Layers $method);)+ };
    (Layers except $($own:ident),* $(,)?) => {
        $crate::forward_backend!(@each Layers [$($own)*] relu relu_backward tanh tanh_backward sigmoid sigmoid_backward dropout batch_norm_statistics batch_norm batch_norm_backward max_pool2d max_pool2d_backward mean_pool mean_pool_backward softmax_cross_entropy soft_cross_entropy mix_images mix_labels multiply conv2d conv2d_backward_input conv2d_backward_weight batch_norm_relu batch_norm_relu_backward);
    };
    (OptimizerKernels) => { $crate::forward_backend!(OptimizerKernels except); };
    (OptimizerKernels only $($method:ident),+ $(,)?) => { $($crate::forward_backend!(@OptimizerKernels $method);)+ };
    (OptimizerKernels except $($own:ident),* $(,)?) => {
        $crate::forward_backend!(@each OptimizerKernels [$($own)*] sgd statistics sgd_all adamw adamw_all adamw_corrections step_gate add_noise);
    };
    (Device) => { $crate::forward_backend!(Device except); };
    (Device only $($method:ident),+ $(,)?) => { $($crate::forward_backend!(@Device $method);)+ };
    (Device except $($own:ident),* $(,)?) => {
        $crate::forward_backend!(@each Device [$($own)*] submit synchronize steps_ahead fresh_allocations conv2d_with_moments);
    };

    (@each $trait:ident $own:tt) => {};
    (@each $trait:ident $own:tt $method:ident $($rest:ident)*) => {
        $crate::forward_backend!(@unless $method $own $trait);
        $crate::forward_backend!(@each $trait $own $($rest)*);
    };

    // A method that is among the decorator's own is not forwarded.
    (@unless name [name $($own:ident)*] $trait:ident) => {};
    (@unless allocate [allocate $($own:ident)*] $trait:ident) => {};
    (@unless write [write $($own:ident)*] $trait:ident) => {};
    (@unless read [read $($own:ident)*] $trait:ident) => {};
    (@unless read_all [read_all $($own:ident)*] $trait:ident) => {};
    (@unless gemm [gemm $($own:ident)*] $trait:ident) => {};
    (@unless im2col [im2col $($own:ident)*] $trait:ident) => {};
    (@unless col2im [col2im $($own:ident)*] $trait:ident) => {};
    (@unless axpby [axpby $($own:ident)*] $trait:ident) => {};
    (@unless add_bias [add_bias $($own:ident)*] $trait:ident) => {};
    (@unless sum_rows [sum_rows $($own:ident)*] $trait:ident) => {};
    (@unless sum_squares [sum_squares $($own:ident)*] $trait:ident) => {};
    (@unless scale_channels [scale_channels $($own:ident)*] $trait:ident) => {};
    (@unless relu [relu $($own:ident)*] $trait:ident) => {};
    (@unless relu_backward [relu_backward $($own:ident)*] $trait:ident) => {};
    (@unless tanh [tanh $($own:ident)*] $trait:ident) => {};
    (@unless tanh_backward [tanh_backward $($own:ident)*] $trait:ident) => {};
    (@unless sigmoid [sigmoid $($own:ident)*] $trait:ident) => {};
    (@unless sigmoid_backward [sigmoid_backward $($own:ident)*] $trait:ident) => {};
    (@unless dropout [dropout $($own:ident)*] $trait:ident) => {};
    (@unless batch_norm_statistics [batch_norm_statistics $($own:ident)*] $trait:ident) => {};
    (@unless batch_norm [batch_norm $($own:ident)*] $trait:ident) => {};
    (@unless batch_norm_backward [batch_norm_backward $($own:ident)*] $trait:ident) => {};
    (@unless max_pool2d [max_pool2d $($own:ident)*] $trait:ident) => {};
    (@unless max_pool2d_backward [max_pool2d_backward $($own:ident)*] $trait:ident) => {};
    (@unless mean_pool [mean_pool $($own:ident)*] $trait:ident) => {};
    (@unless mean_pool_backward [mean_pool_backward $($own:ident)*] $trait:ident) => {};
    (@unless softmax_cross_entropy [softmax_cross_entropy $($own:ident)*] $trait:ident) => {};
    (@unless soft_cross_entropy [soft_cross_entropy $($own:ident)*] $trait:ident) => {};
    (@unless mix_images [mix_images $($own:ident)*] $trait:ident) => {};
    (@unless mix_labels [mix_labels $($own:ident)*] $trait:ident) => {};
    (@unless multiply [multiply $($own:ident)*] $trait:ident) => {};
    (@unless conv2d [conv2d $($own:ident)*] $trait:ident) => {};
    (@unless conv2d_backward_input [conv2d_backward_input $($own:ident)*] $trait:ident) => {};
    (@unless conv2d_backward_weight [conv2d_backward_weight $($own:ident)*] $trait:ident) => {};
    (@unless batch_norm_relu [batch_norm_relu $($own:ident)*] $trait:ident) => {};
    (@unless batch_norm_relu_backward [batch_norm_relu_backward $($own:ident)*] $trait:ident) => {};
    (@unless sgd [sgd $($own:ident)*] $trait:ident) => {};
    (@unless statistics [statistics $($own:ident)*] $trait:ident) => {};
    (@unless sgd_all [sgd_all $($own:ident)*] $trait:ident) => {};
    (@unless adamw [adamw $($own:ident)*] $trait:ident) => {};
    (@unless adamw_all [adamw_all $($own:ident)*] $trait:ident) => {};
    (@unless adamw_corrections [adamw_corrections $($own:ident)*] $trait:ident) => {};
    (@unless step_gate [step_gate $($own:ident)*] $trait:ident) => {};
    (@unless add_noise [add_noise $($own:ident)*] $trait:ident) => {};
    (@unless submit [submit $($own:ident)*] $trait:ident) => {};
    (@unless synchronize [synchronize $($own:ident)*] $trait:ident) => {};
    (@unless steps_ahead [steps_ahead $($own:ident)*] $trait:ident) => {};
    (@unless fresh_allocations [fresh_allocations $($own:ident)*] $trait:ident) => {};
    (@unless conv2d_with_moments [conv2d_with_moments $($own:ident)*] $trait:ident) => {};
    (@unless $method:ident [$other:ident $($own:ident)*] $trait:ident) => {
        $crate::forward_backend!(@unless $method [$($own)*] $trait);
    };
    (@unless $method:ident [] $trait:ident) => { $crate::forward_backend!(@$trait $method); };

    (@Memory name) => {
        fn name(&self) -> String {
            $crate::backend::Memory::name(self.inner())
        }
    };
    (@Memory allocate) => {
        fn allocate(&self, len: usize) -> $crate::Result<Self::Buffer> {
            $crate::backend::Memory::allocate(self.inner(), len)
        }
    };
    (@Memory write) => {
        fn write(&self, src: &[f32], dst: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Memory::write(self.inner(), src, dst)
        }
    };
    (@Memory read) => {
        fn read(&self, src: &Self::Buffer, dst: &mut [f32]) -> $crate::Result<()> {
            $crate::backend::Memory::read(self.inner(), src, dst)
        }
    };
    (@Memory read_all) => {
        fn read_all(&self, sources: &[(&Self::Buffer, usize)]) -> $crate::Result<Vec<Vec<f32>>> {
            $crate::backend::Memory::read_all(self.inner(), sources)
        }
    };
    (@LinearAlgebra gemm) => {
        fn gemm(&self, g: &$crate::geometry::Gemm, alpha: f32, a: &Self::Buffer, b: &Self::Buffer, beta: f32, c: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::gemm(self.inner(), g, alpha, a, b, beta, c)
        }
    };
    (@LinearAlgebra im2col) => {
        fn im2col(&self, g: &$crate::geometry::Conv2d, images: ::std::ops::Range<usize>, x: &Self::Buffer, columns: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::im2col(self.inner(), g, images, x, columns)
        }
    };
    (@LinearAlgebra col2im) => {
        fn col2im(&self, g: &$crate::geometry::Conv2d, images: ::std::ops::Range<usize>, columns: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::col2im(self.inner(), g, images, columns, dx)
        }
    };
    (@LinearAlgebra axpby) => {
        fn axpby(&self, len: usize, alpha: f32, x: &Self::Buffer, beta: f32, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::axpby(self.inner(), len, alpha, x, beta, y)
        }
    };
    (@LinearAlgebra add_bias) => {
        fn add_bias(&self, g: &$crate::geometry::Rows, bias: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::add_bias(self.inner(), g, bias, y)
        }
    };
    (@LinearAlgebra sum_rows) => {
        fn sum_rows(&self, g: &$crate::geometry::Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::sum_rows(self.inner(), g, x, out)
        }
    };
    (@LinearAlgebra sum_squares) => {
        fn sum_squares(&self, g: &$crate::geometry::Rows, x: &Self::Buffer, out: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::sum_squares(self.inner(), g, x, out)
        }
    };
    (@LinearAlgebra scale_channels) => {
        fn scale_channels(&self, g: &$crate::geometry::Rows, factors: &Self::Buffer, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::LinearAlgebra::scale_channels(self.inner(), g, factors, x, y)
        }
    };
    (@Layers relu) => {
        fn relu(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::relu(self.inner(), len, x, y)
        }
    };
    (@Layers relu_backward) => {
        fn relu_backward(&self, len: usize, y: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::relu_backward(self.inner(), len, y, dy, dx)
        }
    };
    (@Layers tanh) => {
        fn tanh(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::tanh(self.inner(), len, x, y)
        }
    };
    (@Layers tanh_backward) => {
        fn tanh_backward(&self, len: usize, y: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::tanh_backward(self.inner(), len, y, dy, dx)
        }
    };
    (@Layers sigmoid) => {
        fn sigmoid(&self, len: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::sigmoid(self.inner(), len, x, y)
        }
    };
    (@Layers sigmoid_backward) => {
        fn sigmoid_backward(&self, len: usize, y: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::sigmoid_backward(self.inner(), len, y, dy, dx)
        }
    };
    (@Layers dropout) => {
        fn dropout(&self, g: &$crate::geometry::Dropout, stream: $crate::random::Stream, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::dropout(self.inner(), g, stream, x, y)
        }
    };
    (@Layers batch_norm_statistics) => {
        fn batch_norm_statistics(&self, g: &$crate::geometry::Rows, x: &Self::Buffer, mean: &mut Self::Buffer, variance: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::batch_norm_statistics(self.inner(), g, x, mean, variance)
        }
    };
    (@Layers batch_norm) => {
        fn batch_norm(&self, g: &$crate::geometry::Rows, p: &$crate::backend::BatchNormOperands<'_, Self>, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::batch_norm(self.inner(), g, &p.on(), x, y)
        }
    };
    (@Layers batch_norm_backward) => {
        fn batch_norm_backward(&self, g: &$crate::geometry::Rows, p: &$crate::backend::BatchNormOperands<'_, Self>, x: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer, dgamma: &mut Self::Buffer, dbeta: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::batch_norm_backward(self.inner(), g, &p.on(), x, dy, dx, dgamma, dbeta)
        }
    };
    (@Layers max_pool2d) => {
        fn max_pool2d(&self, g: &$crate::geometry::Pool2d, x: &Self::Buffer, y: &mut Self::Buffer, index: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::max_pool2d(self.inner(), g, x, y, index)
        }
    };
    (@Layers max_pool2d_backward) => {
        fn max_pool2d_backward(&self, g: &$crate::geometry::Pool2d, index: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::max_pool2d_backward(self.inner(), g, index, dy, dx)
        }
    };
    (@Layers mean_pool) => {
        fn mean_pool(&self, g: &$crate::geometry::MeanPool, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::mean_pool(self.inner(), g, x, y)
        }
    };
    (@Layers mean_pool_backward) => {
        fn mean_pool_backward(&self, g: &$crate::geometry::MeanPool, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::mean_pool_backward(self.inner(), g, dy, dx)
        }
    };
    (@Layers softmax_cross_entropy) => {
        fn softmax_cross_entropy(&self, g: &$crate::geometry::Rows, smoothing: f32, logits: &Self::Buffer, labels: &Self::Buffer, loss: &mut Self::Buffer, correct: &mut Self::Buffer, dlogits: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::softmax_cross_entropy(self.inner(), g, smoothing, logits, labels, loss, correct, dlogits)
        }
    };
    (@Layers soft_cross_entropy) => {
        fn soft_cross_entropy(&self, g: &$crate::geometry::Rows, smoothing: f32, logits: &Self::Buffer, targets: &Self::Buffer, loss: &mut Self::Buffer, correct: &mut Self::Buffer, dlogits: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::soft_cross_entropy(self.inner(), g, smoothing, logits, targets, loss, correct, dlogits)
        }
    };
    (@Layers mix_images) => {
        fn mix_images(&self, g: &$crate::geometry::Mix, x: &Self::Buffer, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::mix_images(self.inner(), g, x, y)
        }
    };
    (@Layers mix_labels) => {
        fn mix_labels(&self, g: &$crate::geometry::Mix, classes: usize, labels: &Self::Buffer, targets: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::mix_labels(self.inner(), g, classes, labels, targets)
        }
    };
    (@Layers multiply) => {
        fn multiply(&self, len: usize, a: &Self::Buffer, b: &Self::Buffer, out: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::multiply(self.inner(), len, a, b, out)
        }
    };
    (@Layers conv2d) => {
        fn conv2d(&self, g: &$crate::geometry::Conv2d, x: &Self::Buffer, w: &Self::Buffer, bias: Option<&Self::Buffer>, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::conv2d(self.inner(), g, x, w, bias, y)
        }
    };
    (@Layers conv2d_backward_input) => {
        fn conv2d_backward_input(&self, g: &$crate::geometry::Conv2d, w: &Self::Buffer, dy: &Self::Buffer, dx: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::conv2d_backward_input(self.inner(), g, w, dy, dx)
        }
    };
    (@Layers conv2d_backward_weight) => {
        fn conv2d_backward_weight(&self, g: &$crate::geometry::Conv2d, x: &Self::Buffer, dy: &Self::Buffer, dw: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::conv2d_backward_weight(self.inner(), g, x, dy, dw)
        }
    };
    (@Layers batch_norm_relu) => {
        fn batch_norm_relu(&self, g: &$crate::geometry::Rows, p: &$crate::backend::BatchNormOperands<'_, Self>, x: &Self::Buffer, residual: Option<&Self::Buffer>, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::batch_norm_relu(self.inner(), g, &p.on(), x, residual, y)
        }
    };
    (@Layers batch_norm_relu_backward) => {
        fn batch_norm_relu_backward(&self, g: &$crate::geometry::Rows, p: &$crate::backend::BatchNormOperands<'_, Self>, x: &Self::Buffer, y: &Self::Buffer, dy: &Self::Buffer, dz: Option<&mut Self::Buffer>, dx: &mut Self::Buffer, dgamma: &mut Self::Buffer, dbeta: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Layers::batch_norm_relu_backward(self.inner(), g, &p.on(), x, y, dy, dz, dx, dgamma, dbeta)
        }
    };
    (@OptimizerKernels sgd) => {
        fn sgd(&self, slot: $crate::backend::SgdSlot<'_, Self>) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::sgd(self.inner(), slot.on())
        }
    };
    (@OptimizerKernels statistics) => {
        fn statistics(&self, len: usize, x: &Self::Buffer, offset: usize, out: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::statistics(self.inner(), len, x, offset, out)
        }
    };
    (@OptimizerKernels sgd_all) => {
        fn sgd_all(&self, slots: Vec<$crate::backend::SgdSlot<'_, Self>>) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::sgd_all(self.inner(), slots.into_iter().map(|slot| slot.on()).collect())
        }
    };
    (@OptimizerKernels adamw) => {
        fn adamw(&self, slot: $crate::backend::AdamWSlot<'_, Self>) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::adamw(self.inner(), slot.on())
        }
    };
    (@OptimizerKernels adamw_all) => {
        fn adamw_all(&self, slots: Vec<$crate::backend::AdamWSlot<'_, Self>>) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::adamw_all(self.inner(), slots.into_iter().map(|slot| slot.on()).collect())
        }
    };
    (@OptimizerKernels adamw_corrections) => {
        fn adamw_corrections(&self, step: &$crate::backend::AdamWCorrections, gate: Option<&Self::Buffer>, corrections: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::adamw_corrections(self.inner(), step, gate, corrections)
        }
    };
    (@OptimizerKernels step_gate) => {
        fn step_gate(&self, gradients: &[$crate::backend::GateInput<'_, Self>], limit: Option<f32>, skip_non_finite: bool, out: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::step_gate(self.inner(), &gradients.iter().map(|input| input.on()).collect::<Vec<_>>(), limit, skip_non_finite, out)
        }
    };
    (@OptimizerKernels add_noise) => {
        fn add_noise(&self, len: usize, stream: $crate::random::Stream, deviation: f32, y: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::OptimizerKernels::add_noise(self.inner(), len, stream, deviation, y)
        }
    };
    (@Device submit) => {
        fn submit(&self) -> $crate::Result<()> {
            $crate::backend::Device::submit(self.inner())
        }
    };
    (@Device synchronize) => {
        fn synchronize(&self) -> $crate::Result<()> {
            $crate::backend::Device::synchronize(self.inner())
        }
    };
    (@Device steps_ahead) => {
        fn steps_ahead(&self) -> usize {
            $crate::backend::Device::steps_ahead(self.inner())
        }
    };
    (@Device fresh_allocations) => {
        fn fresh_allocations(&self) -> Option<u64> {
            $crate::backend::Device::fresh_allocations(self.inner())
        }
    };
    (@Device conv2d_with_moments) => {
        fn conv2d_with_moments(&self, g: &$crate::geometry::Conv2d, x: &Self::Buffer, w: &Self::Buffer, bias: Option<&Self::Buffer>, y: &mut Self::Buffer, mean: &mut Self::Buffer, variance: &mut Self::Buffer) -> $crate::Result<()> {
            $crate::backend::Device::conv2d_with_moments(self.inner(), g, x, w, bias, y, mean, variance)
        }
    };
}
