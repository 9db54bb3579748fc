//! Signals, on systems that have them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::{flag, low_level};

use crate::failure::{FAILED, Failure, Result};
use crate::output;

/// The signals that ask a program to save and stop. They come from a person, a supervisor, a closing terminal or a
/// scheduler.
const REQUESTS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];

/// Whether the handlers are installed.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Installs handlers for requests to stop, except for signals that were ignored when the program started.
///
/// `request` is called for each signal; its argument is whether Ctrl-C was pressed. If no thread can be started for
/// these calls, a signal sets `stop`, or ends the program if `leaves` is set.
pub(super) fn listen(request: fn(bool), stop: &Arc<AtomicBool>, leaves: &Arc<AtomicBool>) -> Result<()> {
    if LISTENING.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let heard: Vec<i32> = REQUESTS.into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let mut signals = SignalsInfo::<WithRawSiginfo>::new(&heard).map_err(Failure::failed)?;
    let answer = move || {
        for signal in &mut signals {
            request(signal.si_signo == SIGINT && comes_from_terminal(signal.si_code));
        }
    };
    if let Err(error) = thread::Builder::new().name("signals".into()).spawn(answer) {
        listen_without_thread(&heard, stop, leaves).map_err(Failure::failed)?;
        output::message(format_args!(
            "no thread can be started to answer signals ({error}): signals still stop the program, but without a message"
        ));
    }
    Ok(())
}

/// Handles requests within the signal handlers.
fn listen_without_thread(
    signals: &[i32],
    stop: &Arc<AtomicBool>,
    leaves: &Arc<AtomicBool>,
) -> io::Result<()> {
    for &signal in signals {
        flag::register_conditional_shutdown(signal, FAILED.into(), Arc::clone(leaves))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

pub(super) fn is_hangup_ignored() -> bool {
    is_ignored(SIGHUP)
}

/// Whether a signal is ignored, which the process that started the program may have chosen.
#[allow(unsafe_code)] // no safe library can read a signal's action without changing it
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: if no new action is given, `sigaction` only writes the current one, into memory of its type.
    let is_known = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } == 0;
    // SAFETY: every field is an integer, an optional pointer or a set of signals, and zeros are valid for all of
    // these.
    is_known && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Whether a signal came from the terminal, and not from another process.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn comes_from_terminal(code: i32) -> bool {
    code == libc::SI_KERNEL
}

/// On systems whose code does not show this: whether this process group, which would get Ctrl-C, is in the terminal's
/// foreground.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn comes_from_terminal(_: i32) -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// Installs a handler, so that a write beyond the limit on file sizes returns an error. By default the signal would
/// end the program. Child processes get the default action.
pub(super) fn survive_file_limits() {
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))); // if this fails, the default action stays
}

/// Ends the program without the exit handlers of libraries, whose threads may still be working.
pub(super) fn exit(code: u8) -> ! {
    low_level::exit(code.into())
}
