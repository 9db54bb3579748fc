//! What the program prints. A reader that has left, as `head` does, ends neither a run nor a command; results that are
//! lost in any other way, on a full disk for example, make the program fail at its end. Control characters are
//! shown escaped.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Result};
use crate::printable::printable;
use crate::{stderr, terminal};

/// Why a result could not be printed, the first time.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Results go to stdout.
pub fn result(text: impl Display) {
    note(writeln!(stdout(), "{}", printable(&text.to_string())).and_then(|()| stdout().flush()));
}

/// Remembers that printing a result failed, unless its reader has left, or the terminal is gone.
pub fn note(printed: io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != ErrorKind::BrokenPipe
        && !terminal::has_hung_up(&stdout())
    {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// **Errors:** some result was not printed. Asked once, at the program's end: a run that cannot print its table is saved
/// first, and the rest of a command may still do what it is asked for.
pub fn check_all_was_printed() -> Result<()> {
    note(stdout().flush());
    note(close_a_copy());
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take();
    lost.map_or(Ok(()), |error| Err(Failure::failed(format!("stdout: cannot write the results: {error}"))))
}

/// Network drives and quotas refuse what was written when it is closed.
#[cfg(unix)]
fn close_a_copy() -> io::Result<()> {
    let copy = std::os::fd::AsFd::as_fd(&stdout()).try_clone_to_owned()?;
    nix::unistd::close(copy).map_err(io::Error::from)
}

#[cfg(not(unix))]
fn close_a_copy() -> io::Result<()> {
    Ok(())
}

/// Receives messages in place of stderr.
static LISTENER: Mutex<Option<Sender<String>>> = Mutex::new(None);

/// Whether only errors are printed.
static QUIET: AtomicBool = AtomicBool::new(false);

/// With `true`, only errors are printed from now on: `--quiet`.
pub fn quiet(is_quiet: bool) {
    QUIET.store(is_quiet, Ordering::SeqCst);
}

/// Prints progress, a note or a warning to stderr, or sends it to the listener of [`divert`]. Does nothing with `--quiet`.
pub fn message(text: impl Display) {
    if !QUIET.load(Ordering::SeqCst) {
        say(&text.to_string());
    }
}

/// Whether a sweep reads stdout for the reason of a failure.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// From now on, errors are reported to the sweep that started this run too.
pub fn report_errors() {
    REPORTS.store(true, Ordering::SeqCst);
}

/// The error that ends the program goes to stderr in any case.
pub fn error(text: impl Display) {
    let text = text.to_string();
    if REPORTS.load(Ordering::SeqCst) {
        result(Failure::report(&text));
    }
    say(&text);
}

fn say(text: &str) {
    let text = printable(text).into_owned();
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = match listener {
        Some(listener) => listener.send(text).err().map(|unsent| unsent.0),
        None => Some(text),
    };
    if let Some(text) = text {
        stderr::line(&text);
    }
}

/// Sends messages to `listener` from now on; with `None`, or once the listener is gone, messages go to stderr again. A
/// full-screen view listens, because lines on stderr would tear it.
pub fn divert(listener: Option<Sender<String>>) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = listener;
}
