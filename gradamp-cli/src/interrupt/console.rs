//! Ctrl-C and the closing of the console, where the system has no signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Result};

/// Whether the handler is there.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Calls `request` for every request from now on, which is always Ctrl-C.
pub(super) fn listen(request: fn(bool), _: &Arc<AtomicBool>, _: &Arc<AtomicBool>) -> Result<()> {
    if LISTENING.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    ctrlc::set_handler(move || request(true)).map_err(Failure::failed)
}

/// Here a limit on the size of files is an error of writing already.
pub(super) fn survive_file_limits() {}

/// A console that closes ends its programs by itself.
pub(super) fn is_hangup_ignored() -> bool {
    true
}

pub(super) fn exit(code: u8) -> ! {
    std::process::exit(code.into())
}
