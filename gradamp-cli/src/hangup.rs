//! Stops that need no signal: the terminal that shows the program is gone, or the sweep that does this run.
//!
//! A terminal that closes signals SIGHUP to those who are in its foreground, and a sweep that is killed signals nobody. Who has
//! been started without a controlling terminal, or by a sweep, notices by what is read: the end of a file. That counts as
//! SIGHUP does, and as often as it may come: the run is saved and ends.

use std::io::{self, Read};
use std::thread;

use crate::terminal::Terminal;
use crate::{interrupt, output};

/// Has the program stop once stdin ends, which the sweep that does this run holds open for as long as it lives and wants the
/// run to go on.
pub fn follow_sweep() {
    follow("sweep", || {
        let mut stdin = io::stdin().lock();
        let mut unread = [0; 64];
        loop {
            match stdin.read(&mut unread) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return interrupt::ask_to_stop(),
            }
        }
    });
}

/// Has the program stop once the terminal of stderr is gone, if stderr is one.
///
/// Not where a hang-up is ignored, as under `nohup`, and not in the terminal's background: what was sent there and disowned is
/// meant to survive the terminal.
pub fn follow_terminal() {
    if let Some(terminal) = Terminal::of_stderr()
        && !interrupt::is_hangup_ignored()
    {
        follow("terminal", move || {
            if terminal.wait_for_end() {
                interrupt::ask_to_stop();
            }
        });
    }
}

fn follow(what: &str, watch: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(what.into()).spawn(watch) {
        output::message(format_args!("warning: no thread is left to notice the end of the {what}: {error}"));
    }
}
