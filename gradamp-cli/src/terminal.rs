//! Asks the system whether a terminal still exists.

#[cfg(unix)]
pub use system::wait_for_input;
pub use system::{Terminal, has_hung_up};

#[cfg(unix)]
mod system {
    use std::io::{self, IsTerminal, stdin};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::unistd::{getpgrp, tcgetpgrp};

    /// The interval at which the foreground of the terminal is checked, in milliseconds.
    const LOOK: u16 = 250;

    /// The terminal that the program writes to.
    pub struct Terminal(OwnedFd);

    impl Terminal {
        pub fn of_stderr() -> Option<Self> {
            let stderr = io::stderr();
            if !stderr.is_terminal() {
                return None;
            }
            stderr.as_fd().try_clone_to_owned().ok().map(Self)
        }

        /// Waits until the terminal is gone. Returns whether the program was in the terminal's foreground, or is not
        /// controlled by this terminal.
        pub fn wait_for_end(&self) -> bool {
            let mut is_in_front = true;
            loop {
                match self.foreground() {
                    Ok(is) => is_in_front = is,
                    Err(Errno::ENOTTY) => is_in_front = true, // this terminal does not control the program
                    Err(_) => {}                              // the terminal is closing
                }
                match ready(self.0.as_fd(), PollFlags::empty(), LOOK.into()) {
                    Ok(events) if has_ended(events) => return is_in_front,
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(_) => return false,
                }
            }
        }

        fn foreground(&self) -> nix::Result<bool> {
            Ok(tcgetpgrp(&self.0)? == getpgrp())
        }
    }

    /// Whether the terminal of `stream` is gone.
    pub fn has_hung_up(stream: &impl AsFd) -> bool {
        ready(stream.as_fd(), PollFlags::empty(), PollTimeout::ZERO).is_ok_and(has_ended)
    }

    /// Waits until stdin can be read, but at most for `wait`.
    ///
    /// **Errors:** the terminal is gone. Reading from it would return the end of the file forever.
    pub fn wait_for_input(wait: Duration) -> io::Result<()> {
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match ready(stdin().as_fd(), PollFlags::POLLIN, wait) {
            Ok(events) if has_ended(events) => Err(io::Error::other("the terminal is gone")),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn has_ended(events: PollFlags) -> bool {
        events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL)
    }

    fn ready(fd: BorrowedFd<'_>, wanted: PollFlags, wait: PollTimeout) -> nix::Result<PollFlags> {
        let mut fds = [PollFd::new(fd, wanted)];
        poll(&mut fds, wait)?;
        Ok(fds[0].revents().unwrap_or(PollFlags::empty()))
    }
}

/// On a system without signals, the system ends the programs of a console that closes, so there is nothing to watch
/// for.
#[cfg(not(unix))]
mod system {
    pub struct Terminal;

    impl Terminal {
        pub fn of_stderr() -> Option<Self> {
            None
        }

        pub fn wait_for_end(&self) -> bool {
            false
        }
    }

    pub fn has_hung_up<T>(_: &T) -> bool {
        false
    }
}
