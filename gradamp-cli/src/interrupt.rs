//! Ctrl-C: the first one asks the run to stop after its step, a second one ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, INTERRUPTED, Result};
use crate::output;

static STOP: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C (and the system's request to terminate), and gives the flag that it raises.
pub fn listen() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        output::message("\nstopping after this step; Ctrl-C again to stop at once, without saving");
    })
    .map_err(Failure::failed)?;
    Ok(&STOP)
}
