//! The operations. Each module chooses the kernels of its operation and their parameters.

use crate::shaders::kernel::Variant;

pub(crate) mod adamw;
pub(crate) mod batch_norm;
pub(crate) mod conv2d;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod keep_images;
pub(crate) mod loss;
pub(crate) mod mix;
pub(crate) mod pool;
pub(crate) mod row_chunks;
pub(crate) mod rows;
pub(crate) mod sgd;
pub(crate) mod statistics;
#[cfg(test)]
mod tests;

/// Every kernel of every operation.
pub(crate) fn kernels() -> Vec<Variant> {
    let fixed = [
        adamw::KERNELS,
        batch_norm::KERNELS,
        conv2d::im2col_gemm::KERNELS,
        conv2d::winograd::KERNELS,
        dropout::KERNELS,
        elementwise::KERNELS,
        gemm::KERNELS,
        im2col::KERNELS,
        keep_images::KERNELS,
        loss::KERNELS,
        mix::KERNELS,
        pool::KERNELS,
        rows::KERNELS,
        sgd::KERNELS,
        statistics::KERNELS,
    ];
    let fixed = fixed.into_iter().flatten().map(|&kernel| Variant::from(kernel));
    fixed.chain(conv2d::implicit_gemm::kernels()).collect()
}
