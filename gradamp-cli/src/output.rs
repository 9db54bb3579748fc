//! What the program prints. Nobody has to listen: a closed pipe ends neither a run nor a command.

use std::fmt::Display;
use std::io::Write;

/// Results go to stdout.
pub fn result(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Progress, warnings and errors go to stderr.
pub fn message(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
