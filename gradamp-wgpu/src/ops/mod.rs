//! The operations: which kernels compute each of them, and with what numbers.

pub(crate) mod batch_norm;
pub(crate) mod conv2d;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod keep_images;
pub(crate) mod loss;
pub(crate) mod pool;
pub(crate) mod row_chunks;
pub(crate) mod rows;
pub(crate) mod sgd;
pub(crate) mod statistics;
