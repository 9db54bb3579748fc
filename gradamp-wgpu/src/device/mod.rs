//! Graphics adapters; and for an opened adapter its memory, its copies, its compiled kernels and the order of its work.

pub(crate) mod adapter;
pub(crate) mod memory;
pub(crate) mod pipeline;
pub(crate) mod stream;
pub(crate) mod uploads;
