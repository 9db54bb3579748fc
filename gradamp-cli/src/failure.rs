//! Errors, each with the exit code with which it ends the program.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use gradamp_study::config::KeyError;

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// Something failed, such as data, files or memory, or a run diverged.
pub const FAILED: u8 = 1;
/// The command line or a setting is wrong; nothing was started.
pub const USAGE: u8 = 2;
/// The program stopped on request: the run is saved and can be resumed.
pub const INTERRUPTED: u8 = 130;

/// An error and the exit code with which it ends the program.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    error: Box<dyn Error + Send + Sync>,
}

/// `Result` with a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A wrong command line or setting.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// Any other failure.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { code: FAILED, error: error.into() }
    }

    /// The line that a run prints to stdout to report `message` to its sweep. (Drivers print only to stderr.)
    pub fn report(message: &str) -> String {
        serde_json::to_string(&Report { gradamp_error: message.to_owned() }).unwrap_or_default()
    }

    /// Finds the reason that a run reported on its stdout, with all causes; `None` if it reported none.
    pub fn reported(stdout: &str) -> Option<String> {
        let report: Report = stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
        let message = report.gradamp_error;
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Some(message.lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }

    /// The message of the error, followed by the messages of its causes that it does not contain already.
    pub fn reason(&self) -> String {
        let mut message_so_far = self.error.to_string();
        let mut reason = message_so_far.clone();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !message_so_far.contains(&message) {
                reason += &format!("\n  because: {message}");
            }
            message_so_far.push_str(&message);
            cause = error.source();
        }
        reason
    }
}

/// The line in which a run reports the reason of its failure to its sweep.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    gradamp_error: String,
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// The message of the last panic; `None` if there was none.
pub(crate) fn last_panic() -> Option<String> {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Stores the message of a panic, so that the run that the panic ends can record it.
pub(crate) fn note_panic(message: &str) {
    *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.reason())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Failure::usage(error)
    }
}

impl From<gradamp_core::Error> for Failure {
    fn from(error: gradamp_core::Error) -> Self {
        match error {
            gradamp_core::Error::Setting { .. } => Failure::usage(error),
            _ => Failure::failed(error),
        }
    }
}

impl From<gradamp_data::Error> for Failure {
    fn from(error: gradamp_data::Error) -> Self {
        Failure::failed(error)
    }
}

impl From<gradamp_models::Error> for Failure {
    fn from(error: gradamp_models::Error) -> Self {
        Failure::failed(error)
    }
}

impl From<gradamp_study::Error> for Failure {
    fn from(error: gradamp_study::Error) -> Self {
        use gradamp_study::Error;
        match error {
            Error::Setting(_) | Error::Request(_) | Error::Core(gradamp_core::Error::Setting { .. }) => {
                Failure::usage(error)
            }
            _ => Failure::failed(error),
        }
    }
}

impl From<gradamp_study::run_folder::Error> for Failure {
    fn from(error: gradamp_study::run_folder::Error) -> Self {
        Failure::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_among_other_output() {
        let report = Failure::report("error: runs/a: cannot write\n  because: full \"disk\"");
        let stdout = format!("error: XDG_RUNTIME_DIR is not set\n{report}\n{{\"other\": 1}}\nbye\n");
        assert_eq!(
            Failure::reported(&stdout).as_deref(),
            Some("runs/a: cannot write; because: full \"disk\"")
        );
        assert_eq!(Failure::reported("error: of a driver\n"), None);
    }
}
