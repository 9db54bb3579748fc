//! The CPU backend: multithreaded, the same bits for any number of threads.

/// The CPU as a device.
#[derive(Clone, Debug, Default)]
pub struct Cpu;
