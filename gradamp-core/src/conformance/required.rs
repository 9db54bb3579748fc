//! A backend reduced to its required methods.

use std::sync::Arc;

use super::host_images::HostImages;
use crate::backend::{Device, Layers, LinearAlgebra, Memory, OptimizerKernels};
use crate::keep_images::{ImageSet, KeptImages};
use crate::{Backend, Result, forward_backend};

/// Has the required methods of a backend, and the traits' defaults of all other methods, even if the backend overrides them. It keeps
/// images as [`HostImages`].
#[derive(Clone, Debug)]
pub struct Required<B>(pub B);

impl<B> Required<B> {
    fn inner(&self) -> &B {
        &self.0
    }
}

impl<B: Backend> Memory for Required<B> {
    type Buffer = B::Buffer;

    fn name(&self) -> String {
        format!("{} (required methods only)", self.0.name())
    }
    forward_backend!(Memory only allocate, write, read);
}

impl<B: Backend> LinearAlgebra for Required<B> {
    forward_backend!(LinearAlgebra only gemm, im2col, col2im, axpby, add_bias, sum_rows);
}

impl<B: Backend> Layers for Required<B> {
    forward_backend!(Layers only relu, relu_backward, batch_norm_statistics, batch_norm, batch_norm_backward, max_pool2d,
        max_pool2d_backward, mean_pool, mean_pool_backward, softmax_cross_entropy);
}

impl<B: Backend> OptimizerKernels for Required<B> {
    forward_backend!(OptimizerKernels only sgd, statistics);
}

impl<B: Backend> Device for Required<B> {
    fn keep_images(&self, images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        Ok(Some(HostImages::keep(self, images)))
    }
}
