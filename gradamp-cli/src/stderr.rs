//! stderr: the program writes there at any time, drivers only if the user asks for it.
//!
//! Loaders and drivers of graphics APIs print messages that do not concern the user, such as `error: XDG_RUNTIME_DIR is not
//! set` of every headless machine with Mesa, and they do so before any message of the program. While they are looked for
//! and opened, file descriptor 2 thus leads nowhere, and the program writes to a copy of what it was.

use std::io::{self, Write};

/// The variable that lets drivers print: `GRADAMP_DRIVER_MESSAGES=1`.
const DRIVER_MESSAGES: &str = "GRADAMP_DRIVER_MESSAGES";

/// Whether what drivers print is wanted.
pub fn drivers_may_speak() -> bool {
    std::env::var_os(DRIVER_MESSAGES).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Writes a line. Nobody has to listen.
pub fn line(text: &str) {
    if !system::line(text) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Does what has drivers look around, without their messages.
pub fn without_drivers<T>(task: impl FnOnce() -> T) -> T {
    // Where stderr cannot be turned away, as with no handle left, the messages are the lesser evil.
    let _silence = if drivers_may_speak() { None } else { system::Silence::begin().ok() };
    task()
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io::{self, Write};
    use std::os::fd::AsFd;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use nix::unistd::dup2_stderr;

    /// The stderr that the program was given, while file descriptor 2 leads nowhere; and how many want that.
    static OWN: Mutex<Option<(File, usize)>> = Mutex::new(None);

    fn own() -> MutexGuard<'static, Option<(File, usize)>> {
        OWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line to the program's own stderr; gives whether it is another than file descriptor 2.
    pub fn line(text: &str) -> bool {
        let Some(file) = own().as_ref().and_then(|(file, _)| file.try_clone().ok()) else { return false };
        let _ = (&file).write_all(format!("{text}\n").as_bytes());
        true
    }

    /// While this is held, file descriptor 2 leads nowhere.
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
            // Where it cannot be given back, which has no reason, the program goes on with its copy.
            if *holders == 0 && dup2_stderr(given).is_ok() {
                *own = None;
            }
        }
    }
}

/// Graphics APIs of other systems print nothing.
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
