//! The full-screen view of the terminal. The terminal is restored however the program ends.

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

/// Whether the program has put the terminal into full-screen mode.
static ACQUIRED: AtomicBool = AtomicBool::new(false);
/// How long the restoration waits for a terminal that accepts no output.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(500);
/// Locked while the program writes to the terminal.
static WRITING: Mutex<()> = Mutex::new(());

/// Why a full-screen view is impossible; `None` if it is possible.
pub fn obstacle() -> Option<&'static str> {
    let term = std::env::var("TERM").unwrap_or_default();
    let is_dumb = term == "dumb" || (cfg!(unix) && term.is_empty());
    match () {
        () if !stdout().is_terminal() => Some("stdout is not a terminal"),
        () if !io::stderr().is_terminal() => Some("stderr is not a terminal"),
        () if !io::stdin().is_terminal() => Some("stdin is not a terminal"),
        () if is_dumb => Some("TERM names a terminal that shows lines only"),
        () => None,
    }
}

/// The terminal in full-screen mode. The terminal is restored when the value is dropped, or by [`restore`].
#[derive(Debug)]
pub struct Screen {
    /// This value is never dropped. Its destructor would show the cursor, which [`restore`] also does, and would
    /// panic if the terminal is gone.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
    is_ascii: bool,
}

impl Screen {
    /// Puts the terminal into full-screen mode.
    ///
    /// **Errors:** the terminal cannot be set up.
    pub fn acquire() -> io::Result<Self> {
        let _writing = writing();
        enable_raw_mode()?;
        ACQUIRED.store(true, Ordering::SeqCst);
        let open = || {
            // `Terminal::clear` is not used, because it asks for the position of the cursor, and some terminals do
            // not answer.
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

    /// Shows a frame.
    ///
    /// **Errors:** the terminal was restored already, or can't be written to any more.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _writing = writing();
        if !ACQUIRED.load(Ordering::SeqCst) {
            return Err(io::Error::other("the terminal was restored"));
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

    /// Forgets what the screen shows, so that the next frame is drawn in full, even if other programs have written to
    /// the screen.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal if it is in full-screen mode. Must be called before the program ends without dropping the
/// [`Screen`], and before a message that the user must see.
pub fn restore() {
    if ACQUIRED.load(Ordering::SeqCst) {
        let _writing = writing();
        put_in_order();
    }
}

fn put_in_order() {
    if ACQUIRED.swap(false, Ordering::SeqCst) {
        // Errors are ignored, because the terminal may be gone.
        let _ = disable_raw_mode();
        leave_the_screen();
        output::divert(None);
    }
}

/// Writes on its own thread and without the lock of stdout. If the terminal accepts no output, a frame that waits for
/// it may hold this lock.
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
        let _ = done.send(()); // fails if nobody waits any more
    };
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(PATIENCE);
    }
}

#[cfg(not(unix))]
fn leave_the_screen() {
    let _ = execute!(stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
}

/// Waits until a frame that is being written is complete, but only for a while, because the panic to report may have
/// happened in that frame.
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
