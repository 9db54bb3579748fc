//! Requests to stop: Ctrl-C, and signals from shells, schedulers and supervisors.
//!
//! SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask a run or a sweep to save and stop. The first signal counts. Further
//! signals change nothing, even if they are sent to a whole group of processes. Only a second Ctrl-C at the terminal
//! ends the program at once, without saving and with exit code 1. A signal that is ignored when the program starts,
//! as under `nohup` or after `trap '' INT`, stays ignored.

#[cfg(unix)]
mod signals;

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use crate::failure::{FAILED, INTERRUPTED, Result};
use crate::{output, screen};
#[cfg(unix)]
use signals as system;

/// How long a program that ends without saving waits for its final note to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Set by the first request to stop, if the program has something to save.
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Whether a request ends the program immediately, because there is nothing to save.
static LEAVES: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static PLAN: Mutex<Plan> = Mutex::new(Plan {
    leaving: None,
    doing: "finishing this step",
    told: false,
    pressed: false,
    before_immediate_end: None,
});

/// How the program responds to a request to stop.
struct Plan {
    /// The exit code and the final message, if the program has nothing to save.
    leaving: Option<(u8, String)>,
    /// The work that must be finished before the program stops.
    doing: &'static str,
    /// Whether the message "stopping" was printed.
    told: bool,
    /// Whether Ctrl-C was pressed.
    pressed: bool,
    /// Writes a note before the program ends without saving, and returns the final message.
    before_immediate_end: Option<Box<dyn FnOnce() -> String + Send>>,
}

/// Prepares every command for the system's signals: a write beyond the limit on file sizes becomes an error, as on a
/// full disk. Otherwise the signal would end the program without a message.
pub fn begin() {
    system::survive_file_limits();
}

/// After this call, a request asks the program to save and stop. Returns the flag that the request sets.
pub fn listen() -> Result<&'static AtomicBool> {
    plan().leaving = None;
    LEAVES.store(false, Ordering::SeqCst);
    system::listen(request, &STOP, &LEAVES)?;
    Ok(&STOP)
}

/// After this call, a request restores the terminal and ends the program. For views, which have nothing to save.
pub fn listen_to_leave() -> Result<()> {
    leave_with(INTERRUPTED, "")
}

/// After this call, a request ends the program immediately with this exit code and final message. For a program that
/// has nothing to save.
pub fn leave_with(code: u8, words: impl Display) -> Result<()> {
    plan().leaving = Some((code, words.to_string()));
    LEAVES.store(true, Ordering::SeqCst);
    system::listen(request, &STOP, &LEAVES)
}

/// Sets the work that a stop must wait for, as in "stopping: finishing this step". If a stop was requested already,
/// prints the message again.
pub fn set_current_work(what: &'static str) {
    let mut plan = plan();
    if std::mem::replace(&mut plan.doing, what) != what && plan.told {
        drop(plan);
        output::message(format_args!("stopping: {what}"));
    }
}

/// Sets what to do before a second Ctrl-C ends the program without saving. `note` returns the final message.
pub fn before_immediate_end(note: impl FnOnce() -> String + Send + 'static) {
    plan().before_immediate_end = Some(Box::new(note));
}

/// Does the same as Ctrl-C, for a full-screen view that reads Ctrl-C as a key.
pub fn stop() {
    request(true);
}

/// Does the same as a signal. Further calls change nothing.
pub fn ask_to_stop() {
    request(false);
}

/// Whether a hang-up of the terminal is ignored, as under `nohup`.
pub fn is_hangup_ignored() -> bool {
    system::is_hangup_ignored()
}

/// Handles a request to stop. `is_key` is true if a person pressed Ctrl-C, and false if a process sent the request or
/// a terminal hung up.
fn request(is_key: bool) {
    let mut plan = plan();
    if let Some((code, words)) = &plan.leaving {
        end(*code, words);
    }
    STOP.store(true, Ordering::SeqCst);
    if is_key && std::mem::replace(&mut plan.pressed, true) {
        let words = plan.before_immediate_end.take().and_then(call_with_limit);
        end(FAILED, &words.unwrap_or_else(|| "error: stopped at once, without saving".into()));
    }
    let is_news = !std::mem::replace(&mut plan.told, true);
    if is_news || is_key {
        let hint = if is_key { "; Ctrl-C again to stop at once, without saving" } else { "" };
        let what = plan.doing;
        drop(plan);
        // Starts a new line, because the terminal may show ^C or a progress bar.
        let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
        output::message(format_args!("{line}stopping: {what}{hint}"));
    }
}

/// Calls `note` on a thread, so that a disk that does not respond delays the end of the program by at most
/// [`PATIENCE`].
fn call_with_limit(note: Box<dyn FnOnce() -> String + Send>) -> Option<String> {
    let (sender, words) = mpsc::channel();
    let write = move || {
        let _ = sender.send(note()); // fails if the note took too long and nobody waits for it
    };
    thread::Builder::new().name("final note".into()).spawn(write).ok()?;
    words.recv_timeout(PATIENCE).ok()
}

/// Ends the program at once, without waiting for its other threads.
fn end(code: u8, words: &str) -> ! {
    screen::restore();
    if !words.is_empty() {
        output::message(words);
    }
    system::exit(code)
}

fn plan() -> MutexGuard<'static, Plan> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ctrl-C and closed consoles on systems without signals.
#[cfg(not(unix))]
mod system {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::failure::{Failure, Result};

    /// Whether the handler is installed.
    static LISTENING: AtomicBool = AtomicBool::new(false);

    /// Calls `request` for every Ctrl-C from now on.
    pub(super) fn listen(request: fn(bool), _: &Arc<AtomicBool>, _: &Arc<AtomicBool>) -> Result<()> {
        if LISTENING.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        ctrlc::set_handler(move || request(true)).map_err(Failure::failed)
    }

    /// Does nothing: a write beyond a limit on file sizes returns an error on this system.
    pub(super) fn survive_file_limits() {}

    /// Always `true`: the system ends the programs of a console that closes.
    pub(super) fn is_hangup_ignored() -> bool {
        true
    }

    pub(super) fn exit(code: u8) -> ! {
        std::process::exit(code.into())
    }
}
