//! Ctrl-C: the first one asks the run to stop after its step, a second one ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, INTERRUPTED, Result};
use crate::{output, tui};

static STOP: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C (and the system's request to terminate), and gives the flag that it raises.
pub fn listen() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(stop).map_err(Failure::failed)?;
    Ok(&STOP)
}

/// Listens for the same where there is nothing to save: the terminal is put in order, and the program ends.
pub fn listen_to_leave() -> Result<()> {
    ctrlc::set_handler(leave).map_err(Failure::failed)
}

/// What Ctrl-C does, also where a full-screen view reads it as a key.
pub fn stop() {
    if STOP.swap(true, Ordering::SeqCst) {
        leave();
    }
    output::message("\nstopping after this step; Ctrl-C again to stop at once, without saving");
}

/// Raises the flag.
pub fn ask_to_stop() {
    STOP.store(true, Ordering::SeqCst);
}

fn leave() {
    tui::restore();
    std::process::exit(i32::from(INTERRUPTED));
}
