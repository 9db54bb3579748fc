//! Requests to stop: Ctrl-C, and the signals of shells, schedulers and supervisors.
//!
//! SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask a run or a sweep to save and stop. They may come as often as they like, and to whole
//! groups of processes: all after the first change nothing. Only a second Ctrl-C at the terminal ends the program at once, without
//! saving, and then not with the exit code that means saved. A signal that was ignored when the program began, as under `nohup` or
//! after `trap '' INT`, stays ignored.

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

/// How long the end of a program that does not save waits for its note.
const PATIENCE: Duration = Duration::from_secs(2);

/// Raised by the first request of a program that has something to save.
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Whether a request ends the program on the spot, since there is nothing to save.
static LEAVES: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static PLAN: Mutex<Plan> = Mutex::new(Plan {
    leaving: None,
    doing: "finishing this step",
    told: false,
    pressed: false,
    at_once: None,
});

/// What a request leads to.
struct Plan {
    /// The exit code and the last words of a program that has nothing to save.
    leaving: Option<(u8, String)>,
    /// What a stop waits for now.
    doing: &'static str,
    /// Whether it was said that the program is stopping.
    told: bool,
    /// Whether Ctrl-C was pressed.
    pressed: bool,
    /// What is noted down before the program ends without saving; gives its last words.
    at_once: Option<Box<dyn FnOnce() -> String + Send>>,
}

/// Prepares the program for what the system signals to any command: a limit on the size of files is an error of writing, as a full disk
/// is, and no silent death.
pub fn begin() {
    system::survive_file_limits();
}

/// From now on a request asks for a save and a stop: gives the flag that it raises.
pub fn listen() -> Result<&'static AtomicBool> {
    plan().leaving = None;
    LEAVES.store(false, Ordering::SeqCst);
    system::listen(request, &STOP, &LEAVES)?;
    Ok(&STOP)
}

/// From now on a request ends a view that has nothing to save: the terminal is put in order, and the program ends.
pub fn listen_to_leave() -> Result<()> {
    leave_with(INTERRUPTED, "")
}

/// From now on a request ends the program on the spot with this exit code and these last words, since there is nothing to save.
pub fn leave_with(code: u8, words: impl Display) -> Result<()> {
    plan().leaving = Some((code, words.to_string()));
    LEAVES.store(true, Ordering::SeqCst);
    system::listen(request, &STOP, &LEAVES)
}

/// What a stop has to wait for from now on, as in "stopping: finishing this step". It is said again where a stop was asked for already.
pub fn doing(what: &'static str) {
    let mut plan = plan();
    if std::mem::replace(&mut plan.doing, what) != what && plan.told {
        drop(plan);
        output::message(format_args!("stopping: {what}"));
    }
}

/// What is done when a second Ctrl-C ends the program without saving, such as to note it down; gives the last words.
pub fn at_once(note: impl FnOnce() -> String + Send + 'static) {
    plan().at_once = Some(Box::new(note));
}

/// What Ctrl-C does where a full-screen view reads it as a key.
pub fn stop() {
    request(true);
}

/// Asks as a signal does, however often.
pub fn ask_to_stop() {
    request(false);
}

/// Whether a hang-up of the terminal is ignored, as under `nohup`.
pub fn is_hangup_ignored() -> bool {
    system::is_hangup_ignored()
}

/// Follows a request to stop. `is_key` says that a person pressed Ctrl-C; other requests come from a process or a terminal that hung up.
fn request(is_key: bool) {
    let mut plan = plan();
    if let Some((code, words)) = &plan.leaving {
        end(*code, words);
    }
    STOP.store(true, Ordering::SeqCst);
    if is_key && std::mem::replace(&mut plan.pressed, true) {
        let words = plan.at_once.take().and_then(noted);
        end(FAILED, &words.unwrap_or_else(|| "error: stopped at once, without saving".into()));
    }
    let is_news = !std::mem::replace(&mut plan.told, true);
    if is_news || is_key {
        let hint = if is_key { "; Ctrl-C again to stop at once, without saving" } else { "" };
        let what = plan.doing;
        drop(plan);
        // Below what the terminal shows of the key, or of a bar.
        let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
        output::message(format_args!("{line}stopping: {what}{hint}"));
    }
}

/// Has it noted, but does not wait long for a disk that does not answer.
fn noted(note: Box<dyn FnOnce() -> String + Send>) -> Option<String> {
    let (sender, words) = mpsc::channel();
    let write = move || {
        let _ = sender.send(note()); // nobody waits any more where it took too long
    };
    thread::Builder::new().name("last words".into()).spawn(write).ok()?;
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

/// Ctrl-C and the closing of the console, where the system has no signals.
#[cfg(not(unix))]
mod system {
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
}
