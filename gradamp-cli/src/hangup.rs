//! Stops the program when its terminal closes or its sweep ends, even without a signal.
//!
//! A terminal that closes sends SIGHUP only to the processes in its foreground, and a sweep that is killed sends no
//! signal. In these cases the program notices the end of its terminal or of stdin when it reads from it. It then does
//! the same as after SIGHUP: it saves the run and ends. If a stop was requested already, nothing changes.

use std::io::{self, Read};
use std::thread;

use crate::terminal::Terminal;
use crate::{interrupt, output};

/// Asks the program to stop when stdin ends. The sweep that started this run keeps stdin open for as long as the
/// sweep lives and wants the run to continue.
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

/// Asks the program to stop when the terminal on stderr is closed. Does nothing if stderr is not a terminal.
///
/// The program continues if hang-ups are ignored, as under `nohup`, or if it runs in the background of the terminal:
/// a user who starts a job there and disowns it wants it to outlive the terminal.
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
        output::message(format_args!(
            "warning: cannot watch for the end of the {what}, because no thread can be started: {error}"
        ));
    }
}
