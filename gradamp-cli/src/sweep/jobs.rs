//! How many runs a sweep trains at the same time, unless the command line says so.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::device::{self, Chosen};
use gradamp_study::config::Device;
use gradamp_study::sweep::{Expansion, Measure};

/// The memory that must be free for each run, in bytes: a ResNet-34 of width 64 with batches of 128 takes 1.6 GB.
const PER_RUN: u64 = 2 << 30;

/// The number of runs to train at the same time: several runs with one thread each finish sooner than one run after the other with
/// all threads, since small networks leave threads waiting. One at a time if a run is on a GPU, and if a contrast of the study
/// measures seconds: runs that share the cores take longer than each would alone.
///
/// `runs` is the number of runs to train, and `device` that of the command line.
pub fn default_jobs(expansion: &Expansion, runs: usize, device: Option<&Device>) -> usize {
    let seconds = expansion.plan.contrasts.iter().any(|contrast| contrast.measure == Measure::Seconds);
    let mut devices: Vec<&Device> =
        expansion.settings.iter().map(|settings| device.unwrap_or(&settings.config.train.device)).collect();
    devices.dedup();
    let on_cpu = devices.into_iter().all(|device| matches!(device::choose(device), Ok(Chosen::Cpu)));
    if seconds || !on_cpu {
        return 1;
    }
    let threads = expansion.settings.iter().map(|settings| settings.config.train.threads).max();
    most(device::cores(), threads.unwrap_or(0), free_memory(), runs)
}

/// As many runs as the cores hold, by `threads` each (0 for one), as there is free memory for, and as there are.
fn most(cores: usize, threads: usize, memory: u64, runs: usize) -> usize {
    let by_memory = usize::try_from(memory / PER_RUN).unwrap_or(usize::MAX);
    (cores / threads.max(1)).min(by_memory).min(runs).max(1)
}

/// The memory that processes can still take, in bytes. In a container it is the container's.
fn free_memory() -> u64 {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    system.cgroup_limits().map_or(system.available_memory(), |limits| limits.free_memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_memory_and_runs_limit_the_jobs() {
        const GIB: u64 = 1 << 30;
        assert_eq!(most(8, 0, 64 * GIB, 100), 8);
        assert_eq!(most(8, 3, 64 * GIB, 100), 2);
        assert_eq!(most(8, 0, 5 * GIB, 100), 2);
        assert_eq!(most(8, 0, 64 * GIB, 3), 3);
        assert_eq!(most(8, 16, GIB, 0), 1);
    }

    #[test]
    fn this_machine_has_free_memory() {
        assert!(free_memory() > 64 << 20, "{}", free_memory());
    }
}
