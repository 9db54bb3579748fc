//! The device of a run: the one place where the program chooses a backend.

use gradamp_core::Cpu;

use crate::config::Device;
use crate::failure::{Failure, Result};

/// The CPU with `threads` threads, 0 for one per core.
///
/// **Errors:** threads that the system refuses.
pub fn open(device: Device, threads: usize) -> Result<Cpu> {
    let threads = if threads == 0 { cores() } else { threads };
    match device {
        Device::Auto | Device::Cpu => Cpu::with_threads(threads).map_err(Failure::from),
    }
}

/// How many threads the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
