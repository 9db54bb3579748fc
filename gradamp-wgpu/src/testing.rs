//! Where tests run.

use std::io::Write;

use gradamp_core::Result;

use crate::device::adapter::{Adapter, Choice, adapters};

/// The adapter for tests: that of `GRADAMP_TEST_ADAPTER` (a number or a part of its name), else the best real one, else a
/// software rasteriser. `None`, and a line on standard error that says so, on a machine without any.
///
/// **Errors:** the variable names an adapter that is not there.
pub fn adapter() -> Result<Option<Adapter>> {
    if let Ok(wanted) = std::env::var("GRADAMP_TEST_ADAPTER") {
        let Ok(choice) = wanted.parse::<Choice>();
        return choice.find(adapters()).map(Some);
    }
    let best = Choice::Best.find(adapters()).ok();
    let adapter = best.or_else(|| adapters().into_iter().find(Adapter::is_software));
    if adapter.is_none() {
        // Past the capture of a test's output: who runs the tests sees what they did not test.
        let _ = writeln!(std::io::stderr(), "SKIPPED: a test on a GPU; this machine has no graphics adapter");
    }
    Ok(adapter)
}
