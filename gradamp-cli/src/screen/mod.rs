//! The terminal while it shows full frames, and its restoration in every case.

pub mod ascii;
#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::io::{self, BufWriter, IsTerminal, Stdout, stdout};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use crate::output;

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// So long the end of the frames waits for a terminal that takes nothing.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(500);
/// Held while something is written to the terminal.
static WRITING: Mutex<()> = Mutex::new(());

/// Why frames cannot be shown here; `None` where they can.
pub fn obstacle() -> Option<&'static str> {
    let term = std::env::var("TERM").unwrap_or_default();
    let is_dumb = term == "dumb" || (cfg!(unix) && term.is_empty());
    match () {
        () if !stdout().is_terminal() => Some("stdout is no terminal"),
        () if !io::stderr().is_terminal() => Some("stderr is no terminal"),
        () if !io::stdin().is_terminal() => Some("stdin is no terminal"),
        () if is_dumb => Some("TERM says that the terminal shows lines only"),
        () => None,
    }
}

/// The terminal, taken for full frames. It is given back when this is dropped, or by [`restore`].
#[derive(Debug)]
pub struct Screen {
    /// Never dropped: its end would show the cursor, which [`restore`] does, and panic where the terminal is gone.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
    is_ascii: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// **Errors:** a terminal that cannot be set up.
    pub fn acquire() -> io::Result<Self> {
        let _writing = writing();
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let open = || {
            // Not by `Terminal::clear`, which asks where the cursor is: not every terminal answers.
            execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All))?;
            Terminal::new(CrosstermBackend::new(BufWriter::new(stdout())))
        };
        match open() {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal), is_ascii: ascii::is_wanted() }),
            Err(error) => {
                put_in_order();
                Err(error)
            }
        }
    }

    /// Shows a frame, if the terminal is still ours.
    ///
    /// **Errors:** a terminal that cannot be written to any more.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _writing = writing();
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("the terminal was given back"));
        }
        execute!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            draw(frame);
            if self.is_ascii {
                ascii::cells(frame.buffer_mut());
            }
        })?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// Draws the next frame in full, over the output of other programs.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it was taken. To be called before the program ends in any other way than by dropping the
/// [`Screen`], and before a message that must be seen.
pub fn restore() {
    if TAKEN.load(Ordering::SeqCst) {
        let _writing = writing();
        put_in_order();
    }
}

fn put_in_order() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nothing is to be done about a terminal that is gone.
        let _ = disable_raw_mode();
        leave_the_screen();
        output::divert(None);
    }
}

/// Writes by a thread of its own and past the lock of stdout: a terminal that is stopped takes nothing, and a frame that it did
/// not take holds that lock.
#[cfg(unix)]
fn leave_the_screen() {
    use std::io::Write;
    use std::os::fd::AsFd;

    let mut text = Vec::new();
    let _ = execute!(text, EndSynchronizedUpdate, LeaveAlternateScreen, Show); // writing to memory cannot fail
    let Ok(terminal) = stdout().as_fd().try_clone_to_owned() else { return };
    let (done, is_done) = std::sync::mpsc::channel();
    let write = move || {
        let _ = std::fs::File::from(terminal).write_all(&text);
        let _ = done.send(()); // nobody waits any more
    };
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(PATIENCE);
    }
}

#[cfg(not(unix))]
fn leave_the_screen() {
    let _ = execute!(stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
}

/// Waits for a frame that is being written, but not forever: it may be the one that panicked.
fn writing() -> Option<MutexGuard<'static, ()>> {
    for _ in 0..50 {
        match WRITING.try_lock() {
            Ok(guard) => return Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}
