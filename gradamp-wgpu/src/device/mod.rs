//! The graphics adapter and what is made on it: memory, copies and the order of work.

pub(crate) mod adapter;
#[allow(unsafe_code, reason = "handles of the graphics API")]
pub(crate) mod device_memory;
pub(crate) mod faults;
pub(crate) mod memory;
pub(crate) mod stream;
pub(crate) mod uploads;
