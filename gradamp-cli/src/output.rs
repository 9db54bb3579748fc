//! What the program prints. Nobody has to listen: a closed pipe ends neither a run nor a command.

use std::fmt::Display;
use std::io::Write;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

/// Results go to stdout.
pub fn result(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Who is told messages instead of stderr.
static LISTENER: Mutex<Option<Sender<String>>> = Mutex::new(None);

/// Progress, warnings and errors go to stderr, or to who has asked for them.
pub fn message(text: impl Display) {
    let text = text.to_string();
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = match listener {
        Some(listener) => listener.send(text).err().map(|unsent| unsent.0),
        None => Some(text),
    };
    if let Some(text) = text {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Has messages sent to `listener` from now on, for as long as it listens; `None` for stderr again. A full-screen view
/// asks for them, since lines in between would tear it.
pub fn divert(listener: Option<Sender<String>>) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = listener;
}
