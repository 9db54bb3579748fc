//! The graphics adapters, and what an opened one works with: memory, copies, compiled kernels and the order of work.

pub(crate) mod adapter;
pub(crate) mod memory;
pub(crate) mod pipeline;
pub(crate) mod stream;
pub(crate) mod uploads;
