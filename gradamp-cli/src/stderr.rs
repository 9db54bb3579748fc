//! Standard error without the messages of graphics drivers.
//!
//! Graphics drivers and their loaders print messages that do not concern the user, such as `error: XDG_RUNTIME_DIR is
//! not set` on every headless machine with Mesa. While adapters are listed and opened, file descriptor 2 is therefore
//! redirected to /dev/null, and the program writes to a copy of the original stderr.

use std::io::{self, Write};

/// The environment variable that makes the messages of drivers visible: `GRADAMP_DRIVER_MESSAGES=1`.
const DRIVER_MESSAGES: &str = "GRADAMP_DRIVER_MESSAGES";

/// Whether the user wants to see the messages of drivers.
pub fn shows_driver_messages() -> bool {
    std::env::var_os(DRIVER_MESSAGES).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Writes a line. Errors are ignored.
pub fn line(text: &str) {
    if !system::line(text) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Runs a task that loads drivers, without showing their messages.
pub fn without_drivers<T>(task: impl FnOnce() -> T) -> T {
    // If stderr cannot be redirected, for example because no file handle is left, the messages are printed.
    let _silence = if shows_driver_messages() { None } else { system::Silence::begin().ok() };
    task()
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io::{self, Write};
    use std::os::fd::AsFd;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use nix::unistd::dup2_stderr;

    /// The original stderr while file descriptor 2 is redirected, and the number of existing values of [`Silence`].
    static OWN: Mutex<Option<(File, usize)>> = Mutex::new(None);

    fn own() -> MutexGuard<'static, Option<(File, usize)>> {
        OWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line to the original stderr if file descriptor 2 is redirected. Returns whether it is.
    pub fn line(text: &str) -> bool {
        let Some(file) = own().as_ref().and_then(|(file, _)| file.try_clone().ok()) else { return false };
        let _ = (&file).write_all(format!("{text}\n").as_bytes());
        true
    }

    /// Redirects file descriptor 2 to /dev/null for as long as a value exists.
    pub struct Silence(());

    impl Silence {
        pub fn begin() -> io::Result<Self> {
            let mut own = own();
            match own.as_mut() {
                Some((_, holders)) => *holders += 1,
                None => {
                    let given = io::stderr().as_fd().try_clone_to_owned()?;
                    dup2_stderr(File::options().write(true).open("/dev/null")?)?;
                    *own = Some((given.into(), 1));
                }
            }
            Ok(Self(()))
        }
    }

    impl Drop for Silence {
        fn drop(&mut self) {
            let mut own = own();
            let Some((given, holders)) = own.as_mut() else { return };
            *holders -= 1;
            // If the original cannot be restored, the program keeps writing to its copy.
            if *holders == 0 && dup2_stderr(given).is_ok() {
                *own = None;
            }
        }
    }
}

/// Does nothing, because the graphics APIs of other systems print no messages.
#[cfg(not(unix))]
mod system {
    pub fn line(_: &str) -> bool {
        false
    }

    pub struct Silence;

    impl Silence {
        pub fn begin() -> std::io::Result<Self> {
            Ok(Self)
        }
    }
}
