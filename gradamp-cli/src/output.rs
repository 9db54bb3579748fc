//! The program's output.
//!
//! A closed pipe, as with `head`, stops neither a run nor a command. If results can't be printed for another reason,
//! such as a full disk, the program fails at its end. Control characters are escaped.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use crate::failure::{Failure, Result};
use crate::printable::printable;
use crate::{stderr, terminal};

/// The first error that occurred while printing a result.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a result to stdout.
pub fn result(text: impl Display) {
    note(writeln!(stdout(), "{}", printable(&text.to_string())).and_then(|()| stdout().flush()));
}

/// Stores an error of printing a result, unless the pipe or the terminal is closed.
pub fn note(printed: io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != ErrorKind::BrokenPipe
        && !terminal::has_hung_up(&stdout())
    {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Flushes stdout. This is called once, at the end of the program, so that a run that can't print its table is still
/// saved, and the rest of a command still runs.
///
/// **Errors:** a result was not printed.
pub fn check_all_was_printed() -> Result<()> {
    note(stdout().flush());
    note(close_a_copy());
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take();
    lost.map_or(Ok(()), |error| Err(Failure::failed(format!("stdout: cannot write the results: {error}"))))
}

/// Closes a copy of stdout, because network drives and quotas may report a failed write only when the file is closed.
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

/// With `true`, only errors are printed after this call, as with `--quiet`.
pub fn quiet(is_quiet: bool) {
    QUIET.store(is_quiet, Ordering::SeqCst);
}

/// Prints progress, a note or a warning to stderr, or sends it to the listener of [`divert`]. Does nothing with `--quiet`.
pub fn message(text: impl Display) {
    if !QUIET.load(Ordering::SeqCst) {
        say(&text.to_string());
    }
}

/// Whether a sweep reads this run's errors from stdout.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// After this call, errors are also reported to the sweep that started this run.
pub fn report_errors() {
    REPORTS.store(true, Ordering::SeqCst);
}

/// Prints the error that ends the program to stderr, even with `--quiet`.
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

/// Sends messages to `listener` after this call. With `None`, or when the listener is gone, messages go to stderr
/// again. A full-screen view receives the messages this way, because lines on stderr would disturb the screen.
pub fn divert(listener: Option<Sender<String>>) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = listener;
}
