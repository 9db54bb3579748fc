//! The adapter that tests run on.

use std::io::Write;

use gradamp_core::Result;

use crate::device::adapter::{Adapter, Choice, adapters};

/// The adapter for tests. It is the adapter that the environment variable `GRADAMP_TEST_ADAPTER` names (by its number or a part of
/// its name). Without this variable it is the best GPU, or a software rasteriser if there is no GPU. On a machine without an
/// adapter, returns `None` and prints a line to standard error.
///
/// **Errors:** no adapter matches the variable.
pub fn adapter() -> Result<Option<Adapter>> {
    if let Ok(wanted) = std::env::var("GRADAMP_TEST_ADAPTER") {
        let Ok(choice) = wanted.parse::<Choice>();
        return Ok(Some(choice.find(adapters())?));
    }
    let best = Choice::Best.find(adapters()).ok();
    let adapter = best.or_else(|| adapters().into_iter().find(Adapter::is_software));
    if adapter.is_none() {
        // `writeln!` to stderr is not captured by the test harness, so that the person who runs the tests sees the line.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a test on a GPU; this machine has no graphics adapter");
    }
    Ok(adapter)
}

/// The adapter for tests, opened twice: with its default kernels, and with the kernels that are made for GPUs. Empty on a machine
/// without an adapter.
#[cfg(test)]
pub(crate) fn gpus() -> Vec<crate::Wgpu> {
    let Some(adapter) = adapter().unwrap() else { return Vec::new() };
    let open = |tiled| {
        let options = crate::Options { checked: true, tiled, ..crate::Options::default() };
        crate::Wgpu::open(&adapter, &options).unwrap()
    };
    vec![open(false), open(true)]
}
